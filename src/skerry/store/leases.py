"""What PostgreSQL's `lead` and `ring` stand on: one session of this process, leases in a table, hints by NOTIFY."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from skerry.clock import Clock
from skerry.errors import LeaseLost
from skerry.store.placeholders import inline, translate
from skerry.store.queries import Queries, words
from skerry.store.tx import Parameters, Tx

if TYPE_CHECKING:
    from skerry.store.postgresql import PostgreSQLDatabase, PostgreSQLTransaction

SQL = Queries("skerry.store", "sql/leases.sql")

LEASE: Final = 3.0
"""Seconds. A holder that cannot renew for so long, stopped or cut off, is followed by another."""
RENEW: Final = 0.75
HINT_PAUSE: Final = 0.002
"""Seconds between two hints of one name to other processes; rings in between are one."""
ANSWER_TIMEOUT: Final = 2.0
_CHANNEL: Final = "skerry"
_ONLY_READS: Final = "25006"


class Session:
    """One connection beside the pool, made when first needed and again when it is lost. Its end ends our leases."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], clock: Clock) -> None:
        self._connect = connect
        self._clock = clock
        self._connection: Any = None
        self._lock = asyncio.Lock()
        self._listener: Callable[[str], None] | None = None
        self._listens = False

    async def listen(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the payload of each notification, also after a reconnect."""
        self._listener = callback
        async with self._lock:
            await self._connected()

    async def fetch_value(self, sql: str, *parameters: Any) -> Any:
        """One statement; the first value of its first row."""
        async with self._lock:
            connection = await self._connected()
            text, values = translate(sql, parameters, "numeric")
            try:
                return await connection.fetchval(text, *values, timeout=ANSWER_TIMEOUT)
            except Exception as error:
                if isinstance(error, OSError) or getattr(error, "sqlstate", "") == _ONLY_READS:
                    connection.terminate()  # the next one may answer, and write
                raise

    async def take(self, roles: Iterable[str]) -> dict[str, int]:
        """Take those that are free; the epochs of what is ours now."""
        found = await self.fetch_value(SQL["take"].on("postgresql"), json.dumps(list(roles)), LEASE)
        taken: dict[str, int] = json.loads(found)
        return taken

    async def renew(self, held: Mapping[str, int], roles: Iterable[str] = ()) -> tuple[set[str], set[str]]:
        """Hold them for longer: those that were ours still, and which of `roles` others hold."""
        asked = json.dumps(dict(held)), LEASE, json.dumps(list(roles))
        ours, others = json.loads(await self.fetch_value(SQL["renew"].on("postgresql"), *asked))
        return set(ours or ()), set(others or ())

    async def give_back(self, held: Mapping[str, int]) -> None:
        """Let others have them at once."""
        await self.fetch_value(SQL["give_back"].on("postgresql"), json.dumps(dict(held)))

    async def close(self) -> None:
        """End the session, and with it what it holds."""
        async with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                with contextlib.suppress(Exception):
                    await connection.close(timeout=ANSWER_TIMEOUT)

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection, self._listens = await self._connect(), False
        if self._listener is not None and not self._listens:
            await self._connection.add_listener(_CHANNEL, self._heard)
            self._listens = True
        return self._connection

    def _heard(self, connection: Any, pid: int, channel: str, payload: str) -> None:  # noqa: ARG002 - the driver's
        if self._listener is not None:
            self._listener(payload)


class Renewed(Protocol):
    """A lease that has to be renewed while it is held."""

    role: str

    async def take(self) -> bool:
        """Take it if it is free; whether it is ours now."""
        ...

    async def keep(self) -> None:
        """Renew until cancelled, or until somebody else has it."""
        ...

    async def give_back(self) -> None:
        """Let the next one have it at once."""
        ...


@asynccontextmanager
async def held(
    lease: Renewed, translated: Callable[[], AbstractContextManager[None]], *, poll: float, clock: Clock
) -> AsyncIterator[None]:
    """Wait for a lease, trying every `poll` seconds with errors `translated`; keep it inside the block, then give it back."""
    while True:
        with translated():
            if await lease.take():
                break
        await clock.sleep(poll)
    renewing = asyncio.create_task(lease.keep(), name=f"lease:{lease.role}")
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        with contextlib.suppress(Exception):  # the next one takes over when it runs out
            await asyncio.shield(lease.give_back())


class PostgreSQLLease:
    """A role held for a time, see `Lease`. `epoch` is 0 while it is not held."""

    def __init__(self, role: str, database: PostgreSQLDatabase, session: Session, clock: Clock) -> None:
        self.role = role
        self.epoch: int = 0
        self._database = database
        self._session = session
        self._clock = clock
        self._until = 0.0

    async def take(self) -> bool:
        """Take it if it is free; whether it is ours now."""
        asked = self._clock.monotonic()
        taken = await self._session.take([self.role])
        if self.role not in taken:
            return False
        self.epoch, self._until = taken[self.role], asked + LEASE
        return True

    async def keep(self) -> None:
        """Renew until cancelled, or until somebody else has it. Trouble with the server is tried again."""
        while True:
            await self._clock.sleep(RENEW)
            asked = self._clock.monotonic()
            with contextlib.suppress(Exception):  # whatever it is, `check` notices when the time is over
                ours, _ = await self._session.renew({self.role: self.epoch})
                if not ours:
                    self._until = 0.0
                    return
                self._until = asked + LEASE

    async def give_back(self) -> None:
        """Let the next one have it at once."""
        await self._session.give_back({self.role: self.epoch})

    def check(self) -> None:
        """See `Lease.check`."""
        if self._clock.monotonic() >= self._until:
            raise LeaseLost(f"the role {self.role!r} was not renewed in time; another process may hold it")

    async def fence(self, tx: Tx) -> None:
        """See `Lease.fence`."""
        if not await tx.fetch_all(SQL["is_held"], (self.role, self.epoch)):
            raise LeaseLost(f"another process holds the role {self.role!r}")

    @asynccontextmanager
    async def transaction(self, ask: str = "", parameters: Parameters = ()) -> AsyncIterator[PostgreSQLTransaction]:
        """See `Lease.transaction`."""
        end = inline(SQL["end_held"].on("postgresql"), (self.role, self.epoch))
        if not ask:
            async with self._database.unit_of_work("BEGIN", at_once=False, end=end) as tx:
                yield tx
            return
        begin = inline(SQL["begin_held"].on("postgresql"), (self.role, self.epoch))
        begin = f"{begin} UNION ALL SELECT FROM ({inline(words(ask, 'postgresql'), parameters)}) asked"
        async with self._database.unit_of_work(begin, end=end) as tx:
            if tx.found:
                await self.fence(tx)
            yield tx


class LeasedRoles:
    """Several roles held for a time, renewed together; see `Roles`."""

    def __init__(self, database: PostgreSQLDatabase, session: Session, clock: Clock) -> None:
        self.held: dict[str, int] = {}
        self._database = database
        self._session = session
        self._clock = clock
        self._until = 0.0

    async def look(self, roles: Iterable[str]) -> set[str]:
        """See `Roles.look`."""
        asked, held = self._clock.monotonic(), dict(self.held)
        with self._database.translated():
            ours, others = await self._session.renew(held, roles)
        for role in held.keys() - ours:
            self.held.pop(role, None)
        self._until = asked + LEASE
        return ours | others

    async def take(self, roles: Iterable[str]) -> None:
        """See `Roles.take`. Not trusted for longer than what is held already: the next look renews all of it."""
        with self._database.translated():
            self.held |= await self._session.take(sorted(roles))

    async def give_back(self, roles: Iterable[str]) -> None:
        """See `Roles.give_back`."""
        given = {role: self.held.pop(role) for role in roles if role in self.held}
        if given:
            with self._database.translated():
                await self._session.give_back(given)

    def check(self) -> None:
        """See `Lease.check`."""
        if self._clock.monotonic() >= self._until:
            raise LeaseLost(f"the roles {sorted(self.held)} were not renewed in time; another process may hold them")

    @asynccontextmanager
    async def transaction(self, roles: Iterable[str]) -> AsyncIterator[PostgreSQLTransaction]:
        """See `Roles.transaction`."""
        fenced = [(role, self.held.get(role, 0)) for role in roles]
        if len(fenced) == 1:
            end = inline(SQL["end_held"].on("postgresql"), fenced[0])
        else:
            told = ",".join(json.dumps(f"{role} {epoch}", ensure_ascii=False) for role, epoch in fenced)
            end = inline(SQL["end_share"].on("postgresql"), (len(fenced), f"{{{told}}}"))
        async with self._database.unit_of_work("BEGIN", at_once=False, end=end) as tx:
            yield tx


class Bells:
    """Hints within this process at once, to others once in `HINT_PAUSE`."""

    def __init__(self, session: Session, clock: Clock) -> None:
        self._session = session
        self._clock = clock
        self._callbacks: dict[str, Callable[[], None]] = {}
        self._waiting: set[str] = set()
        self._telling: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None

    def ring(self, name: str) -> None:
        """Hint; returns at once."""
        if (callback := self._callbacks.get(name)) is not None:
            callback()
        self._waiting.add(name)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell(), name="skerry-hints")

    def listen(self, name: str, callback: Callable[[], None]) -> None:
        """Call back at hints from here and elsewhere."""
        self._callbacks[name] = callback
        if self._listening is None or self._listening.done():
            self._listening = asyncio.create_task(self._listen(), name="skerry-listen")

    async def close(self) -> None:
        """Stop."""
        tasks = [task for task in (self._telling, self._listening) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tell(self) -> None:
        while self._waiting:
            names, self._waiting = self._waiting, set()
            for name in names:
                with contextlib.suppress(Exception):  # a hint may be lost: whoever waits looks by itself too
                    await self._session.fetch_value("SELECT pg_notify(?, ?)", _CHANNEL, name)
            await self._clock.sleep(HINT_PAUSE)

    async def _listen(self) -> None:
        with contextlib.suppress(Exception):  # likewise
            await self._session.listen(self._heard)

    def _heard(self, name: str) -> None:
        if (callback := self._callbacks.get(name)) is not None:
            callback()
