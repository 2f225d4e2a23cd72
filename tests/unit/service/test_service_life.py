from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asgi import Lifespan, living, play, request, settings
from fastapi import FastAPI

from skerry.errors import ConfigurationError, MigrationError, WrongOwner
from skerry.events import DomainEvent, Projection, ProjectionTx
from skerry.resilience import Retry
from skerry.saga import Rejected, Saga
from skerry.service import Service
from skerry.settings import Settings
from skerry.signals import ServiceChanged, Signal
from skerry.store import Transaction
from skerry.testing import VirtualClock


class Happened(DomainEvent, type="test.happened", version=1, key="number"):
    number: str


def make(tmp_path: Path, clock: VirtualClock, **options: Any) -> Service:
    return Service("s", **{"database": "sqlite:///s.db", "settings": settings(tmp_path), "clock": clock, **options})


def states(signals: list[Signal]) -> list[str]:
    return [signal.state for signal in signals if isinstance(signal, ServiceChanged)]


async def health(service: Service, which: str) -> tuple[int, dict[str, Any]]:
    answer = await request(service.app, "GET", f"/health/{which}")
    assert answer.headers["content-type"] == "application/health+json"
    assert answer.headers["cache-control"] == "no-store"
    return answer.status, answer.json()


def is_closed(service: Service) -> bool:
    return service.database._writer is None and service.database._reader is None


# --- health


def test_health_follows_its_life(tmp_path: Path, signals: list[Signal]) -> None:
    """Not ready while starting and draining, ready in between; alive all the time."""

    async def act(clock: VirtualClock) -> None:
        service = make(tmp_path, clock)
        seen = [await health(service, "ready")]
        async with living(service):
            seen.append(await health(service, "ready"))
            service.drain()
            service.drain()
            seen.append(await health(service, "ready"))
            assert (await health(service, "live"))[0] == 200
        assert [(status, body["status"]) for status, body in seen] == [(503, "fail"), (200, "pass"), (503, "fail")]
        assert seen[0][1]["checks"]["process"][0]["output"] == "starting"
        assert set(seen[1][1]["checks"]) == {"database"}
        assert seen[2][1]["checks"]["process"][0]["output"] == "draining"

    play(act)
    assert states(signals) == ["starting", "ready", "draining", "stopped"]


def test_a_start_is_over_once(tmp_path: Path) -> None:
    """`/health/startup` fails until the service has started, and passes ever after, whatever happens then."""

    async def broken() -> None:
        raise RuntimeError("nobody foresaw this")

    async def act(clock: VirtualClock) -> None:
        service = make(tmp_path, clock)
        status, body = await health(service, "startup")
        assert (status, body["checks"]["process"][0]["output"]) == (503, "starting")
        async with living(service):
            assert (await health(service, "startup"))[0] == 200
            service._begin("oddity", broken)
            await clock.sleep(1.0)
            service.drain()
            assert (await health(service, "startup"))[0] == 200

    play(act)


def test_a_dead_database_fails_readiness_only(tmp_path: Path) -> None:
    """Without its database a service is not ready, but alive: a restart would not help."""

    async def act(clock: VirtualClock) -> None:
        service = make(tmp_path, clock)
        async with living(service):
            await service.database.close()
            status, body = await health(service, "ready")
            assert (status, body["checks"]["database"][0]["status"]) == (503, "fail")
            assert (await health(service, "live"))[0] == 200

    play(act)


def test_stuck_sagas_are_a_warning(tmp_path: Path) -> None:
    """A service with stuck sagas works, and says how many wait for a person."""
    saga = Saga("s")

    @saga.retriable(retry=Retry(1))
    async def never(ctx: Any, given: Any) -> None:
        raise Rejected("no")

    async def act(clock: VirtualClock) -> None:
        service = make(tmp_path, clock)
        service.add(saga)
        async with living(service):
            assert (await health(service, "ready"))[1]["status"] == "pass"
            for key in "ab":
                await service.sagas.run(saga, None, key=key)
            await clock.sleep(2.0)
            status, body = await health(service, "ready")
            assert (status, body["status"]) == (200, "warn")
            assert body["checks"]["sagas"][0]["output"] == "StoreError: 2 stuck"

    play(act)


