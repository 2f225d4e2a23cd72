"""The faults: what is killed, when, and how many sagas were open then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from skerry.clock import SYSTEM

from .books import Books

HELD_DOWN = 3.0
LOOK = 0.003
WAIT_FOR_SAGA = 30.0


@dataclass(frozen=True, slots=True)
class Fault:
    """`at` is in seconds since the first order; `open_sagas` were under way at that moment."""

    what: str
    at: float
    open_sagas: int


class Processes(Protocol):
    """What the faults need of a supervisor."""

    async def hold(self, name: str) -> object:
        """Kill a process and keep it down."""
        ...

    def release(self, name: str) -> object:
        """Let it start again."""
        ...

    def kill(self, name: str) -> object:
        """Kill a process; it is started again."""
        ...


class Faults:
    """Breaks the shop on purpose and writes down what it did."""

    def __init__(self, processes: Processes, books: Books) -> None:
        self._processes = processes
        self._books = books
        self._begin = SYSTEM.monotonic()
        self.done: list[Fault] = []

    def begin(self) -> None:
        """The first order is about to be placed."""
        self._begin = SYSTEM.monotonic()

    async def hold_payment(self) -> None:
        """Kill payment and keep it down for three seconds."""
        self._note("payment killed (SIGKILL), held down for 3 s", self._books.open_sagas())
        await self._processes.hold("payment")
        await SYSTEM.sleep(HELD_DOWN)
        self._processes.release("payment")

    async def kill_order(self) -> None:
        """Kill order while at least one saga is open; waits for that moment."""
        give_up = SYSTEM.monotonic() + WAIT_FOR_SAGA
        while (sagas := self._books.open_sagas()) == 0 and SYSTEM.monotonic() < give_up:
            await SYSTEM.sleep(LOOK)
        self._processes.kill("order")
        self._note("order killed (SIGKILL)", sagas)

    def _note(self, what: str, open_sagas: int) -> None:
        self.done.append(Fault(what, round(SYSTEM.monotonic() - self._begin, 2), open_sagas))
