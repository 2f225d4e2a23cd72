"""The states of processes, as the supervisor tells them when it is asked, and since when each has its own."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from skerry.clock import SYSTEM, Clock
from skerry.console.bounded import put
from skerry.console.facts import State, state_of, stopping_since
from skerry.console.told import RESTARTED, Told

MAX_PROCESSES: Final = 200
REMEMBERED: Final = 180.0
"""Seconds that a fall counts as one of several."""


@dataclass(slots=True)
class Known:
    """A process as it was seen last, and `first`; `falls` are the moments at which it stopped being ready."""

    state: State
    since: float
    restarts: int
    first: float
    falls: deque[float] = field(default_factory=lambda: deque(maxlen=20))


class States:
    """What is asked again and again; a change between two looks that left a restart behind counts too."""

    def __init__(self, told: Told, *, clock: Clock = SYSTEM) -> None:
        self._told = told
        self._clock = clock
        self._known: OrderedDict[str, Known] = OrderedDict()
        self.stopping: float | None = None
        """Since when the whole system stops; None when it does not, or nobody can be asked."""

    def take(self, processes: Collection[Mapping[str, Any]]) -> None:
        """The processes as they are now. Those that are not among them any more are forgotten."""
        now = self._clock.now()
        self.stopping = stopping_since(processes)
        seen: set[str] = set()
        for process in processes:
            name = str(process.get("name", ""))[:120]
            seen.add(name)
            since = process.get("since")  # the supervisor knows it also of what was before anybody looked
            begun = since if isinstance(since, int | float) and since <= now else None
            self._see(name, state_of(str(process.get("state", ""))), int(process.get("restarts") or 0), begun)
        for name in [name for name in self._known if name not in seen]:
            del self._known[name]

    def lose(self) -> None:
        """Nobody can be asked: nothing is known of any process."""
        now = self._clock.now()
        self.stopping = None
        for name, known in self._known.items():
            if known.state != "unknown":
                self._told.note(name, "state", "its supervisor does not answer", at=now)
                known.state, known.since = "unknown", now

    def names(self) -> list[str]:
        """All processes."""
        return list(self._known)

    def get(self, name: str) -> Known | None:
        """A process as it was seen last."""
        return self._known.get(name)

    def flaps(self, name: str) -> int:
        """How often a process fell in the last minutes."""
        known, now = self._known.get(name), self._clock.now()
        return 0 if known is None else sum(now - at <= REMEMBERED for at in known.falls)

    def _see(self, name: str, state: State, restarts: int, since: float | None) -> None:
        now = self._clock.now()
        begun = now if since is None else since
        known = self._known.get(name)
        if known is None:
            put(self._known, name, Known(state, begun, restarts, now), MAX_PROCESSES)
            return
        another = restarts > known.restarts or (since is not None and since > known.since)
        unseen = another and known.state == state
        if known.state != state or unseen:
            was = known.state
            if was == "ready":
                known.falls.append(begun)
            known.state, known.since = state, begun
            if state == "ready":
                self._told.note_start(name, RESTARTED if unseen else f"{was} -> {state}", at=begun)
            elif state != "starting" or was == "ready":
                # that it starts is no news, but that it fell: what it comes to is
                self._told.note(name, "state", RESTARTED if unseen else f"{was} -> {state}", at=begun)
        known.restarts = restarts
