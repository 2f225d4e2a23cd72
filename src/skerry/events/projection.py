"""Projections: tables made of events, which can be thrown away and made again.

The checkpoint commits with the rows, so a projection never misses an event and never counts one twice. A rebuild fills a
second generation of the tables from the start of the log while the first is still read and kept up to date; when it has
caught up one transaction switches over, so no read ever fails or sees a half. `wait` gives a caller its own writes to read.

Source: "Command query responsibility segregation", microservices.io; blue/green rebuilds as in Marten's projections.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, Held, ProjectionBehind, StoreError
from skerry.events._loops import wait_for
from skerry.events.brokers import Broker, Position
from skerry.events.consumer import Consumer
from skerry.events.event import DomainEvent
from skerry.events.generations import SQL, drop, forget_receipts, generations, group_name, table_name
from skerry.events.inbox import EventHandler, Inbox, Registration
from skerry.events.outbox import SQL as EVENTS
from skerry.events.outbox import Token
from skerry.events.parking import DeadLetter
from skerry.resilience import Retry
from skerry.signals import ProjectionChanged, emit
from skerry.store import Database, Transaction
from skerry.store.tx import Parameters

LOOK: Final = 0.25
"""Seconds between looks whether a rebuild was asked for, or has caught up."""
GRACE: Final = 60.0
"""Seconds for which the tables of before a switch are kept: a read that began on them ends on them."""
FIRST_LOOK, LAST_LOOK = 0.002, 0.05
"""Seconds between two looks of `wait`, the first and the longest."""
MAX_TEXTS: Final = 1000
LONGEST_NAME: Final = 48
"""Letters of a projection's name and a table's together: PostgreSQL cuts what is longer than 63 off, version and all."""
_NAME: Final = re.compile(r"(?!.*_\d+_\d+_)[a-z][a-z0-9_]{0,30}")
"""With two numbers in it, it could be read as another projection's name with version and generation."""
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
            raise ConfigurationError(
                f"the projection {name!r}: names are lower case letters, digits and _, at most 31, without _1_2_"
            )
        if not tables:
            raise ConfigurationError(f"the projection {name!r} has no tables")
        if len(name) + max(map(len, tables)) > LONGEST_NAME:
            raise ConfigurationError(
                f"the projection {name!r}: its name and a table's have over {LONGEST_NAME} letters"
            )
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
        self._shown = 0

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
        """Query the generation that is live: `{orders}` stands for its table. One query sees one generation, and all of it."""
        rows: list[Any] = await self._read(self.database.fetch_all, sql, parameters)
        return rows

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> Any:
        """Like `fetch_all`; the first row, or None."""
        return await self._read(self.database.fetch_one, sql, parameters)

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
            generation = await self._look()
            group = self.group(generation)
            missing = [event_id for event_id in wanted if not await inbox.has(group, event_id)]
            if not missing:
                if await self._look() == generation:
                    return
                continue  # a rebuild has switched over meanwhile
            parked = await self.database.fetch_one(SQL["parked"], (group, missing[0]))
            if parked is not None and parked["state"] != "retry":
                raise Held(f"the projection {self.name!r} holds the event {missing[0]}: {parked['reason']}")
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
        return group_name(self.name, self.version, generation)

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

    async def _read(self, fetch: Callable[[str, Parameters], Awaitable[Any]], sql: str, parameters: Parameters) -> Any:
        """Read the generation that was read last, and look afterwards whether it still is the one. Looking first would not do:
        the old tables may go on for a moment after a switch, and a later read of the new ones then see less.
        """
        generation = self._shown or await self._look()
        while True:  # bounded by the switches that happen meanwhile
            try:
                found = await fetch(self.named(sql, generation), parameters)
            except Exception:
                if await self._look() == generation:
                    raise  # else its tables were dropped meanwhile, such as while this process was stopped
            else:
                if await self._look() == generation:
                    return found
            generation = self._shown

    async def _look(self) -> int:
        """The generation that is read."""
        status = await self.status()
        self._shown = status.live or status.building
        return self._shown

    def _physical(self, table: str, generation: int) -> str:
        if table not in self.tables:
            raise ConfigurationError(f"the projection {self.name!r} has no table {table!r}")
        return table_name(self.name, self.version, generation, table)