def test_trouble_with_events_is_a_warning(tmp_path: Path) -> None:
    """A service that cannot hand over its events goes on, and says what fails; else how many wait, and how far groups are
    behind.
    """

    async def act(clock: VirtualClock) -> None:
        service = make(tmp_path, clock, events="sqlite:///events/")
        async with living(service):
            status, body = await health(service, "ready")
            assert (status, body["checks"]["events"][0]["observedValue"]) == (200, "0 in the outbox")
        reading = make(tmp_path, clock, events="sqlite:///events/")
        reading.on(Happened)(_ignore)
        reading.on(Happened, group="other")(_ignore)
        seen = Projection("seen", tables={"seen": "number TEXT"})
        seen.on(Happened)(_ignore)
        reading.project(seen)
        async with living(reading):
            await clock.sleep(20.0)
            _, body = await health(reading, "ready")
            groups = ("s", "other", seen.group(1))
            told = "; ".join(["0 in the outbox", *(f"{group} 0 behind" for group in groups)])
            assert body["checks"]["events"][0]["observedValue"] == told
        (tmp_path / "file").write_text("not a folder")
        broken = make(tmp_path, clock, events="sqlite:///file/")
        broken.on(Happened)(_ignore)
        async with living(broken):
            async with broken.transaction() as tx:
                await broken.outbox.record(tx, Happened(number="1"))
            await clock.sleep(1.0)
            status, body = await health(broken, "ready")
            assert (status, body["status"], body["checks"]["events"][0]["status"]) == (200, "warn", "warn")
            assert "relay: " in body["checks"]["events"][0]["output"]

    play(act)


def test_trouble_with_sagas_is_a_warning(tmp_path: Path) -> None:
    """While sagas cannot be driven the service works and says why; once they can, all is well again."""
    saga = Saga("s")

    @saga.step()
    async def one(ctx: Any, given: Any) -> None:
        """Do nothing."""

    async def act(clock: VirtualClock) -> None:
        obstacle = tmp_path / "s.db.saga.lock"
        obstacle.mkdir()
        service = make(tmp_path, clock)
        service.add(saga)
        async with living(service):
            await clock.sleep(1.0)
            status, body = await health(service, "ready")
            assert (status, body["status"], body["checks"]["sagas"][0]["status"]) == (200, "warn", "warn")
            obstacle.rmdir()
            await clock.sleep(3.0)
            status, body = await health(service, "ready")
            assert (status, body["status"]) == (200, "pass")

    play(act)


def test_a_loop_that_dies_asks_for_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When a loop that must not end has ended by an error, the process is neither alive nor ready, and says which died."""

    async def broken() -> None:
        raise RuntimeError("nobody foresaw this")

    async def act(clock: VirtualClock) -> None:
        service = make(tmp_path, clock)
        async with living(service):
            service._begin("oddity", broken)
            await clock.sleep(1.0)
            for which in ("live", "ready"):
                status, body = await health(service, which)
                assert (status, body["checks"]["process"][0]["output"]) == (503, "the oddity has died")

    play(act)
    assert "the oddity of s has died" in caplog.text


def test_only_get_and_head_ask_for_health(tmp_path: Path) -> None:
    """Any other method is the application's business."""

    async def act(clock: VirtualClock) -> None:
        service = make(tmp_path, clock)
        async with living(service):
            assert (await request(service.app, "HEAD", "/health/live")).status == 200
            assert (await request(service.app, "POST", "/health/live")).status == 404

    play(act)


# --- start


def test_a_service_without_parts_says_what_is_missing(tmp_path: Path) -> None:
    """Asking for a database, events or sagas that were not declared tells how to declare them."""

    async def act(clock: VirtualClock) -> None:
        service = make(tmp_path, clock, database=None)
        asked = {
            "database": "no database",
            "bus": "no events",
            "sagas": "journal",
            "analytics": "no facts for analysis",
        }
        for ask, words in asked.items():
            with pytest.raises(ConfigurationError, match=words):
                getattr(service, ask)
        async with living(service):
            assert (await health(service, "ready"))[0] == 200

    play(act)


def test_settings_replace_addresses_that_were_declared(tmp_path: Path) -> None:
    """The settings given stand for the environment: they move a database, and give none to a service without."""

    async def act(clock: VirtualClock) -> None:
        moved = settings(
            tmp_path,
            database="sqlite:///moved.db",
            events="sqlite:///elsewhere/",
            analytics="clickhouse://host/moved",
        )
        service = Service("s", database="sqlite:///s.db", events="sqlite:///log/", settings=moved, clock=clock)
        assert service.database.path == tmp_path / "moved.db"
        none = Service("s", settings=moved, clock=clock)
        with pytest.raises(ConfigurationError):
            _ = none.database
        with pytest.raises(ConfigurationError):
            _ = none.bus
        with pytest.raises(ConfigurationError):
            _ = none.analytics
        with pytest.raises(ConfigurationError, match="no analytics engine for this address"):
            Service("s", analytics="chdb:///facts/", settings=settings(tmp_path, analytics="nonsense"), clock=clock)

    play(act)


