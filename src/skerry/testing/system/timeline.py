"""What happened, in its order: every signal of every service, and every fault, each at its virtual second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Final, TypeVar

from skerry import signals
from skerry.clock import Clock
from skerry.testing.system.loop import LIFE

S = TypeVar("S", bound=signals.Signal)
MOST: Final = 100_000
"""Entries kept. A test that makes more keeps the first ones and counts the rest, in which its check sees no doubles either."""
SHOWN: Final = 80
"""Lines of a failure's message; those before are counted."""
_WIDTH: Final = 14


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened: at a virtual second, in a service (`test` for the test itself)."""

    at: float
    service: str
    text: str
    signal: signals.Signal | None = None

    def __str__(self) -> str:
        return f"{self.at:10.3f}  {self.service:<{_WIDTH}} {self.text}"


class Timeline:
    """The record of one test. Signals never carry payloads, so neither does this."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: list[Entry] = []
        self._dropped = 0
        self._unsubscribe: Callable[[], None] | None = None

    def begin(self) -> None:
        """Listen."""
        self._unsubscribe = signals.subscribe(self._hear)

    def end(self) -> None:
        """Listen no more. Safe to call twice."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hear nothing in the block."""
        listened = self._unsubscribe is not None
        self.end()
        try:
            yield
        finally:
            if listened:
                self.begin()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of it."""
        return tuple(self._entries)

    @property
    def lines(self) -> list[str]:
        """All of it as text. Two runs with one seed have the same lines."""
        return [str(entry) for entry in self._entries]

    def of(self, kind: type[S], *, service: str = "") -> list[S]:
        """The signals of a kind, of all services or of one."""
        return [
            entry.signal for entry in self._entries if isinstance(entry.signal, kind) and service in {"", entry.service}
        ]

    def note(self, text: str, *, service: str = "test") -> None:
        """Write down what is no signal, such as a fault."""
        self._add(Entry(self._clock.monotonic(), service, text))

    def text(self, *, last: int = SHOWN) -> str:
        """The end of it for a person, without debug signals and migrations."""
        told = [each for each in self._entries if _is_worth_telling(each.signal)]
        left_out = len(told) - last
        head = [f"({left_out} earlier entries are left out)"] if left_out > 0 else []
        tail = [f"({self._dropped} later ones were not kept)"] if self._dropped else []
        return "\n".join([*head, *map(str, told[-last:]), *tail]) or "(nothing has happened)"

    def _hear(self, signal: signals.Signal) -> None:
        life = LIFE.get()
        if life is not None and life.frozen:
            return
        values = (f"{field.name}={getattr(signal, field.name)}" for field in fields(signal))
        text = " ".join([type(signal).__name__, *values])
        self._add(Entry(self._clock.monotonic(), str(life or "test"), text[:300], signal))

    def _add(self, entry: Entry) -> None:
        if len(self._entries) < MOST:
            self._entries.append(entry)
        else:
            self._dropped += 1


def _is_worth_telling(signal: signals.Signal | None) -> bool:
    """Not what each start of each service says."""
    ordinary = (signals.MigrationBegun, signals.MigrationApplied, signals.RelayChanged)
    return signal is None or not (signal.level == "debug" or isinstance(signal, ordinary))
