"""`Service`: the composition root of one service."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from skerry.client import ServiceClient
from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, StoreError, StoreUnavailable
from skerry.events import (
    HANDLER_RETRY,
    Broker,
    Builder,
    DeadLetter,
    DeadLetters,
    DomainEvent,
    EventBus,
    Inbox,
    Outbox,
    Projection,
    Relay,
    connect,
)
from skerry.events.embedded import EmbeddedOutbox, EmbeddedRelay
from skerry.events.inbox import EventHandler
from skerry.health import CheckResult, HealthChecks, HealthReport
from skerry.resilience import AdaptiveLimit, Policy, Retry
from skerry.saga import Engine, Journal, Saga
from skerry.service.border import Border
from skerry.service.framework import install
from skerry.service.lifespan import alone, live
from skerry.service.problem import Problem
from skerry.service.server import ASGIApp, Receive, Scope, Send
from skerry.service.shedding import Shedding
from skerry.settings import Settings
from skerry.signals import ServiceChanged, emit
from skerry.store import PRUNE_BATCH, Database, Receipts, Schema, Transaction, demand_schema, migrate
from skerry.store import connect as connect_database
from skerry.store.analytics import Analytics
from skerry.store.analytics import connect as connect_analytics
from skerry.store.documents import Documents, Index, is_mongo
from skerry.telemetry import PrometheusMetrics

if TYPE_CHECKING:
    from grpc import ChannelCredentials
    from grpc.aio import Channel

    from skerry.service.grpc import GrpcServer
    from skerry.store.documents.mongodb import MongoDatabase

D = TypeVar("D")
H = TypeVar("H", bound=EventHandler)
Hook = Callable[[], Awaitable[None]]

MAX_BODY = 1024 * 1024
MAX_KEY = 255
PRUNE_EVERY, PRUNE_PAUSE = 3600.0, 1.0
"""Seconds between looks for receipts past their retention, and between batches while there are more."""
STOP_WITHIN = 2.0
"""Seconds that relay, handlers and sagas get each to finish what they have in hand."""

_log = logging.getLogger("skerry.service")


class Service:
    """One service: its application, its database, its events, its sagas, its health.

    `database`, `events` and `analytics` are addresses; relative ones are resolved against `SKERRY_DATA`, and `SKERRY_DATABASE`,
    `SKERRY_EVENTS` and `SKERRY_ANALYTICS` replace them. `migrations` is the folder of the service's own SQL files. `app` is any
    ASGI application; a FastAPI or Starlette one also gets problem bodies for its errors.

        service = Service("order", app=api, database="sqlite:///order.db", events="sqlite:///events/")

    Overloaded, it refuses requests with 503, the least important first, and those whose deadline has passed with 504. `limit`
    bounds those under way; unless given it is wide, 64 to 1024 of them by how long they take. A streamed answer holds its
    place to its end.

    The environment is read once, here, unless `settings` replaces it. Nothing is opened before `service.app` is served. On
    SIGTERM it becomes not ready, finishes what is under way, hands over its outbox and stops. It lives once.
    """

    def __init__(
        self,
        name: str,
        *,
        app: ASGIApp | None = None,
        database: str | None = None,
        events: str | None = None,
        analytics: str | None = None,
        migrations: Path | None = None,
        max_body: int = MAX_BODY,
        timeout: float = 30.0,
        limit: AdaptiveLimit | None = None,
        settings: Settings | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self.name = name
        self.clock = clock
        self.settings: Settings = settings or Settings.from_environ()
        self.health: HealthChecks = HealthChecks(clock=clock)
        self._migrations = migrations
        self._mongo = self._make_mongo(database)
        self._database = None if self._mongo else self._make_database(database)
        self.outbox: Outbox = (
            EmbeddedOutbox(name, self._mongo, clock=clock) if self._mongo else Outbox(name, clock=clock)
        )
        self._bus = self._make_bus(events)
        self._analytics = self._make_analytics(analytics)
        self._engine = Engine(name, self._database, clock=clock) if self._database else None
        self._receipts = Receipts(clock=clock)
        self._inner: ASGIApp = app or _nothing
        self._metrics = PrometheusMetrics() if self.settings.metrics == "prometheus" else None
        self._shedding = Shedding(name, limit or _wide_limit(name, clock), clock)
        self._border = Border(
            self, self._inner, max_body=max_body, timeout=timeout, shedding=self._shedding, clock=clock
        )
        self._hooks: list[Hook] = []
        self._timeout = timeout
        self._grpc: GrpcServer | None = None
        self._closers: list[Hook] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._relay: Relay | None = None
        self._builders: list[Builder] = []
        self._collections: dict[str, Documents[Any]] = {}
        self._broken = ""
        self._draining = False
        self._drained_by = 0.0
        self._started = False
        self._closed = False
        install(app)

    # --- what a service is made of

    @property
    def database(self) -> Database:
        """The service's own database. Raises `ConfigurationError` when it has none, and when that is MongoDB: its documents
        are reached by `documents`, and what stands on SQL transactions (handlers, sagas, projections, `once`) needs another.
        """
        if self._mongo is not None:
            raise self._mongo.no_sql()
        if self._database is None:
            raise ConfigurationError(f"the service {self.name!r} has no database; give it database='sqlite:///...'")
        return self._database

    @property
    def bus(self) -> EventBus:
        """The service's event bus. Raises `ConfigurationError` when it has none."""
        if self._bus is None:
            raise ConfigurationError(f"the service {self.name!r} has no events; give it events='sqlite:///.../'")
        return self._bus

    @property
    def analytics(self) -> Analytics:
        """The service's facts for analysis. Raises `ConfigurationError` when it has none."""
        if self._analytics is None:
            raise ConfigurationError(
                f"the service {self.name!r} keeps no facts for analysis; give it analytics='chdb:///.../'"
            )
        return self._analytics

    @property
    def sagas(self) -> Engine:
        """The service's saga engine."""
        if self._mongo is not None:
            raise self._mongo.no_sql("a saga")
        if self._engine is None:
            raise ConfigurationError(f"the service {self.name!r} has no database to keep a saga's journal in")
        return self._engine

    @property
    def schemas(self) -> tuple[Schema, ...]:
        """Whose tables are in the service's database, in the order in which they are made; empty without one."""
        if self._database is None:
            return ()
        own = () if self._migrations is None else (Schema(self.name, self._migrations),)
        return (Receipts.schema, Outbox.schema, Journal.schema, *own)

    @property
    def dead_letters(self) -> DeadLetters:
        """Events that this service could not handle."""
        return DeadLetters(self.database, clock=self.clock)

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Open a unit of work on the service's database. On MongoDB it is one change of one document, with its events."""
        return self._mongo.transaction() if self._mongo is not None else self.database.transaction()

    def documents(self, name: str, model: type[D], *, key: str = "id", indexes: Sequence[Index] = ()) -> Documents[D]:
        """A collection of documents in the service's database, made ready at its start. See `Documents`.

        Raises `ConfigurationError` for a second one of that name, and once the service has started.
        """
        if self._started or name in self._collections:
            why = (
                "has started; declare its documents before that" if self._started else f"has documents {name!r} already"
            )
            raise ConfigurationError(f"the service {self.name!r} {why}")
        store = self._mongo if self._mongo is not None else self.database
        self._collections[name] = documents = Documents(store, name, model, key=key, indexes=indexes)
        return documents

    def client(self, service: str, *, policy: Policy | None = None) -> ServiceClient:
        """A client for another service; closed when this one stops."""
        client = ServiceClient(service, policy=policy, clock=self.clock)
        self._closers.append(client.aclose)
        return client

    @property
    def grpc(self) -> GrpcServer:
        """Where servicers are added, for calls over gRPC beside HTTP. Without one there is no gRPC. See `GrpcServer`.

        Raises `MissingExtra` without grpcio, and `ConfigurationError` when it is first asked for after the start.
        """
        if self._grpc is None:
            from skerry.service.grpc import GrpcServer

            if self._started:
                raise ConfigurationError(f"the service {self.name!r} has started without gRPC")
            self._grpc = GrpcServer(
                self,
                self.name,
                settings=self.settings,
                timeout=self._timeout,
                shedding=self._shedding,
                clock=self.clock,
            )
        return self._grpc

    def channel(
        self,
        service: str,
        *,
        policy: Policy | None = None,
        safe: Collection[str] = (),
        tls: ChannelCredentials | None = None,
    ) -> Channel:
        """A gRPC channel to another service; closed when this one stops. See `grpc_channel`; a start hook is a place for it."""
        from skerry.client.grpc import grpc_channel

        channel = grpc_channel(service, policy=policy, safe=safe, tls=tls, clock=self.clock)
        self._closers.append(channel.close)
        return channel

    def on(
        self,
        event: type[DomainEvent],
        *,
        group: str | None = None,
        retry: Retry = HANDLER_RETRY,
        on_poison: DeadLetter = DeadLetter(),  # noqa: B008 - frozen
        timeout: float = 30.0,
        batch: int = 1,
        linger: float = 0.0,
        gaps: float = 0.0,
    ) -> Callable[[H], H]:
        """Handle an event with `async def handler(event, tx)`; the receipt commits in `tx`. See `EventBus.on`."""
        inbox = Inbox(self.database, clock=self.clock)
        return self.bus.on(
            event,
            inbox=inbox,
            group=group,
            retry=retry,
            on_poison=on_poison,
            timeout=timeout,
            batch=batch,
            linger=linger,
            gaps=gaps,
        )

    def add(self, *sagas: Saga) -> None:
        """Host sagas; see `sagas.start`. Raises `ConfigurationError` once the service has started."""
        if self._started:
            raise ConfigurationError(f"the service {self.name!r} has started; add its sagas before that")
        self.sagas.add(*sagas)

    def project(
        self,
        projection: Projection,
        *,
        retry: Retry = HANDLER_RETRY,
        on_poison: DeadLetter = DeadLetter(),  # noqa: B008 - frozen
    ) -> None:
        """Host a projection: its tables are in this service's database. Raises `ConfigurationError` once it has started."""
        if self._started:
            raise ConfigurationError(f"the service {self.name!r} has started; add its projections before that")
        projection.host(self.database, self.clock)
        broker = self.bus.broker
        self._builders.append(Builder(projection, broker, retry=retry, on_poison=on_poison, clock=self.clock))

    def on_start(self, hook: Hook) -> Hook:
        """Run `async def hook()` at start, after the migrations and before anything is handled; must be repeatable."""
        self._hooks.append(hook)
        return hook

    async def once(
        self, tx: Transaction, key: str | None, given: Any, action: Callable[[], Awaitable[Any]], *, scope: str
    ) -> Any:
        """Run `action` once per idempotency key, in the caller's transaction; its answer (plain JSON) every time.

        `given` is the request, as plain JSON: the same key with another one raises `ReceiptConflict` (422). Without a key
        the action just runs. Keys are remembered for 30 days.
        """
        if self._mongo is not None:
            raise self._mongo.no_sql("`once`")
        if key is None:
            return await action()
        if not key.isprintable() or not 0 < len(key) <= MAX_KEY:
            raise Problem(422, "invalid_key", f"Idempotency-Key: 1 to {MAX_KEY} printable characters, please.")
        await tx.lock(f"endpoint:{scope}:{key}")
        fingerprint = hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:32]
        seen = await self._receipts.find(tx, f"endpoint:{scope}", key, fingerprint=fingerprint)
        if seen is not None:
            return json.loads(seen.result or "null")
        result = json.dumps(await action())
        await self._receipts.insert(tx, f"endpoint:{scope}", key, "done", fingerprint=fingerprint, result=result)
        return json.loads(result)

    # --- its life

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application to serve."""
        if scope["type"] == "http":
            await self._border(scope, receive, send)
        elif scope["type"] == "lifespan":
            await live(self, self._inner, scope, receive, send)
        else:
            await self._inner(scope, receive, send)

    def drain(self) -> None:
        """Become not ready: from now on nobody should send new work here."""
        if not self._draining:
            self._draining = True
            self._drained_by = self.clock.monotonic() + self.settings.drain
            emit(ServiceChanged(service=self.name, state="draining"))

    def liveness(self) -> HealthReport:
        """Whether this process runs as it should. Dependencies have no say in it."""
        return self._own_report(self._broken)

    def startup(self) -> HealthReport:
        """Whether it has started. Once it has, it stays so: what happens later is for the other two to say."""
        return self._own_report("" if self._started else self._broken or "starting")

    def metrics(self) -> bytes | None:
        """What `/metrics` shows, where the environment asks for it."""
        return None if self._metrics is None else self._metrics.page()

    async def readiness(self) -> HealthReport:
        """Whether this process can do its work now."""
        if self._draining or not self._started or self._broken:
            return self._own_report("draining" if self._draining else self._broken or "starting")
        return await self.health.run()

    def _own_report(self, trouble: str) -> HealthReport:
        result = CheckResult("fail" if trouble else "pass", self.clock.now(), trouble)
        return HealthReport(result.status, {"process": result})

    async def start(self) -> None:
        """Open the database, migrate, run the start hooks, then begin to relay, handle and drive sagas.

        Closes what it opened when it fails half-way.
        """
        try:
            await self.open()
            await self.begin()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Finish what is in hand, then close everything. Safe to call twice."""
        try:
            await self.finish()
        finally:
            await self.close()

    async def open(self) -> None:
        """The first half of `start`: the database, up to date."""
        emit(ServiceChanged(service=self.name, state="starting"))
        if self._database is not None:
            await self._database.open()
            prepare = demand_schema if self.settings.migrate == "never" else migrate
            for schema in self.schemas:
                await prepare(self._database, schema.component, schema.folder)
            for builder in self._builders:
                await builder.prepare()
            self.health.add("database", self._check_database)
        if self._analytics is not None:
            with suppress(StoreUnavailable):  # what is to be counted waits in the log until it is there
                await self._analytics.open()
            self.health.add("analytics", self._check_analytics, critical=False)
        if self._mongo is not None:
            await self._mongo.open()
            self.health.add("database", self._mongo.ping)
        for documents in self._collections.values():
            await documents.prepare()

    async def begin(self) -> None:
        """The second half of `start`: hooks, relay, handlers, sagas; then ready."""
        for hook in self._hooks:
            await hook()
        if self._bus is not None and (self._database is not None or self._mongo is not None):
            self._relay = self._make_relay(self._bus.broker)
            self._begin("relay", self._relay.run)
            self._bus.start()
            for builder in self._builders:
                self._begin(f"projection:{builder.projection.name}", builder.run)
            self.health.add("events", self._check_events, critical=False)
        if self._database is not None:
            self._begin("upkeep", self._upkeep)
        if self._engine is not None and await self._engine.needed():
            self._begin("sagas", self._engine.serve)
            self.health.add("sagas", self._check_sagas, critical=False)
        if self._grpc is not None:
            await self._grpc.start()
        self._started = True
        emit(ServiceChanged(service=self.name, state="ready"))

    async def finish(self) -> None:
        """The first half of `stop`: sagas and handlers finish what they have in hand, then the outbox they filled empties."""
        self.drain()
        self._shedding.stop()
        if self._metrics is not None:
            self._metrics.close()
        async with AsyncExitStack() as finishing:  # in reverse, whatever fails on the way
            if "upkeep" in self._tasks:
                upkeep = self._tasks.pop("upkeep")
                upkeep.cancel()
                finishing.push_async_callback(asyncio.wait, {upkeep})
            if self._relay is not None and "relay" in self._tasks:
                finishing.push_async_callback(self._relay.stop, self._tasks.pop("relay"), within=STOP_WITHIN)
            if self._bus is not None:
                finishing.push_async_callback(self._bus.stop, within=STOP_WITHIN)
            for builder in self._builders:
                if (task := self._tasks.pop(f"projection:{builder.projection.name}", None)) is not None:
                    finishing.push_async_callback(builder.stop, task, within=STOP_WITHIN)
            if self._engine is not None and "sagas" in self._tasks:
                finishing.push_async_callback(self._engine.stop, self._tasks.pop("sagas"), within=STOP_WITHIN)
            if self._grpc is not None:
                left = self._drained_by - self.clock.monotonic()  # HTTP and gRPC share the time for what is under way
                finishing.push_async_callback(self._grpc.stop, within=max(0.0, left))

    async def close(self) -> None:
        """The second half of `stop`: every connection closes."""
        if self._closed:
            return
        self._closed = True
        async with AsyncExitStack() as closing:
            for store in (self._database, self._mongo, self._analytics):
                if store is not None:
                    closing.push_async_callback(store.close)
            if self._bus is not None:
                closing.push_async_callback(self._bus.broker.close)
            for closer in self._closers:
                closing.push_async_callback(closer)
        emit(ServiceChanged(service=self.name, state="stopped"))

    def _begin(self, name: str, work: Hook) -> None:
        self._tasks[name] = asyncio.create_task(self._guard(name, work), name=name)

    async def _guard(self, name: str, work: Hook) -> None:
        try:
            await work()
        except Exception:  # a loop that must never end has ended: liveness fails from now on
            _log.exception("the %s of %s has died", name, self.name)
            self._broken = f"the {name} has died"

    async def _upkeep(self) -> None:
        """Delete receipts that are past their retention, a bounded batch at a time."""
        deleted = 0
        while True:
            await self.clock.sleep(PRUNE_EVERY if deleted < PRUNE_BATCH else PRUNE_PAUSE)
            try:
                async with self.transaction() as tx:
                    deleted = await self._receipts.prune(tx)
            except StoreError:  # such as a busy writer: there is time
                deleted = 0

    async def _check_database(self) -> None:
        await self.database.fetch_one("SELECT 1")

    async def _check_analytics(self) -> None:
        await self.analytics.query("SELECT 1")

    async def _check_events(self) -> str:
        failures = [f"{name}: {c.failure}" for name, c in self.bus.consumers.items() if c.failure]
        failures += [f"projection {b.projection.name}: {b.failure}" for b in self._builders if b.failure]
        if self._relay is not None and self._relay.failure:
            failures.append(f"relay: {self._relay.failure}")
        if self.outbox.full:
            failures.append("the outbox is full")
        if failures:
            raise StoreError("; ".join(failures))
        behind = {name: c.behind for name, c in self.bus.consumers.items() if c.behind is not None}
        for builder in self._builders:
            behind |= builder.behind
        waiting = await (self.outbox.waiting(self.database) if self._mongo is None else self._mongo.waiting())
        return "; ".join([f"{waiting} in the outbox", *(f"{group} {count} behind" for group, count in behind.items())])

    async def _check_sagas(self) -> None:
        stuck = await self.sagas.stuck()
        if stuck or self.sagas.failure:
            raise StoreError(f"{stuck} stuck" if stuck else self.sagas.failure)

    def _make_database(self, url: str | None) -> Database | None:
        if not url:
            return None
        address = self.settings.database or url
        return connect_database(address, owner=self.name, data=self.settings.data, clock=self.clock)

    def _make_mongo(self, url: str | None) -> MongoDatabase | None:
        address = (self.settings.database or url) if url else None
        if address is None or not is_mongo(address):
            return None
        if self._migrations is not None:
            raise ConfigurationError(f"the service {self.name!r} has SQL migrations, and its database is MongoDB")
        from skerry.store.documents.mongodb import MongoDatabase

        return MongoDatabase(address, owner=self.name, clock=self.clock)

    def _make_relay(self, broker: Broker) -> Relay:
        if self._mongo is not None and isinstance(self.outbox, EmbeddedOutbox):
            return EmbeddedRelay(self._mongo, self.outbox, broker, clock=self.clock)
        return Relay(self.database, self.outbox, broker, clock=self.clock)

    def _make_bus(self, url: str | None) -> EventBus | None:
        if not url:
            return None
        broker = connect(self.settings.events or url, source=self.name, data=self.settings.data, clock=self.clock)
        return EventBus(broker, source=self.name, clock=self.clock)

    def _make_analytics(self, url: str | None) -> Analytics | None:
        if not url:
            return None
        return connect_analytics(self.settings.analytics or url, owner=self.name, data=self.settings.data)


def _wide_limit(name: str, clock: Clock) -> AdaptiveLimit:
    """So wide that who has few requests under way is never refused, and bounded all the same."""
    return AdaptiveLimit(min=64, max=1024, queue=64, by="delay", name=name, clock=clock)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """The application of a service without one: it lives, and knows no paths."""
    if scope["type"] == "lifespan":
        await alone(scope, receive, send)
        return
    raise Problem(404, "not_found", "This service has no paths of its own.")