def test_hooks_run_at_each_start_and_before_anything_else(tmp_path: Path) -> None:
    """Start hooks find the migrated database, and come before the first saga goes on; so they must be repeatable."""
    migrations = tmp_path / "migrations"
    migrations.mkdir()
    (migrations / "0001_stock.sql").write_text("CREATE TABLE stock (sku TEXT PRIMARY KEY);")
    order: list[str] = []

    async def act(clock: VirtualClock) -> None:
        for _ in range(2):
            service = make(tmp_path, clock, migrations=migrations)
            saga = Saga("s")

            @saga.step()
            async def one(ctx: Any, given: Any) -> None:
                order.append("step")

            service.add(saga)

            @service.on_start
            async def seed(service: Service = service, saga: Saga = saga) -> None:
                async with service.transaction() as tx:
                    await tx.execute("INSERT INTO stock VALUES ('a') ON CONFLICT DO NOTHING")
                    await service.sagas.start(tx, saga, None, key="1")
                await clock.sleep(1.0)
                order.append("hook")

            async with living(service):
                await clock.sleep(1.0)

    play(act)
    assert order == ["hook", "step", "hook"]


def test_a_projection_can_be_read_as_soon_as_its_service_has_started(tmp_path: Path) -> None:
    """Its tables are there before the hooks run, also on the very first start: no read comes too early."""

    async def act(clock: VirtualClock) -> None:
        service = make(tmp_path, clock, events="sqlite:///events/")
        seen = Projection("seen", tables={"numbers": "number TEXT PRIMARY KEY"})

        @seen.on(Happened)
        async def happened(event: Happened, tx: ProjectionTx) -> None:
            await tx.execute("INSERT INTO {numbers} VALUES (?)", (event.number,))

        found: list[Any] = []

        @service.on_start
        async def read() -> None:
            found.append(await seen.fetch_all("SELECT number FROM {numbers}"))

        service.project(seen)
        async with living(service):
            assert await seen.fetch_all("SELECT number FROM {numbers}") == []
        assert found == [[]]

    play(act)


def test_sagas_are_added_before_the_start(tmp_path: Path) -> None:
    """A saga that nobody would drive is refused."""

    async def act(clock: VirtualClock) -> None:
        service = make(tmp_path, clock)
        async with living(service):
            with pytest.raises(ConfigurationError, match="has started"):
                service.add(Saga("late"))

    play(act)


@pytest.mark.parametrize("how", ["hook", "application", "owner", "start"])
def test_a_start_that_fails_closes_what_it_opened(tmp_path: Path, signals: list[Signal], how: str) -> None:
    """When a hook, the application or the database fails at the start, nothing stays open or running."""

    async def act(clock: VirtualClock) -> None:
        @asynccontextmanager
        async def broken(app: FastAPI) -> AsyncIterator[None]:
            raise OSError
            yield

        if how == "owner":
            async with living(Service("other", database="sqlite:///s.db", settings=settings(tmp_path), clock=clock)):
                pass
        api = FastAPI(lifespan=broken) if how == "application" else FastAPI()
        service = make(tmp_path, clock, app=api, events="sqlite:///events/")
        service.on(Happened)(_ignore)
        if how in {"hook", "start"}:

            @service.on_start
            async def fail() -> None:
                raise OSError

        before = asyncio.all_tasks()
        if how == "start":
            with pytest.raises(OSError):
                await service.start()
        else:
            lifespan = Lifespan(service.app)
            assert await lifespan.say("startup") in {"lifespan.startup.failed", "ended"}
            assert lifespan.task is not None
            with pytest.raises(WrongOwner if how == "owner" else OSError):
                await lifespan.task
        await asyncio.sleep(0)
        assert is_closed(service)
        assert asyncio.all_tasks() <= before

    play(act)
    assert states(signals)[-1] == "stopped"