class Builder:
    """Keeps one projection up to date, and rebuilds it when asked to. One of these runs in each process of a service."""

    def __init__(
        self, projection: Projection, broker: Broker, *, retry: Retry, on_poison: DeadLetter, clock: Clock = SYSTEM
    ) -> None:
        if not broker.features.replay:
            raise ConfigurationError(
                f"the projection {projection.name!r} needs a broker that keeps what was published: it begins at the start"
            )
        self.projection = projection
        self._broker = broker
        self._retry = retry
        self._on_poison = on_poison
        self._clock = clock
        self._stopping = asyncio.Event()
        self._consumers: dict[int, tuple[Consumer, asyncio.Task[None]]] = {}
        self._trouble = ""
        self._clean = 0
        self._switched: tuple[int, float] = (0, 0.0)

    @property
    def failure(self) -> str:
        """What keeps it from going on; empty when all is well."""
        return self._trouble or next((consumer.failure for consumer, _ in self._consumers.values()), "")

    @property
    def behind(self) -> dict[str, int]:
        """How many events each generation that is filled here had not handled when that was last counted."""
        consumers = [consumer for consumer, _ in self._consumers.values()]
        return {consumer.group: consumer.behind for consumer in consumers if consumer.behind is not None}

    async def prepare(self) -> None:
        """Make the tables that are read where there are none, so that no read comes before them. `run` does so too, later."""
        status = await self._begun()
        for generation in {status.live, status.building} - {0}:
            await self._make(generation)

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
        status = await self._begun()
        for generation in (status.live, status.building):
            if generation and generation not in self._consumers:
                await self._begin(generation)
        for generation in [g for g in self._consumers if status.live and g not in {status.live, status.building}]:
            await self._end(generation, within=1.0)
        if status.building:
            await self._switch(status)
        if status.live > 1 and status.live != self._clean:
            await self._clean_up(status.live)

    async def _begun(self) -> ProjectionStatus:
        projection = self.projection
        with contextlib.suppress(StoreError):
            return await projection.status()
        async with projection.database.transaction() as tx:
            begun = await tx.execute(SQL["begin"], (projection.name, projection.version)) == 1
        status = await projection.status()
        if begun:
            self._say(status.building, "building")
        return status

    async def _make(self, generation: int) -> None:
        projection = self.projection
        async with projection.database.transaction() as tx:
            await tx.lock(f"projection:{projection.name}")
            for table, columns in projection.tables.items():
                name = projection.named(f"{{{table}}}", generation)
                await tx.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns})")
            if await tx.execute(SQL["set_up"], (projection.name, projection.version, generation, generation)):
                for statement in projection.setup:
                    await tx.execute(projection.named(statement, generation))

    async def _begin(self, generation: int) -> None:
        projection = self.projection
        await self._make(generation)
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
        """Let the new generation be the one that is read, once it shows all that the old one does."""
        projection, building = self.projection, status.building
        groups = projection.group(status.live), projection.group(building)
        before = await _positions(projection.database, groups[0])
        caught_up = await self._consumers[building][0].caught_up()

        async def covers(read: Database | Transaction) -> bool:
            """Whether it is where the old one is. Of a log that was cut it may have seen nothing: then what counts is that it
            had caught up, and that the old one has not gone on since.
            """
            shown, built = await _positions(read, groups[0]), await _positions(read, groups[1])
            return all(
                (source in built and built[source].epoch == at.epoch and built[source].offset >= at.offset)
                or (caught_up and before.get(source) == at)
                for source, at in shown.items()
            )

        if not (caught_up or status.live) or not await covers(projection.database):
            return
        async with projection.database.transaction() as tx:
            await tx.execute(SQL["hold_positions"])
            if not await covers(tx):
                return
            switched = await tx.execute(SQL["switch"], (projection.name, projection.version, building, *groups))
        if switched:
            self._say(building, "live")

    async def _clean_up(self, live: int) -> None:
        """Drop the generations before the live one, once no read can be on them any more."""
        projection, now = self.projection, self._clock.monotonic()
        if self._switched[0] != live:
            self._switched = live, now + GRACE
        if now < self._switched[1]:
            return
        found = await generations(projection.database, projection.name, projection.version)
        for generation in sorted(generation for generation in found if generation < live):
            group = projection.group(generation)
            if await forget_receipts(projection.database, group):
                return  # the rest at the next look
            async with projection.database.transaction() as tx:
                await drop(tx, group, found[generation])
            self._say(generation, "dropped")
        self._clean = live

    async def _end(self, generation: int, *, within: float) -> None:
        consumer, task = self._consumers.pop(generation)
        await consumer.stop(task, within=within)

    def _say(self, generation: int, state: Literal["building", "live", "dropped"]) -> None:
        name, version = self.projection.name, self.projection.version
        emit(ProjectionChanged(projection=name, version=version, generation=generation, state=state))


async def _positions(read: Database | Transaction, group: str) -> dict[str, Position]:
    """How far a group has come in each source."""
    return {row[0]: Position(row[1], row[2]) for row in await read.fetch_all(EVENTS["positions"], (group,))}
