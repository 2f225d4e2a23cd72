"""A bounded pool of connections to a server. Who finds none free waits in a bounded line, first come first served.

Taking one and giving one back cost no turn of the event loop while one is free, and giving back cannot be cancelled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from skerry.clock import Clock
from skerry.errors import StoreBusy, StoreError

IDLE: Final = 300.0
"""Seconds after which a connection that nobody needed is closed, when another one is given back."""
CLOSE_WITHIN: Final = 5.0


class Connection(Protocol):
    """What the pool asks of a connection."""

    def is_closed(self) -> bool:
        """Whether it is lost."""
        ...

    def terminate(self) -> None:
        """End it at once."""
        ...


class Pool:
    """At most `size` connections, made by `connect` when needed. `of` says whose they are, for errors.

    Beyond `max_waiting` in the line, or after `wait` seconds in it, `StoreBusy` is raised.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        *,
        of: str,
        size: int,
        max_waiting: int,
        wait: float,
        clock: Clock,
    ) -> None:
        self._connect = connect
        self._of = of
        self._size = size
        self._max_waiting = max_waiting
        self._wait = wait
        self._clock = clock
        self._making = 0
        self._all: set[Connection] = set()
        self._idle: deque[tuple[float, Connection]] = deque()
        self._line: deque[asyncio.Future[Connection | None]] = deque()
        self._closed = False
        self._empty = asyncio.Event()

    async def acquire(self) -> Connection:
        """A connection of one's own until `release`. Raises `StoreBusy`, and what `connect` raises."""
        if (connection := self._free()) is not None:
            return connection
        if len(self._line) >= self._max_waiting and not self._room():
            raise StoreBusy(f"{len(self._line)} transactions already wait for the database of {self._of}")
        try:
            async with asyncio.timeout(self._wait):
                while True:  # bounded by the time-out
                    if self._closed:
                        raise StoreError(f"the database of {self._of} is not open")
                    if (connection := self._free()) is not None:
                        return connection
                    if self._room():
                        return await self._make()
                    if (connection := await self._turn()) is not None:
                        return connection
        except TimeoutError:
            raise StoreBusy(f"waited {self._wait:g} s for a connection to the database of {self._of}") from None

    def release(self, connection: Connection) -> None:
        """Give it back, with no transaction open on it; one that is lost makes room for another."""
        if self._closed or connection.is_closed():
            self._discard(connection)
        elif (first := self._next()) is not None:
            first.set_result(connection)
        else:
            now = self._clock.monotonic()
            self._idle.append((now, connection))
            if self._idle[0][0] < now - IDLE:
                self._discard(self._idle.popleft()[1])

    async def close(self) -> None:
        """Take no more, wait `CLOSE_WITHIN` seconds for those in use, then end them all. Safe to call twice."""
        self._closed = True
        while (first := self._next()) is not None:
            first.set_result(None)
        while self._idle:
            self._discard(self._idle.pop()[1])
        if self._all:
            try:
                async with asyncio.timeout(CLOSE_WITHIN):
                    await self._empty.wait()
            except TimeoutError:
                pass
            self.terminate()

    def terminate(self) -> None:
        """End all connections at once."""
        self._closed = True
        self._idle.clear()
        for connection in self._all:
            connection.terminate()
        self._all.clear()

    def _free(self) -> Connection | None:
        """The one that was used last, for the others may then be closed."""
        while self._idle:
            _, connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._all.discard(connection)
        return None

    def _room(self) -> bool:
        return len(self._all) + self._making < self._size

    async def _make(self) -> Connection:
        self._making += 1
        try:
            connection = await self._connect()
        except BaseException:
            self._making -= 1
            self._let_next_try()
            raise
        self._making -= 1
        self._all.add(connection)
        if self._closed:
            self._discard(connection)
            raise StoreError(f"the database of {self._of} is not open")
        return connection

    async def _turn(self) -> Connection | None:
        """Wait in the line: for a connection, or None when there may be room to make one."""
        mine: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._line.append(mine)
        try:
            return await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # it came just then: to the next one with it
                given = mine.result()
                if given is None:
                    self._let_next_try()
                else:
                    self.release(given)
            raise
        finally:
            if mine in self._line:
                self._line.remove(mine)

    def _next(self) -> asyncio.Future[Connection | None] | None:
        while self._line:
            first = self._line.popleft()
            if not first.done():
                return first
        return None

    def _let_next_try(self) -> None:
        if (first := self._next()) is not None:
            first.set_result(None)

    def _discard(self, connection: Connection) -> None:
        self._all.discard(connection)
        connection.terminate()
        self._let_next_try()
        if not self._all:
            self._empty.set()