@pytest.mark.parametrize("app", [None, "application"])
@pytest.mark.parametrize("how", ["open", "begin"])
def test_a_start_that_we_refuse_is_told_in_our_words(tmp_path: Path, how: str, app: str | None) -> None:
    """The server hears what is wrong in one line, without where in the code it was found; whoever waits gets the error."""

    async def act(clock: VirtualClock) -> None:
        if how == "open":
            async with living(Service("other", database="sqlite:///s.db", settings=settings(tmp_path), clock=clock)):
                pass
        service = make(tmp_path, clock, app=FastAPI() if app else None)
        if how == "begin":

            @service.on_start
            async def refuse() -> None:
                raise ConfigurationError("the key is too short")

        told: asyncio.Queue[Any] = asyncio.Queue()
        asked: asyncio.Queue[Any] = asyncio.Queue()
        asked.put_nowait({"type": "lifespan.startup"})
        with pytest.raises(ConfigurationError if how == "begin" else WrongOwner) as caught:
            await service.app({"type": "lifespan"}, asked.get, told.put)
        assert told.get_nowait() == {"type": "lifespan.startup.failed", "message": str(caught.value)}
        assert told.empty()

    play(act)


async def _ignore(event: Happened, tx: Transaction) -> None:
    """Do nothing with it."""


def test_the_work_runs_inside_the_applications_own_life(tmp_path: Path) -> None:
    """The database is there before the application starts; sagas work only between its start and its stop."""
    order: list[str] = []

    async def act(clock: VirtualClock) -> None:
        @asynccontextmanager
        async def own(app: FastAPI) -> AsyncIterator[None]:
            await service.database.fetch_one("SELECT 1")
            await clock.sleep(1.0)
            order.append("application started")
            yield
            await service.database.fetch_one("SELECT 1")
            order.append("application stopped")

        saga = Saga("s")

        @saga.step()
        async def one(ctx: Any, given: Any) -> None:
            order.append("step begins")
            await clock.sleep(2.0)
            order.append("step ends")

        for last in (False, True):
            service = make(tmp_path, clock, app=FastAPI(lifespan=own))
            service.add(saga)
            async with living(service):
                async with service.transaction() as tx:
                    await service.sagas.start(tx, saga, None, key=str(last))
                await clock.sleep(1.0)
            assert is_closed(service)

    play(act)
    assert order == ["application started", "step begins", "step ends", "application stopped"] * 2


@pytest.mark.parametrize("refuses", [True, False])
def test_an_application_that_knows_no_lifespan_is_served(tmp_path: Path, refuses: bool) -> None:
    """A bare ASGI application, whether it ignores a lifespan or raises at it, gets a service that starts and stops."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        if refuses:
            assert scope["type"] == "http"
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

    async def act(clock: VirtualClock) -> None:
        service = make(tmp_path, clock, app=bare)
        async with living(service):
            assert (await request(service.app, "GET", "/x")).status == 204
            assert (await health(service, "ready"))[0] == 200
        assert is_closed(service)

    play(act)


def test_other_protocols_go_to_the_application(tmp_path: Path) -> None:
    """What is neither HTTP nor lifespan is not the chassis's business."""
    seen: list[str] = []

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def act(clock: VirtualClock) -> None:
        await make(tmp_path, clock, app=bare).app({"type": "websocket"}, bare, bare)

    play(act)
    assert seen == ["websocket"]


# --- stop


def test_what_is_recorded_while_stopping_still_leaves(tmp_path: Path) -> None:
    """A saga's step that ends during the stop records an event: the relay, which stops last, hands it over."""

    async def act(clock: VirtualClock) -> None:
        service = make(tmp_path, clock, events="sqlite:///events/")
        saga = Saga("s")

        @saga.step()
        async def one(ctx: Any, given: Any) -> None:
            await clock.sleep(2.0)
            async with service.transaction() as tx:
                await service.outbox.record(tx, Happened(number="1"))

        service.add(saga)
        async with living(service):
            async with service.transaction() as tx:
                await service.sagas.start(tx, saga, None, key="1")
            await clock.sleep(1.0)
        again = make(tmp_path, clock, events="sqlite:///events/")
        await again.open()
        assert await again.outbox.waiting(again.database) == 0
        await again.stop()

    play(act)


