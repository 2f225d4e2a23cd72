"""Ramps, their decisions and what was counted, in a SQLite file: what happened once is there, whoever dies, and only once.

One transaction takes a decision, moves the ramp and marks as seen what was counted for it. `shares.json` follows the database: it
is written after the commit, and again by whoever looks next when that did not come to pass. Controllers and commands may all
write: they queue.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final, Self

from skerry import signals
from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError
from skerry.gateway.model import Strangle
from skerry.gateway.strangler import shares, tally, weighing
from skerry.gateway.strangler.deciding import Place
from skerry.gateway.strangler.ramp_rows import (
    COMPARED,
    SCHEMA,
    SELECT,
    Change,
    Kept,
    Ramp,
    interval_of,
    merged,
    ramp_of,
    share_of,
)
from skerry.gateway.strangler.report import Decision, Interval, Verdict
from skerry.gateway.strangler.shares import Owner, Share, Shares
from skerry.gateway.strangler.tally import RouteTally
from skerry.gateway.strangler.weighing import Evidence

FILE: Final = "strangle.db"
MOST_INTERVALS: Final = 10_000
"""Of one ramp. Beyond it the older half is merged, two and two."""
MOST_RAMPS: Final = 50
"""Of one route; those before are forgotten."""
PATIENCE: Final = 10.0
"""Seconds to wait for another writer."""


class Ramps:
    """The database of a state folder; use it as a context manager, in one thread.

    Raises `ConfigurationError` when it cannot be used: the folder cannot be written, or another writer keeps it for ten seconds.
    """

    def __init__(self, folder: Path, *, clock: Clock = SYSTEM) -> None:
        self.folder: Path = folder
        self._clock = clock
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._sql = sqlite3.connect(folder / FILE, timeout=PATIENCE, isolation_level=None)
            self._sql.execute("PRAGMA journal_mode=WAL")
            self._sql.execute("PRAGMA synchronous=FULL")
            self._sql.execute("PRAGMA foreign_keys=ON")
            with self._writing():
                for statement in SCHEMA.split(";\n"):
                    self._sql.execute(statement)
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"{folder / FILE} cannot be used: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._sql.close()

    @property
    def version(self) -> int:
        """That of the shares as they are to be."""
        found: int = self._sql.execute("SELECT number FROM version").fetchone()[0]
        return found

    @property
    def changes(self) -> int:
        """A number that is another after somebody else changed something here."""
        found: int = self._sql.execute("PRAGMA data_version").fetchone()[0]
        return found

    def all(self) -> tuple[Ramp, ...]:
        """The latest ramp of each route."""
        latest = "WHERE id IN (SELECT max(id) FROM ramps GROUP BY route) ORDER BY route"
        return tuple(ramp_of(row) for row in self._sql.execute(f"{SELECT} {latest}"))

    def find(self, route: str) -> Ramp | None:
        """The latest ramp of a route."""
        row = self._sql.execute(f"{SELECT} WHERE route = ? ORDER BY id DESC LIMIT 1", (route,)).fetchone()
        return None if row is None else ramp_of(row)

    def start(self, route: str, plan: Strangle, place: Place, *, at: float, reason: str) -> Ramp:
        """Begin a ramp. Raises `ConfigurationError` when the route has one that is under way.

        What was counted before it is none of its own. Who owns the writes stays as it was.
        """
        with self._changing():
            before = self.find(route)
            if before is not None and before.place.state in COMPARED:
                raise ConfigurationError(
                    f"route {route!r} is {before.place.state} already, at {before.place.percent:g} %"
                )
            owner: Owner = before.place.owner if before is not None else "control"
            kept = Kept.of(plan)
            row = (route, json.dumps(asdict(kept)), "idle", 0.0, owner, at, json.dumps(weighing.as_json(Evidence())))
            self._sql.execute(
                "INSERT INTO ramps (route, plan, state, percent, owner, since, evidence) VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            self._forget(route)
            for name, told in tally.read(self.folder).items():
                self._see(name, route, told.routes.get(route, RouteTally()))
            ramp = self._known(route)
            self._move(ramp, Change("start", "person", replace(place, owner=owner), reason, {}), at)
        return self._known(route)

    def change(self, ramp: Ramp, change: Change, *, at: float) -> Ramp:
        """Record a decision about `ramp` and move it, without a look at what is being counted.

        Raises `ConfigurationError` when it is not where it was when it was looked at: somebody else moved it.
        """
        with self._changing():
            now = self._known(ramp.route)
            if not _same_place(now, ramp):
                raise ConfigurationError(
                    f"route {ramp.route!r} was moved meanwhile: it is {now.place.state} at {now.place.percent:g} % now"
                )
            self._move(now, change, at)
        return self._known(ramp.route)

    def share(self, route: str) -> Share:
        """What a route is at."""
        return share_of(self._known(route))

    def own(
        self,
        route: str,
        owner: Owner,
        *,
        before: Owner,
        verdict: Verdict | None,
        reason: str,
        numbers: Mapping[str, float],
    ) -> int:
        """Change the owner; a `verdict` makes it a decision. Returns the version that gateways then have to confirm.

        Raises `ConfigurationError` when the owner is not `before` any more: somebody else changed it.
        """
        with self._changing():
            ramp, at = self._known(route), self._clock.now()
            if ramp.place.owner != before:
                raise ConfigurationError(
                    f"route {route!r}: who owns its writes was changed meanwhile; it is {ramp.place.owner} now"
                )
            if verdict is None:
                self._sql.execute("UPDATE version SET number = number + 1")
            else:
                self._record(ramp, Change(verdict, "person", replace(ramp.place, owner=owner), reason, numbers), at)
            self._sql.execute(
                "UPDATE ramps SET before = CASE WHEN owner = 'nobody' THEN before ELSE owner END, owner = ?, owned = ? "
                "WHERE id = ?",
                (owner, at, ramp.id),
            )
        return self.version

    def handed_over(self, route: str) -> Mapping[str, float]:
        """The numbers of the last hand-over. Raises `ConfigurationError` when there was none."""
        for decision in reversed(self.decisions(self._known(route))):
            if decision.verdict == "hand_over":
                return decision.numbers
        raise ConfigurationError(f"route {route!r} was never handed over")

    def give_back(self, *, overdue: float) -> None:
        """Give to whom they belonged before the writes that nobody has owned for more than `overdue` seconds: whoever handed them
        over is gone.
        """
        now = self._clock.now()  # a time that lies ahead is none: the clock was put back
        late = "SELECT route, before FROM ramps WHERE owner = 'nobody' AND NOT owned BETWEEN ? AND ?"
        for route, owner in self._sql.execute(late, (now - overdue, now + overdue)).fetchall():
            with suppress(ConfigurationError):  # it was settled just now
                self.own(route, owner, before="nobody", verdict=None, reason="who handed it over is gone", numbers={})

    def plan(self, route: str, plan: Strangle) -> Kept:
        """Keep what the specification says now, as far as it counts for a ramp that has begun; what does count."""
        with self._writing():
            ramp = self._known(route)
            kept = ramp.plan.follow(plan)
            self._sql.execute("UPDATE ramps SET plan = ? WHERE id = ?", (json.dumps(asdict(kept)), ramp.id))
        return kept

    def gone(self, route: str, *, gone: bool) -> None:
        """Whether the specification has the route no more."""
        with self._writing():
            self._sql.execute("UPDATE ramps SET gone = ? WHERE id = ?", (gone, self._known(route).id))

    def close_interval(
        self,
        ramp: Ramp,
        interval: Interval,
        found: Evidence,
        seen: Mapping[str, RouteTally],
        change: Change | None,
        *,
        needs: str,
    ) -> bool:
        """Record an interval, with what follows from it, and that so much of what is counted has been seen.

        False, and nothing is done, when the ramp is not where it was: somebody else moved it, and the interval is to be looked
        at once more.
        """
        with self._changing():
            now = self.find(ramp.route)
            if now is None or not _same_place(now, ramp):
                return False
            self._sql.execute(
                "INSERT INTO intervals (ramp, told) VALUES (?, ?)", (ramp.id, json.dumps(asdict(interval)))
            )
            self._merge(ramp.id)
            for name, sums in seen.items():
                self._see(name, ramp.route, sums)
            kept = json.dumps(weighing.as_json(found))
            self._sql.execute("UPDATE ramps SET evidence = ?, needs = ? WHERE id = ?", (kept, needs, ramp.id))
            if change is not None:
                self._move(self._known(ramp.route), change, interval.at)
        return True

    def needs(self, route: str, needs: str) -> None:
        """What the ramp waits for."""
        with self._writing():
            self._sql.execute("UPDATE ramps SET needs = ? WHERE id = ?", (needs, self._known(route).id))

    def seen(self, route: str) -> dict[str, RouteTally]:
        """Up to where each process's sums have been seen."""
        rows = self._sql.execute("SELECT process, sums FROM seen WHERE route = ?", (route,))
        return {name: tally.route_from_json(json.loads(sums)) for name, sums in rows}

    def forget_process(self, name: str) -> None:
        """A process is gone, and all that it counted has been seen."""
        with self._writing():
            self._sql.execute("DELETE FROM seen WHERE process = ?", (name,))

    def forget_processes_but(self, names: set[str]) -> None:
        """Forget those that left nothing behind."""
        with self._writing():
            for (name,) in self._sql.execute("SELECT DISTINCT process FROM seen").fetchall():
                if name not in names:
                    self._sql.execute("DELETE FROM seen WHERE process = ?", (name,))

    def confirm(self, version: int, *, at: float) -> None:
        """Every gateway serves the shares of `version`."""
        waiting = "SELECT 1 FROM decisions WHERE effective IS NULL AND version <= ? LIMIT 1"
        if self._sql.execute(waiting, (version,)).fetchone():
            with self._writing():
                confirmed = "UPDATE decisions SET effective = ? WHERE effective IS NULL AND version <= ?"
                self._sql.execute(confirmed, (at, version))

    def unconfirmed(self, *, since: float) -> bool:
        """Whether a decision of after `since` waits for the gateways still."""
        waiting = "SELECT 1 FROM decisions WHERE effective IS NULL AND at > ? LIMIT 1"
        return self._sql.execute(waiting, (since,)).fetchone() is not None

    def decisions(self, ramp: Ramp) -> tuple[Decision, ...]:
        """All of them, in their order."""
        rows = self._sql.execute(
            "SELECT at, verdict, by, before, after, reason, numbers, effective FROM decisions WHERE ramp = ? ORDER BY id",
            (ramp.id,),
        )
        return tuple(
            Decision(at, verdict, by, before, after, reason, json.loads(numbers), effective)
            for at, verdict, by, before, after, reason, numbers, effective in rows
        )

    def intervals(self, ramp: Ramp) -> tuple[Interval, ...]:
        """All that are kept, in their order."""
        rows = self._sql.execute("SELECT told FROM intervals WHERE ramp = ? ORDER BY id", (ramp.id,))
        return tuple(interval_of(json.loads(told)) for (told,) in rows)

    def publish(self) -> None:
        """Have `shares.json` say what the database says. Quick when it does."""
        with suppress(ConfigurationError):  # a file that cannot be read is written anew
            if shares.read(self.folder).version == self.version:
                return
        with self._writing():  # nobody puts an older one over a newer one
            shares.write(self.folder, Shares(self.version, {ramp.route: share_of(ramp) for ramp in self.all()}))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._sql.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise ConfigurationError(f"{self.folder / FILE} is kept by another writer: {error}") from error
        try:
            yield
            self._sql.execute("COMMIT")
        except BaseException as error:
            if self._sql.in_transaction:  # an error of the disk may have ended it
                self._sql.execute("ROLLBACK")
            if isinstance(error, OSError | sqlite3.OperationalError):
                raise ConfigurationError(f"{self.folder} cannot be written: {error}") from error
            raise

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """A transaction after which what changed is told, and the file of shares is made to follow."""
        self._changed: list[signals.RampChanged] = []
        with self._writing():
            yield
        for changed in self._changed:
            signals.emit(changed)
        self.publish()

    def _move(self, ramp: Ramp, change: Change, at: float) -> None:
        after = change.to
        moved = json.dumps(weighing.as_json(ramp.evidence.moved()))
        self._sql.execute(
            "UPDATE ramps SET state = ?, percent = ?, since = ?, needs = '', evidence = ? WHERE id = ?",
            (after.state, after.percent, at, moved, ramp.id),
        )
        self._record(ramp, change, at)

    def _record(self, ramp: Ramp, change: Change, at: float) -> None:
        before, after = ramp.place, change.to
        self._sql.execute("UPDATE version SET number = number + 1")
        numbers = json.dumps(dict(change.numbers))
        row = (
            ramp.id,
            self.version,
            at,
            change.verdict,
            change.by,
            before.percent,
            after.percent,
            change.reason,
            numbers,
        )
        self._sql.execute(
            "INSERT INTO decisions (ramp, version, at, verdict, by, before, after, reason, numbers) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        self._changed.append(
            signals.RampChanged(
                route=ramp.route,
                state=after.state,
                before=before.percent,
                after=after.percent,
                by=change.by,
                verdict=change.verdict,
                reason=change.reason,
            )
        )

    def _see(self, name: str, route: str, sums: RouteTally) -> None:
        self._sql.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (name, route, json.dumps(asdict(sums))))

    def _known(self, route: str) -> Ramp:
        found = self.find(route)
        if found is None:
            raise ConfigurationError(
                f"route {route!r} has no ramp in {self.folder / FILE}: begin one with `skerry strangle start`"
            )
        return found

    def _forget(self, route: str) -> None:
        old = "DELETE FROM ramps WHERE id IN (SELECT id FROM ramps WHERE route = ? ORDER BY id DESC LIMIT -1 OFFSET ?)"
        self._sql.execute(old, (route, MOST_RAMPS))

    def _merge(self, ramp: int) -> None:
        count = self._sql.execute("SELECT count(*) FROM intervals WHERE ramp = ?", (ramp,)).fetchone()[0]
        if count <= MOST_INTERVALS:
            return
        rows = self._sql.execute(
            "SELECT id, told FROM intervals WHERE ramp = ? ORDER BY id LIMIT ?", (ramp, MOST_INTERVALS // 2)
        ).fetchall()
        for (first, a), (second, b) in zip(rows[::2], rows[1::2], strict=False):
            both = merged(interval_of(json.loads(a)), interval_of(json.loads(b)))
            self._sql.execute("UPDATE intervals SET told = ? WHERE id = ?", (json.dumps(asdict(both)), second))
            self._sql.execute("DELETE FROM intervals WHERE id = ?", (first,))


def _same_place(a: Ramp, b: Ramp) -> bool:
    return (a.id, a.place, a.since) == (b.id, b.place, b.since)
