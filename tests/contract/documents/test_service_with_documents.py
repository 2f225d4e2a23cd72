"""A service that keeps documents, answers over HTTP and publishes events: the same code on every engine."""

import asyncio
import gc
import itertools
import json
from contextlib import asynccontextmanager

import httpx2
import pytest
from pydantic import BaseModel

from servers.mongo import MongoServer
from skerry.errors import ConfigurationError, StoreError, WrongOwner
from skerry.events import DomainEvent, Projection
from skerry.saga import Saga
from skerry.service import Problem, Service
from skerry.settings import Settings
from skerry.store import connect
from skerry.store.documents import Index, Where

ADDRESSES = ["sqlite", "postgresql", "mongo-wire"]
_numbers = itertools.count(1)


class Priced(DomainEvent, type="shop.thing.priced", key="sku"):
    sku: str
    amount: int


class Thing(BaseModel):
    sku: str
    amount: int


def catalogue(folder, address):
    """A service with one collection, whose paths read and price things."""

    async def app(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError
        sku = scope["path"].strip("/")
        stored = await things.get(sku)
        if scope["method"] == "PUT":
            amount = int((await receive())["body"])
            version = int(dict(scope["headers"]).get(b"if-match", b"0"))
            async with service.transaction() as tx:
                if version:
                    await things.replace(tx, Thing(sku=sku, amount=amount), version=version)
                else:
                    await things.insert(tx, Thing(sku=sku, amount=amount))
                await service.outbox.record(tx, Priced(sku=sku, amount=amount))
            stored = await things.get(sku)
        if stored is None:
            raise Problem(404, "unknown", "There is no such thing.")
        body = json.dumps({"amount": stored.body.amount, "version": stored.version}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    settings = Settings(data=folder)
    service = Service("product", app=app, database=address, events="sqlite:///events/", settings=settings)
    things = service.documents("things", Thing, key="sku", indexes=[Index("amount")])
    return service, things


def listener(folder):
    """Another service, which keeps every price it was told."""
    service = Service(
        "order", database="sqlite:///order.db", events="sqlite:///events/", settings=Settings(data=folder)
    )

    @service.on_start
    async def tables():
        async with service.transaction() as tx:
            await tx.execute("CREATE TABLE IF NOT EXISTS prices (sku TEXT, amount INTEGER)")

    @service.on(Priced)
    async def remember(event, tx):
        await tx.execute("INSERT INTO prices VALUES (?, ?)", (event.sku, event.amount))

    return service


@asynccontextmanager
async def living(*services):
    try:
        for service in services:
            await service.start()
        yield httpx2.AsyncClient(transport=httpx2.ASGITransport(app=services[0].app), base_url="http://product")
    finally:
        for service in services:
            await service.stop()


@pytest.fixture(params=ADDRESSES)
def address(request):
    if request.param == "sqlite":
        return "sqlite:///product.db"
    if request.param == "postgresql":
        return request.getfixturevalue("postgres").own_database(f"service{next(_numbers)}")
    return request.getfixturevalue("mongo").url(f"service{next(_numbers)}")


async def until(look):
    async with asyncio.timeout(60):
        while not (found := await look()):
            await asyncio.sleep(0.01)
        return found


def test_a_service_keeps_documents_answers_and_publishes(address, tmp_path):
    """A change over HTTP is read again, a stale one is a 409 problem, others get the events, and a restart keeps it all."""

    async def main():
        service, _ = catalogue(tmp_path, address)
        order = listener(tmp_path)
        async with living(service, order) as http:
            assert (await http.get("/lamp")).status_code == 404
            assert (await http.put("/lamp", content="100")).json() == {"amount": 100, "version": 1}
            again = await http.put("/lamp", content="5")
            assert (again.status_code, again.json()["code"]) == (409, "changed_meanwhile")
            assert "lamp" not in again.json()["detail"]
            assert (await http.put("/lamp", content="120", headers={"if-match": "1"})).json()["version"] == 2
            stale = await http.put("/lamp", content="7", headers={"if-match": "1"})
            assert (stale.status_code, stale.json()["code"]) == (409, "changed_meanwhile")
            health = (await http.get("/health/ready")).json()
            assert [health["checks"][name][0]["status"] for name in ("database", "events")] == ["pass", "pass"]

            async def told():
                rows = await order.database.fetch_all("SELECT sku, amount FROM prices ORDER BY rowid")
                return len(rows) == 2 and [tuple(row) for row in rows]

            assert await until(told) == [("lamp", 100), ("lamp", 120)]
        service, things = catalogue(tmp_path, address)
        async with living(service) as http:
            assert (await http.get("/lamp")).json() == {"amount": 120, "version": 2}
            assert [each.id for each in (await things.find(Where("amount", ">", 100))).documents] == ["lamp"]

    asyncio.run(main())


def test_what_is_not_handed_over_at_the_end_is_at_the_next_start(address, tmp_path):
    """A service that stopped with a broken log hands its events over when it is started again."""

    async def main():
        (tmp_path / "events").write_text("in the way")
        service, _ = catalogue(tmp_path, address)
        async with living(service) as http:
            assert (await http.put("/lamp", content="100")).status_code == 200
            report = (await http.get("/health/ready")).json()
            assert report["status"] in {"pass", "warn"}
        (tmp_path / "events").unlink()
        order = listener(tmp_path)
        service, _ = catalogue(tmp_path, address)
        async with living(service, order):

            async def told():
                return await order.database.fetch_all("SELECT sku FROM prices")

            assert len(await until(told)) == 1

    asyncio.run(main())


def test_documents_are_declared_once_and_before_the_start(address, tmp_path):
    """A second collection of one name, and one that comes too late, are errors that say so."""

    async def main():
        service, _ = catalogue(tmp_path, address)
        with pytest.raises(ConfigurationError, match="has documents 'things' already"):
            service.documents("things", dict)
        async with living(service):
            with pytest.raises(ConfigurationError, match="declare its documents before that"):
                service.documents("more", dict)

    asyncio.run(main())


def test_a_service_without_a_database_has_no_documents(tmp_path):
    """It is told what to give it."""
    service = Service("product", settings=Settings(data=tmp_path))
    with pytest.raises(ConfigurationError, match="has no database"):
        service.documents("things", dict)


def test_on_mongodb_what_needs_sql_transactions_says_so(mongo, tmp_path):
    """Handlers, sagas, projections, `once`, dead letters, migrations and the SQL database: each refuses and says why."""
    address = mongo.url("refusing")
    service, _ = catalogue(tmp_path, address)
    trip = Saga("trip", version=1, input=dict)
    view = Projection("view", tables={"t": "id TEXT PRIMARY KEY"})

    async def once():
        async with service.transaction() as tx:
            await service.once(tx, None, {}, once, scope="POST /")

    async def main():
        async with living(service):
            with pytest.raises(ConfigurationError, match="`once` needs SQL transactions"):
                await once()

    asyncio.run(main())
    service, _ = catalogue(tmp_path, address)
    for use in (
        lambda: service.on(Priced),
        lambda: service.add(trip),
        lambda: service.project(view),
        lambda: service.sagas,
        lambda: service.database,
        lambda: service.dead_letters,
    ):
        with pytest.raises(
            ConfigurationError, match=r"needs SQL transactions, and the database of 'product' is MongoDB"
        ):
            use()
    with pytest.raises(ConfigurationError, match="has documents and no SQL"):
        connect(address, owner="product", data=tmp_path)
    with pytest.raises(ConfigurationError, match="has SQL migrations, and its database is MongoDB"):
        Service("product", database=address, migrations=tmp_path, settings=Settings(data=tmp_path))


def test_an_environment_can_move_a_service_to_mongodb(mongo, tmp_path):
    """`SKERRY_DATABASE` decides, as for every other engine; with events or without."""

    async def main():
        settings = Settings(data=tmp_path, database=mongo.url("moved"))
        service = Service("product", database="sqlite:///product.db", settings=settings)
        things = service.documents("things", dict)
        async with living(service):
            async with service.transaction() as tx:
                await things.insert(tx, {"id": "a"})
            assert await things.count() == 1
        assert not (tmp_path / "product.db").exists()
        with pytest.raises(WrongOwner, match="belongs to the service 'product'"):
            await Service("order", database=mongo.url("moved"), settings=Settings(data=tmp_path)).start()

    asyncio.run(main())


# A driver that is cancelled while it connects leaves the socket to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_server_that_is_away_is_told_without_the_password_and_waited_for(tmp_path):
    """A start without the server fails with its place; while it is away a ready service is not ready; back, it goes on."""

    async def main(server):
        address = server.url("away", "?timeoutMS=1000").replace("//", "//u:secret@", 1)
        with pytest.raises(StoreError, match=rf"127\.0\.0\.1:{server.port}/away") as caught:
            await catalogue(tmp_path, address)[0].start()
        assert "secret" not in repr(caught.value)
        await asyncio.to_thread(server.start)
        service, things = catalogue(tmp_path, server.url("away", "?timeoutMS=1000"))
        async with living(service) as http:
            assert (await http.put("/lamp", content="100")).status_code == 200
            await asyncio.to_thread(server.kill)

            async def status(wanted):
                answer = await http.get("/health/ready")
                return answer.status_code == wanted and answer.json()

            report = await until(lambda: status(503))
            assert report["checks"]["database"][0]["status"] == "fail"
            assert (await http.get("/health/live")).status_code == 200
            assert (await http.put("/rope", content="5")).status_code == 500
            with pytest.raises(StoreError):
                await things.get("lamp")
            await asyncio.to_thread(server.start)
            await until(lambda: status(200))
            assert (await http.put("/rope", content="7")).json()["version"] == 1
            assert (await http.get("/lamp")).json() == {"amount": 100, "version": 1}

    server = MongoServer(tmp_path / "mongo")
    try:
        asyncio.run(main(server))
    finally:
        server.close()
        gc.collect()
