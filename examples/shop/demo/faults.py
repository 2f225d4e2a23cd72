"""The faults: what is killed, when, and how many sagas were open then."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from skerry.clock import SYSTEM

from .books import Books
from .readers import Unreadable

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
        self._note("payment killed (SIGKILL), held down for 3 s", await asyncio.to_thread(self._books.open_sagas))
        await self._processes.hold("payment")
        await SYSTEM.sleep(HELD_DOWN)
        self._processes.release("payment")

    async def kill_order(self) -> None:
        """Kill order while at least one saga is open; waits for that moment."""
        sagas = await self._open_saga()
        self._processes.kill("order")
        self._note("order killed (SIGKILL)", sagas)

    async def kill_server(self, name: str) -> None:
        """Kill a server that the services work on, likewise; its supervisor starts it again on the same data."""
        sagas = await self._open_saga()
        self._processes.kill(name)
        self._note(f"{name} server killed (SIGKILL)", sagas)

    async def _open_saga(self) -> int:
        """Wait for a moment in which sagas are open; how many."""
        give_up = SYSTEM.monotonic() + WAIT_FOR_SAGA
        sagas = 0
        while sagas == 0 and SYSTEM.monotonic() < give_up:
            await SYSTEM.sleep(LOOK)
            with suppress(Unreadable):  # the database server is on its way back from the fault before
                sagas = await asyncio.to_thread(self._books.open_sagas)
        return sagas

    def _note(self, what: str, open_sagas: int) -> None:
        self.done.append(Fault(what, round(SYSTEM.monotonic() - self._begin, 2), open_sagas))
