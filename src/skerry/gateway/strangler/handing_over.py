"""Who owns a route's data: handed over from control to candidate, and back as long as nothing new was written.

Reads can go to either side, for the candidate follows the control's events. Writes cannot: only one side may take them. So unsafe
requests are held at every gateway for a moment, those under way end, the candidate gets what it does not have yet, and then
it owns. Each side says how far it is at the path `position` of the plan, as JSON: the control `{"written": N}`, how many
facts it has recorded; the candidate `{"seen": N, "written": M}`, how many of those it has, and how many it recorded by itself.

A write whose client went away meanwhile may still be recorded by the old owner afterwards; it then reaches the new one as all
before it did.

Whoever dies in between leaves `nobody` as the owner, with the time: `overdue` says when it is to be put back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, SkerryError
from skerry.gateway.model import Strangle
from skerry.gateway.strangler import tally
from skerry.gateway.strangler.applying import HOLD
from skerry.gateway.strangler.report import Verdict
from skerry.gateway.strangler.shares import Owner, Share

PATIENCE: Final = HOLD - 3.0
"""Seconds for all of it: what is held has to get an answer after that."""
OVERDUE: Final = 2 * HOLD
"""Seconds after which nobody is still at it who began."""
_LOOK: Final = 0.02
Side = Literal["control", "candidate"]
Numbers = Mapping[str, float]
_NO_NUMBERS: Final[Numbers] = {}


class NotHandedOver(SkerryError):
    """The owner is who it was before; the message says why. What was held went on to that owner."""


class Ledger(Protocol):
    """Where it is written down, in one transaction each: `Ramps`."""

    def share(self, route: str) -> Share:
        """What a route is at."""
        ...

    def own(
        self, route: str, owner: Owner, *, before: Owner, verdict: Verdict | None, reason: str, numbers: Numbers
    ) -> int:
        """Change the owner; a `verdict` makes it a decision. Returns the version that gateways then have to confirm. Raises
        `ConfigurationError` when the owner is not `before` any more.
        """
        ...

    def handed_over(self, route: str) -> Numbers:
        """The numbers of the last hand-over. Raises `ConfigurationError` when there was none."""
        ...


Ask = Callable[[Side, str], Mapping[str, object]]
"""Gets the position of a side, by the path. Raises `SkerryError` when it does not tell."""


@dataclass(frozen=True, slots=True)
class HandingOver:
    """Of one route, by its `plan`. `folder` is the state folder, whose tallies tell what gateways confirm."""

    route: str
    plan: Strangle
    ledger: Ledger
    folder: Path
    ask: Ask
    clock: Clock = SYSTEM

    def hand_over(self) -> Numbers:
        """Make the candidate the owner; the numbers that were written down.

        Raises `ConfigurationError` when it cannot be tried, `NotHandedOver` when the candidate does not get there in time.
        """
        share = self._owned_by("control")
        if share.percent < 100:
            raise ConfigurationError(
                f"{self.route}: reads are at {share.percent:g} %. Who asks the control would not find what the candidate took; "
                "hand over at 100 %"
            )
        return self._held("control", "candidate", self._caught_up)

    def hand_back(self) -> Numbers:
        """Make the control the owner again.

        Raises `NotHandedOver` when the candidate recorded something since, `ConfigurationError` when nobody can tell that.
        """
        self._owned_by("candidate")
        if self.plan.position is None:
            raise ConfigurationError(
                f"{self.route}: without `position` nobody can tell whether the candidate has written something since"
            )
        before = self.ledger.handed_over(self.route)
        return self._held("candidate", "control", lambda _: self._nothing_new(before))

    def _owned_by(self, owner: Owner) -> Share:
        if self.plan.writes != "owner":
            raise ConfigurationError(
                f"{self.route}: its writes are ramped with the rest, so there is no owner to change"
            )
        share = self.ledger.share(self.route)
        if share.owner == "nobody":
            raise ConfigurationError(f"{self.route}: ownership is being handed over right now")
        if share.owner != owner:
            raise ConfigurationError(f"{self.route}: the {share.owner} owns it already")
        return share

    def _held(self, before: Side, after: Side, settle: Callable[[float], Numbers]) -> Numbers:
        """Hold unsafe requests, let `settle` find out whether the owner may change, and change it or leave it."""
        until = self.clock.monotonic() + PATIENCE
        version = self._own("nobody", before=before, reason="unsafe requests are held")
        try:
            if not self._until(lambda: self._confirmed(version) and not self._writing(), until):
                raise NotHandedOver("not every gateway held its unsafe requests in time, or some were still under way")
            numbers = settle(until)
        except BaseException as error:
            why = str(error) if isinstance(error, SkerryError) else type(error).__name__
            with suppress(ConfigurationError):  # somebody else has settled by now whose they are
                self._own(before, before="nobody", reason=why)
            if isinstance(error, SkerryError):
                raise NotHandedOver(f"{self.route}: the {before} stays the owner: {why}") from error
            raise
        verdict: Verdict = "hand_over" if after == "candidate" else "hand_back"
        try:
            version = self._own(after, before="nobody", reason=f"the {after} owns it", verdict=verdict, numbers=numbers)
        except ConfigurationError as error:  # what both sides told is of a time before writes went on
            raise NotHandedOver(f"{self.route}: it took so long that its writes went back to the {before}") from error
        self._until(lambda: self._confirmed(version), self.clock.monotonic() + PATIENCE)
        return numbers

    def _own(
        self,
        owner: Owner,
        *,
        before: Owner,
        reason: str,
        verdict: Verdict | None = None,
        numbers: Numbers = _NO_NUMBERS,
    ) -> int:
        return self.ledger.own(self.route, owner, before=before, verdict=verdict, reason=reason, numbers=numbers)

    def _caught_up(self, until: float) -> Numbers:
        if self.plan.position is None:
            return {}
        written, seen = self._told("control", "written"), -1

        def there() -> bool:
            nonlocal seen
            seen = self._told("candidate", "seen")
            return seen >= written

        if not self._until(there, until):
            raise NotHandedOver(f"the candidate has {seen} of its {written} facts")
        own = self._told("candidate", "written")
        return {"control_written": written, "candidate_seen": seen, "candidate_written": own}

    def _nothing_new(self, before: Numbers) -> Numbers:
        new = self._told("candidate", "written") - before["candidate_written"]
        if new:
            raise NotHandedOver(f"it has recorded {new:g} facts since the hand-over, and the control has none of them")
        return {"new": 0}

    def _confirmed(self, version: int) -> bool:
        return all(each.version >= version for each in tally.read(self.folder).values() if each.alive)

    def _writing(self) -> int:
        told = (each.routes.get(self.route) for each in tally.read(self.folder).values() if each.alive)
        return sum(route.writing for route in told if route is not None)

    def _told(self, side: Side, key: str) -> int:
        assert self.plan.position is not None
        value = self.ask(side, self.plan.position).get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise NotHandedOver(f"the {side} does not say {key!r} at {self.plan.position}, as a whole number")
        return value

    def _until(self, there: Callable[[], bool], until: float) -> bool:
        while not there():
            if self.clock.monotonic() >= until:
                return False
            self.clock.sleep_sync(_LOOK)
        return True
