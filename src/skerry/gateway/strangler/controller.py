"""Who decides about ramps: reads what gateways count, closes intervals, moves ramps. No request passes through it.

All that it knows it can find again: sums are in the files of the gateways, up to where they were seen is in the database, in the
same transaction as what followed from them. So it can be killed at any moment, and another goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError
from skerry.gateway import reading
from skerry.gateway.model import Strangle
from skerry.gateway.strangler import deciding, tally, weighing
from skerry.gateway.strangler.applying import plans
from skerry.gateway.strangler.deciding import Judgement, Recent
from skerry.gateway.strangler.differences import counts, nothing
from skerry.gateway.strangler.handing_over import OVERDUE
from skerry.gateway.strangler.ramp_rows import COMPARED, Change, Ramp
from skerry.gateway.strangler.ramps import Ramps
from skerry.gateway.strangler.report import OVERRULED, Interval
from skerry.gateway.strangler.tally import RouteTally, Tally
from skerry.gateway.strangler.weighing import TESTS, Counts
from skerry.gateway.watching import mark

EVERY: Final = 0.1
"""Seconds between two looks."""
SOON: Final = 0.02
"""Seconds until the next one when somebody changed something, or gateways are about to confirm a step."""
AWAITED: Final = 5.0
"""Seconds after a step in which it is looked so often."""
_log = logging.getLogger("skerry.gateway.strangler")


@dataclass(slots=True)
class _Watched:
    """A ramp that is under way, between two of its intervals."""

    ramp: Ramp
    plan: Strangle
    began: float
    """When the interval began, by the monotonic clock."""
    seen: dict[str, RouteTally]
    recent: Recent
    requests: int = 0
    errors: int = 0
    now: dict[str, RouteTally] = field(default_factory=dict[str, RouteTally])


class Controller:
    """Looks after all ramps of a state folder. Call `look` about every `EVERY` seconds, in one thread.

    Raises `ConfigurationError` at its beginning when the specification is wrong or the folder cannot be used. Later on a wrong
    specification is told in the log, and the last one that was right counts.
    """

    def __init__(self, spec: Path, folder: Path, *, clock: Clock = SYSTEM) -> None:
        self._file = spec
        self._clock = clock
        self._mark = mark(spec)
        self._plans = plans(reading.read(spec))
        self.ramps: Ramps = Ramps(folder, clock=clock)
        self._folder = folder
        self._known = -1
        self._latest: tuple[Ramp, ...] = ()
        self._watched: dict[str, _Watched] = {}
        self._dead: set[str] = set()
        self.ramps.publish()
        self.ramps.forget_processes_but(tally.names(folder))
        self._fit()

    def close(self) -> None:
        """Let go of the database."""
        self.ramps.close()

    @property
    def awaited(self) -> bool:
        """Whether there is reason to look again soon."""
        return self.ramps.changes != self._known or self.ramps.unconfirmed(since=self._clock.now() - AWAITED)

    def look(self) -> None:
        """One look: at the specification, at what gateways confirm, and at every ramp that is under way."""
        self._read_again()
        self.ramps.give_back(overdue=OVERDUE)
        self.ramps.publish()
        tallies = tally.read(self._folder)
        self._confirm(tallies)
        self._refresh()
        for watched in list(self._watched.values()):
            self._attend(watched, tallies)
        self._bury(tallies)

    def _read_again(self) -> None:
        now = mark(self._file)
        if now == self._mark:
            return
        self._mark = now
        try:
            self._plans = plans(reading.read(self._file))
        except ConfigurationError as error:
            _log.error("the specification is wrong, ramps go on by the one before: %s", error)
            return
        self._fit()

    def _fit(self) -> None:
        """Have ramps follow the specification."""
        for ramp in self.ramps.all():
            plan = self._plans.get(ramp.route)
            fits = plan is not None and (plan.control, plan.candidate) == (ramp.plan.control, ramp.plan.candidate)
            if ramp.gone == fits:
                self.ramps.gone(ramp.route, gone=not fits)
                _log.warning("the specification has %s route %s", "again" if fits else "no more", ramp.route)
            if fits and plan is not None:
                kept = self.ramps.plan(ramp.route, plan)
                if kept.overruled and ramp.place.state in COMPARED:
                    _log.warning("route %s: %s", ramp.route, OVERRULED)
        self._known = -1
        self._watched.clear()

    def _refresh(self) -> None:
        """Read the ramps again when somebody changed them."""
        known = self.ramps.changes
        if known == self._known:
            return
        self._known = known
        self._latest = self.ramps.all()
        now = self._clock.monotonic()
        for ramp in self._latest:
            plan = self._plans.get(ramp.route)
            if plan is None or ramp.gone or ramp.place.state not in COMPARED:
                self._watched.pop(ramp.route, None)
                continue
            before = self._watched.get(ramp.route)
            if before is not None and (before.ramp.id, before.ramp.since) == (ramp.id, ramp.since):
                before.ramp = ramp
                continue
            seen, judging = self.ramps.seen(ramp.route), ramp.plan.judging(plan)
            self._watched[ramp.route] = _Watched(ramp, judging, now, seen, Recent(judging.guard))

    def _confirm(self, tallies: Mapping[str, Tally]) -> None:
        living = [told.version for told in tallies.values() if told.alive]
        if living:
            self.ramps.confirm(min(living), at=self._clock.now())

    def _attend(self, watched: _Watched, tallies: Mapping[str, Tally]) -> None:
        watched.now = {name: told.routes.get(watched.ramp.route, RouteTally()) for name, told in tallies.items()}
        found = counts(watched.now, watched.seen)
        requests, errors = found.candidate.requests, found.candidate.errors
        watched.recent.add(max(0, requests - watched.requests), max(0, errors - watched.errors))
        watched.requests, watched.errors = requests, errors
        plan, place = watched.plan, watched.ramp.place
        told = deciding.broken(plan, place, requests=watched.recent.requests, errors=watched.recent.errors)
        seconds = self._clock.monotonic() - watched.began
        if told is None and seconds < plan.guard.interval:
            return
        if nothing(found):
            self._wait(watched)
            return
        self._close(watched, found, told, seconds)

    def _wait(self, watched: _Watched) -> None:
        """No data is no reason for anything."""
        watched.began = self._clock.monotonic()
        needs = deciding.waits_for(watched.plan, watched.ramp.place, watched.ramp.evidence)
        needs = f"requests: there are none now; {needs}" if needs else "requests: there are none now"
        if needs != watched.ramp.needs:
            self.ramps.needs(watched.ramp.route, needs)
            self._known = -1

    def _close(self, watched: _Watched, found: Counts, told: Judgement | None, seconds: float) -> None:
        plan, ramp = watched.plan, watched.ramp
        after = weighing.weighed(ramp.evidence, found, plan, percent=ramp.place.percent, seconds=seconds)
        judgement = deciding.judge(plan, ramp.place, after)
        if told is not None and judgement.verdict != "roll_back":
            judgement = told
        change = None
        if judgement.verdict != "hold":
            change = Change(judgement.verdict, judgement.by, judgement.to, judgement.reason, judgement.numbers)
        needs = "" if change is not None else deciding.waits_for(plan, ramp.place, after)
        interval = _interval(watched, found, after, at=self._clock.now())
        try:
            closed = self.ramps.close_interval(ramp, interval, after, watched.now, change, needs=needs)
        except ConfigurationError:  # the database says how far that got
            del self._watched[ramp.route]
            self._known = -1
            raise
        if closed:
            # one whose file could not be read just now is not new when it can be again
            watched.seen, watched.requests, watched.errors = {**watched.seen, **watched.now}, 0, 0
            watched.began = self._clock.monotonic()
        if change is not None:
            _tell(ramp, change)
        self._known = -1

    def _bury(self, tallies: Mapping[str, Tally]) -> None:
        """Take away the files of processes that are gone, once all that they counted has been seen."""
        for name in sorted(self._dead & tallies.keys()):  # dead before this reading of its file: it was its last
            routes = tallies[name].routes
            if all(each.seen.get(name) == routes.get(route, RouteTally()) for route, each in self._watched.items()):
                tally.remove(self._folder, name)
                self.ramps.forget_process(name)
                for each in self._watched.values():
                    each.seen.pop(name, None)
        self._dead = {name for name, told in tallies.items() if not told.alive}


def _interval(watched: _Watched, found: Counts, after: weighing.Evidence, *, at: float) -> Interval:
    plan, ramp = watched.plan, watched.ramp
    split, _ = weighing.told_apart(found, ramp.evidence.times)
    return Interval(
        at=at,
        percent=ramp.place.percent,
        control=split.control,
        candidate=split.candidate,
        pairs=found.pairs,
        differing=found.differing,
        evidence={test: after.value(test) for test in TESTS if test in weighing.tests(plan)},
        limit=weighing.limit(plan),
    )


def _tell(ramp: Ramp, change: Change) -> None:
    level = logging.WARNING if change.verdict == "roll_back" else logging.INFO
    _log.log(
        level,
        "route %s: %s from %g %% to %g %%, by %s: %s",
        ramp.route,
        change.verdict.replace("_", " "),
        ramp.place.percent,
        change.to.percent,
        change.by,
        change.reason,
    )