def test_a_stop_survives_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When one part fails to stop, the others stop all the same and everything is closed."""

    class Sore(Exception):
        pass

    async def act(clock: VirtualClock) -> None:
        service = make(tmp_path, clock, events="sqlite:///events/")
        client = service.client("stock")

        async def fail(**_: Any) -> None:
            raise Sore

        await service.start()
        await service.bus.stop(within=1.0)
        monkeypatch.setattr(service.bus, "stop", fail)
        with pytest.raises(Sore):
            await service.stop()
        assert is_closed(service)
        assert not service._tasks
        await client.aclose()

    monkeypatch.setenv("SKERRY_URL_STOCK", "http://127.0.0.1:1")
    play(act)


def test_a_stop_may_come_twice(tmp_path: Path, signals: list[Signal]) -> None:
    """Stopping what has stopped does nothing; so does stopping what never started."""

    async def act(clock: VirtualClock) -> None:
        service = make(tmp_path, clock, events="sqlite:///events/")
        await service.start()
        await service.stop()
        await service.stop()
        await make(tmp_path / "other", clock).stop()

    play(act)
    assert states(signals).count("stopped") == 2


def test_a_restart_goes_on_where_the_service_stood(tmp_path: Path) -> None:
    """On the same data, open sagas and events that nobody handled yet go on, and what is done is not done again."""
    handled: list[str] = []

    async def act(clock: VirtualClock) -> None:
        def service() -> tuple[Service, Saga]:
            made = make(tmp_path, clock, events="sqlite:///events/")
            saga = Saga("s")

            @saga.step(timeout=10_000)
            async def one(ctx: Any, given: Any) -> None:
                if not handled:
                    await clock.sleep(3600)

            made.add(saga)

            @made.on(Happened)
            async def remember(event: Happened, tx: Transaction) -> None:
                handled.append(event.number)

            return made, saga

        first, saga = service()
        async with living(first):
            async with first.transaction() as tx:
                saga_id = await first.sagas.start(tx, saga, None, key="1")
            await clock.sleep(1.0)
        second, _ = service()
        await second.open()
        async with second.transaction() as tx:
            await second.outbox.record(tx, Happened(number="1"))
        await second.begin()
        for _ in range(50):
            await clock.sleep(0.1)
            if handled:
                break
        await second.stop()
        third, _ = service()
        async with living(third):
            await clock.sleep(1.0)
            assert (await third.sagas.wait(saga_id)).status == "completed"
        assert handled == ["1"]

    play(act)


def test_dead_letters_are_the_services_own(tmp_path: Path) -> None:
    """The dead letters of a service are in its database."""

    async def act(clock: VirtualClock) -> None:
        service = make(tmp_path, clock)
        async with living(service):
            assert service.dead_letters is not None

    play(act)


# --- migrations


def sql(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name.removeprefix('v')}.sql").write_text(text)
    return folder


def test_a_start_applies_what_older_code_can_live_with(tmp_path: Path) -> None:
    """A new database gets everything; later starts leave the files for after the deploy."""
    folder = sql(tmp_path / "sql", v0001_a="CREATE TABLE a (n);", v0002_post_b="ALTER TABLE a ADD m;")

    async def act(clock: VirtualClock) -> None:
        async with living(make(tmp_path, clock, migrations=folder)) as service:
            assert await service.database.fetch_all("SELECT n, m FROM a") == []
        sql(folder, v0003_post_c="ALTER TABLE a DROP m;", v0004_d="ALTER TABLE a ADD k;")
        async with living(make(tmp_path, clock, migrations=folder)) as service:
            assert await service.database.fetch_all("SELECT n, m, k FROM a") == []

    play(act)


def test_a_service_that_must_not_migrate_refuses_to_start_without_its_tables(tmp_path: Path) -> None:
    """With `SKERRY_MIGRATE=never` the error names file and command and nothing changes; what comes after a deploy may lack."""
    folder = sql(tmp_path / "sql", v0001_a="CREATE TABLE a (n);")

    async def act(clock: VirtualClock) -> None:
        never = Settings(data=tmp_path, migrate="never")
        with pytest.raises(
            MigrationError, match=r"0001_pre_receipts.sql of skerry.store .*`skerry db migrate s` first"
        ):
            await make(tmp_path, clock, migrations=folder, settings=never).start()
        async with living(make(tmp_path, clock, migrations=folder)):
            pass
        sql(folder, v0002_post_b="DROP TABLE a;")
        async with living(make(tmp_path, clock, migrations=folder, settings=never)):
            pass
        sql(folder, v0003_pre_c="ALTER TABLE a ADD m;")
        refused = make(tmp_path, clock, migrations=folder, settings=never)
        with pytest.raises(MigrationError, match=r"0003_pre_c.sql of s "):
            await refused.start()
        assert is_closed(refused)

    play(act)


def test_a_service_says_whose_tables_it_has(tmp_path: Path) -> None:
    """Its own come last; a service without a database has none."""

    async def act(clock: VirtualClock) -> None:
        schemas = make(tmp_path, clock, migrations=tmp_path / "sql").schemas
        assert [schema.component for schema in schemas] == ["skerry.store", "skerry.events", "skerry.saga", "s"]
        assert make(tmp_path, clock, database=None, migrations=tmp_path).schemas == ()

    play(act)
