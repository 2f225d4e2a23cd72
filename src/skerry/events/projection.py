"""Projections: tables made of events, which can be thrown away and made again.

The checkpoint commits with the rows, so a projection never misses an event and never counts one twice. A rebuild fills a
second generation of the tables from the start of the log while the first is still read and kept up to date; when it has
caught up one transaction switches over, so no read ever fails or sees a half. `wait` gives a caller its own writes to read.

Source: "Command query responsibility segregation", microservices.io; blue/green rebuilds as in Marten's projections.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, Held, ProjectionBehind, StoreError
from skerry.events._loops import wait_for
from skerry.events.brokers import Broker
from skerry.events.consumer import Consumer
from skerry.events.event import DomainEvent
from skerry.events.inbox import EventHandler, Inbox, Registration
from skerry.events.outbox import Token
from skerry.events.parking import DeadLetter
from skerry.resilience import Retry
from skerry.signals import ProjectionChanged, emit
from skerry.store import Database, Queries, Transaction
from skerry.store.tx import Parameters

SQL = Queries("skerry.events", "sql/projections.sql")

LOOK: Final = 0.25
"""Seconds between looks whether a rebuild was asked for, or has caught up."""
GRACE: Final = 60.0
"""Seconds for which the tables of before a switch are kept: a read that began on them ends on them."""
FIRST_LOOK, LAST_LOOK = 0.002, 0.05
"""Seconds between two looks of `wait`, the first and the longest."""
MAX_TEXTS: Final = 1000
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,30}")
_TABLE: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")

Handler = Callable[[Any, "ProjectionTx"], Awaitable[None]]
H = TypeVar("H", bound=Handler)


@dataclass(frozen=True, slots=True)
class ProjectionStatus:
    """`live` is the generation that is read, `building` the one being made; 0 for none."""

    name: str
    version: int
    live: int
    building: int


class ProjectionTx:
    """The transaction a projection's handler writes through: `{orders}` in SQL stands for the table of its generation.

    Writes of many events go to the engine together, before the next query; so no count comes back.
    """

    def __init__(self, tx: Transaction, names: Callable[[str], str]) -> None:
        self._tx = tx
        self._names = names

    async def execute(self, sql: str, parameters: Parameters = ()) -> None:
        """Run one statement."""
        self._tx.later(self._names(sql), parameters)

    async def execute_many(self, sql: str, rows: Iterable[Parameters]) -> None:
        """Run one statement for each row of parameters."""
        text = self._names(sql)
        for row in rows:
            self._tx.later(text, row)

    async def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """Run one query; all its rows."""
        return await self._tx.fetch_all(self._names(sql), parameters)

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Any:
        """Run one query; its first row, or None."""
        return await self._tx.fetch_one(self._names(sql), parameters)


class Projection:
    """Tables made of events. `tables` gives the columns of each, as they stand in CREATE TABLE; `setup` are statements that
    follow, such as `CREATE INDEX {orders}_by_state ON {orders} (state)`.

        history = Projection("order_history", version=1, tables={"orders": "id TEXT PRIMARY KEY, state TEXT NOT NULL"})

        @history.on(OrderPlaced)
        async def placed(event: OrderPlaced, tx: ProjectionTx) -> None:
            await tx.execute("INSERT INTO {orders} VALUES (?, 'placed')", (event.order_id,))

        service.project(history)

    Another `version` has tables of its own, made from the start of the log, so that the code of before can go on reading
    those it knows. Until a new version has caught up for the first time, reads see what is there so far.
    """

    def __init__(self, name: str, *, tables: Mapping[str, str], setup: Sequence[str] = (), version: int = 1) -> None:
        if not _NAME.fullmatch(name) or not all(map(_NAME.fullmatch, tables)):
            raise ConfigurationError(f"the projection {name!r}: names are lower case letters, digits and _, at most 31")
        if not tables:
            raise ConfigurationError(f"the projection {name!r} has no tables")
        if version < 1:
            raise ConfigurationError(f"the projection {name!r}: versions count from 1")
        self.name = name
        self.version = version
        self.tables: dict[str, str] = dict(tables)
        self.setup: tuple[str, ...] = tuple(setup)
        self._handlers: dict[type[DomainEvent], tuple[Handler, float]] = {}
        self._database: Database | None = None
        self._clock: Clock = SYSTEM
        self._named: dict[tuple[str, int], str] = {}

    def on(self, event: type[DomainEvent], *, timeout: float = 30.0) -> Callable[[H], H]:
        """Register `async def handler(event, tx)`; `timeout` is in seconds. It must write through `tx`, and nothing else."""

        def register(handler: H) -> H:
            if self._database is not None:
                raise ConfigurationError(f"the handler of {event.event_type} comes too late: {self.name} is hosted")
            if event in self._handlers:
                raise ConfigurationError(f"the projection {self.name!r} has a handler for {event.event_type} already")
            self._handlers[event] = handler, timeout
            return handler

        return register

    async def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """Query the generation that is live: `{orders}` stands for its table."""
        status = await self.status()
        return await self.database.fetch_all(self.named(sql, status.live or status.building), parameters)

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Any:
        """Like `fetch_all`; the first row, or None."""
        status = await self.status()
        return await self.database.fetch_one(self.named(sql, status.live or status.building), parameters)

    async def wait(self, token: Token, *, timeout: float = 1.0) -> None:  # noqa: ASYNC109 - the name users expect
        """Return once the projection shows what `token` stands for; events it does not handle do not count.

        Raises `ProjectionBehind` after `timeout` seconds, `Held` when an event cannot be shown until a person has decided.
        """
        types = {event.event_type for event in self._handlers}
        wanted = [event_id for event_id, event_type in token.events if event_type in types]
        if not token.events and token.event_id:
            wanted = [token.event_id]
        inbox, pause = Inbox(self.database, clock=self._clock), FIRST_LOOK
        end = self._clock.monotonic() + timeout
        while wanted:
            status = await self.status()
            group = self.group(status.live or status.building)
            while wanted and await inbox.has(group, wanted[0]):
                wanted.pop(0)
            if not wanted:
                return
            parked = await self.database.fetch_one(SQL["parked"], (group, wanted[0]))
            if parked is not None and parked["state"] != "retry":
                raise Held(f"the projection {self.name!r} holds the event {wanted[0]}: {parked['reason']}")
            if (left := end - self._clock.monotonic()) <= 0:
                raise ProjectionBehind(f"the projection {self.name!r} is not there yet after {timeout:g} s")
            await self._clock.sleep(min(pause, left))
            pause = min(LAST_LOOK, pause * 2)

    async def status(self) -> ProjectionStatus:
        """Which generation is read, and which is being made."""
        row = await self.database.fetch_one(SQL["find"], (self.name, self.version))
        if row is None:
            raise StoreError(f"the projection {self.name!r} has not begun yet")
        return ProjectionStatus(self.name, self.version, row["live"], row["building"])

    async def rebuild(self) -> bool:
        """Make the tables anew beside those in use, and switch over once they are complete; False when that goes on already.

        Returns at once. Raises `StoreError` before the projection has begun.
        """
        await self.status()
        async with self.database.transaction() as tx:
            return await tx.execute(SQL["rebuild"], (self.name, self.version)) == 1

    @property
    def database(self) -> Database:
        """The database of the service that hosts it."""
        if self._database is None:
            raise ConfigurationError(f"no service hosts the projection {self.name!r}: service.project({self.name})")
        return self._database

    def host(self, database: Database, clock: Clock) -> None:
        """Called by the service."""
        if self._database is not None:
            raise ConfigurationError(f"the projection {self.name!r} has a host already")
        self._database, self._clock = database, clock

    def group(self, generation: int) -> str:
        """The consumer group that fills a generation."""
        return f"projection:{self.name}:{self.version}:{generation}"

    def named(self, sql: str, generation: int) -> str:
        """`sql` with the tables of a generation in the place of their names in braces."""
        known = self._named.get((sql, generation))
        if known is None:
            known = _TABLE.sub(lambda match: self._physical(match[1], generation), sql)
            if len(self._named) < MAX_TEXTS:
                self._named[sql, generation] = known
        return known

    def registrations(self, generation: int) -> dict[str, Registration]:
        """The handlers, each writing to the tables of one generation."""

        def writing(handler: Handler) -> EventHandler:
            async def handle(event: Any, tx: Any) -> None:
                await handler(event, ProjectionTx(tx, lambda sql: self.named(sql, generation)))

            return handle

        return {
            event.event_type: Registration(event, writing(handler), timeout)
            for event, (handler, timeout) in self._handlers.items()
        }

    def _physical(self, table: str, generation: int) -> str:
        if table not in self.tables:
            raise ConfigurationError(f"the projection {self.name!r} has no table {table!r}")
        return f"{self.name}_{self.version}_{generation}_{table}"


class Builder:
    """Keeps one projection up to date, and rebuilds it when asked to. One of these runs in each process of a service."""

    def __init__(
        self, projection: Projection, broker: Broker, *, retry: Retry, on_poison: DeadLetter, clock: Clock = SYSTEM
    ) -> None:
        self.projection = projection
        self._broker = broker
        self._retry = retry
        self._on_poison = on_poison
        self._clock = clock
        self._stopping = asyncio.Event()
        self._consumers: dict[int, tuple[Consumer, asyncio.Task[None]]] = {}
        self._trouble = ""
        self._outdated: dict[int, float] = {}
        self._dropped = 0

    @property
    def failure(self) -> str:
        """What keeps it from going on; empty when all is well."""
        return self._trouble or next((consumer.failure for consumer, _ in self._consumers.values()), "")

    @property
    def behind(self) -> dict[str, int]:
        """How many events each generation that is filled here had not handled when that was last counted."""
        consumers = [consumer for consumer, _ in self._consumers.values()]
        return {consumer.group: consumer.behind for consumer in consumers if consumer.behind is not None}

    async def run(self) -> None:
        """Follow the log until `stop`; trouble with the database is tried again."""
        while not self._stopping.is_set():
            try:
                await self._look()
                self._trouble = ""
            except Exception as error:  # a loop that readers wait for must not die of one failed look
                self._trouble = type(error).__name__
            await wait_for(self._stopping, LOOK)

    async def stop(self, task: asyncio.Task[None], *, within: float) -> None:
        """Finish the event in hand, at most `within` seconds, and end."""
        self._stopping.set()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.gather(*(self._end(generation, within=within) for generation in list(self._consumers)))

    async def _look(self) -> None:
        projection, database = self.projection, self.projection.database
        async with database.transaction() as tx:
            begun = await tx.execute(SQL["begin"], (projection.name, projection.version)) == 1
        status = await projection.status()
        if begun:
            self._say(status.building, "building")
        for generation in (status.live, status.building):
            if generation and generation not in self._consumers:
                await self._begin(generation)
        for generation in [g for g in self._consumers if status.live and g not in {status.live, status.building}]:
            await self._end(generation, within=1.0)
        if status.building and await self._consumers[status.building][0].caught_up():
            await self._switch(status)
        await self._clean_up(status.live - 1)

    async def _begin(self, generation: int) -> None:
        projection = self.projection
        async with projection.database.transaction() as tx:
            await tx.lock(f"projection:{projection.name}")
            for table, columns in projection.tables.items():
                name = projection.named(f"{{{table}}}", generation)
                await tx.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")
            if await tx.execute(SQL["set_up"], (projection.name, projection.version, generation, generation)):
                for statement in projection.setup:
                    await tx.execute(projection.named(statement, generation))
        inbox = Inbox(projection.database, clock=self._clock)
        consumer = Consumer(
            projection.group(generation),
            self._broker,
            inbox,
            retry=self._retry,
            on_poison=self._on_poison,
            clock=self._clock,
            repeatable=True,
        )
        consumer.registrations.update(projection.registrations(generation))
        task = asyncio.create_task(consumer.run(), name=projection.group(generation))
        self._consumers[generation] = consumer, task

    async def _switch(self, status: ProjectionStatus) -> None:
        """The new generation has read all there was: from now on it is the one that is read."""
        projection = self.projection
        async with projection.database.transaction() as tx:
            switched = await tx.execute(SQL["switch"], (projection.name, projection.version, status.building))
        if not switched:
            return
        self._say(status.building, "live")

    async def _clean_up(self, outdated: int) -> None:
        """Drop the tables of before the switch, once no read can be on them any more."""
        if outdated < 1 or outdated == self._dropped:
            return
        now = self._clock.monotonic()
        if outdated not in self._outdated:
            self._outdated = {outdated: now + GRACE}
        elif now >= self._outdated[outdated]:
            projection, group = self.projection, self.projection.group(outdated)
            async with projection.database.transaction() as tx:
                await tx.execute(SQL["forget_positions"], (group,))
                await tx.execute(SQL["forget_parked"], (group,))
                for table in projection.tables:
                    await tx.execute(f"DROP TABLE IF EXISTS {projection.named(f'{{{table}}}', outdated)}")
            self._dropped = outdated
            self._say(outdated, "dropped")

    async def _end(self, generation: int, *, within: float) -> None:
        consumer, task = self._consumers.pop(generation)
        await consumer.stop(task, within=within)

    def _say(self, generation: int, state: Literal["building", "live", "dropped"]) -> None:
        name, version = self.projection.name, self.projection.version
        emit(ProjectionChanged(projection=name, version=version, generation=generation, state=state))
