"""Roles, units of work and trouble on MongoDB, on virtual time: mongomock behind the driver's face."""

import asyncio

import mongomock
import pymongo.errors
import pytest
from mocked_mongo import Client, nothing

from skerry.errors import ConfigurationError, InvalidDocument, LeaseLost, StoreBusy, StoreError, WrongOwner
from skerry.store.documents import Documents, Entry
from skerry.store.documents.mongo_lease import LEASE
from skerry.store.documents.mongodb import MongoDatabase
from skerry.testing import run_virtual


class World:
    """Processes of one service on one database, each with a line to it that can be cut."""

    def __init__(self, clock):
        self.clock = clock
        self._memory = mongomock.MongoClient()

    async def process(self, owner="product", name="product"):
        client = Client(self._memory)
        database = MongoDatabase(
            f"mongodb://u:secret@db.example.org/{name}", owner=owner, clock=self.clock, client=client
        )
        await database.open()
        return database, client


async def cut(_method):
    raise pymongo.errors.AutoReconnect("db.example.org:27017: connection closed, secret")


def test_one_leads_and_the_next_follows_at_once_when_it_ends():
    """A role has one leader; when it gives the role back the next one has it within a poll, with a higher epoch."""

    async def main(clock):
        world, seen = World(clock), []
        (one, _), (two, _) = await world.process(), await world.process()

        async def lead(number, database, seconds):
            async with database.lead("relay") as lease:
                seen.append((number, lease.epoch))
                for _ in range(seconds):
                    await clock.sleep(1)
                    lease.check()

        first = asyncio.create_task(lead(1, one, 20))
        await clock.sleep(1)
        second = asyncio.create_task(lead(2, two, 1))
        async with two.lead("another"):
            assert clock.monotonic() == 1
        await asyncio.gather(first, second)
        assert seen == [(1, 1), (2, 2)]
        assert 21 <= clock.monotonic() < 21.6

    run_virtual(main)


def test_a_leader_that_is_cut_off_stops_to_trust_its_role_before_another_has_it():
    """There are never two that may act: the check of the old one fails at the time of the lease, the next one leads after."""

    async def main(clock):
        world = World(clock)
        (one, line), (two, _) = await world.process(), await world.process()
        taken = []

        async def follow():
            async with two.lead("relay") as lease:
                taken.append((clock.monotonic(), lease.epoch))
                await clock.sleep(60)

        async with one.lead("relay") as lease:
            following = asyncio.create_task(follow())
            await clock.sleep(10)
            lease.check()
            line.before = cut
            begun = clock.monotonic()
            while not taken:
                try:
                    lease.check()
                    trusted = clock.monotonic()
                except LeaseLost:
                    pass
                await clock.sleep(0.01)
            assert begun + LEASE - 1 < trusted < taken[0][0] <= trusted + 1.5
            line.before = nothing
            await clock.sleep(5)
            with pytest.raises(LeaseLost, match="another process may hold it"):
                lease.check()
        assert taken[0][1] == 2
        following.cancel()
        await asyncio.wait({following})
        async with one.lead("relay") as lease:
            assert lease.epoch == 3

    run_virtual(main)


def test_a_renewal_whose_answer_is_lost_does_not_let_another_in():
    """A holder whose writes arrive although it hears nothing of every second one keeps changing what the others look at."""

    async def main(clock):
        world = World(clock)
        (one, line), (two, _) = await world.process(), await world.process()
        writes = 0

        async def deaf(method):
            nonlocal writes
            writes += method == "update_one"
            if writes % 2:
                await cut(method)

        async with one.lead("relay") as lease:
            asking = asyncio.create_task(two.lead("relay").__aenter__())
            line.after = deaf
            for _ in range(60):
                await clock.sleep(0.5)
                lease.check()
            assert not asking.done()
            line.after = nothing
            asking.cancel()
            await asyncio.wait({asking})

    run_virtual(main)


def test_a_cancelled_end_of_a_unit_is_finished_first():
    """Cancellation while the write is under way lets it end: then the change is there, and whoever waits for it is told."""

    async def main(clock):
        database, line = await World(clock).process()
        things, told = Documents(database, "things", dict), []

        async def slow(method):
            if method == "insert_one":
                await clock.sleep(5)

        async def unit():
            async with database.transaction() as tx:
                await things.insert(tx, {"id": "a"})
                tx.on_commit(lambda: told.append(clock.monotonic()))
                line.before = slow

        task = asyncio.create_task(unit())
        await clock.sleep(1)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert told == [5]
        assert (await things.get("a")).version == 1

    run_virtual(main)


def test_a_write_that_fails_calls_nobody_back():
    """What waits for the commit is not told of one whose outcome is unknown; a callback that fails is no failed commit."""

    async def main(clock):
        database, line = await World(clock).process()
        things, told = Documents(database, "things", dict), []
        with pytest.raises(StoreError):  # noqa: PT012 - the block is the thing
            async with database.transaction() as tx:
                await things.insert(tx, {"id": "a"})
                tx.on_commit(lambda: told.append(1))
                line.after = cut
        line.after = nothing
        assert told == []
        async with database.transaction() as tx:
            await things.put(tx, {"id": "a"})
            tx.on_commit(lambda: 1 / 0)
            tx.on_commit(lambda: told.append(2))
        assert told == [2]
        assert (await things.get("a")).version == 2  # the first had taken effect

    run_virtual(main)


def test_a_document_that_others_change_all_the_time_is_given_up():
    """After some attempts a writer that asks for no version gets `StoreBusy` instead of going on for ever."""

    async def main(clock):
        world = World(clock)
        (one, line), (two, _) = await world.process(), await world.process()
        mine, others = Documents(one, "things", dict), Documents(two, "things", dict)

        async def quicker(method):
            if method in {"insert_one", "replace_one"}:
                async with two.transaction() as tx:
                    await others.put(tx, {"id": "a", "by": "others"})

        line.before = quicker
        with pytest.raises(StoreBusy, match="20 others were quicker"):
            async with one.transaction() as tx:
                await mine.put(tx, {"id": "a", "by": "me"})
        assert (await mine.get("a")).body["by"] == "others"

    run_virtual(main)


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (pymongo.errors.AutoReconnect("secret"), StoreError, "db.example.org/product: AutoReconnect"),
        (pymongo.errors.NetworkTimeout("secret"), StoreError, "NetworkTimeout"),
        (pymongo.errors.WaitQueueTimeoutError("secret"), StoreBusy, "no connection was free in time"),
        (
            pymongo.errors.OperationFailure("secret", 18),
            StoreError,
            "refuses 'product'.*check name, password and rights",
        ),
        (pymongo.errors.OperationFailure("secret", 13), StoreError, "refuses 'product'"),
        (pymongo.errors.OperationFailure("secret", 85), StoreError, "OperationFailure 85"),
        (pymongo.errors.DocumentTooLarge("secret"), InvalidDocument, "larger than MongoDB takes"),
    ],
)
def test_trouble_with_the_server_is_ours_and_keeps_secrets(error, kind, told):
    """The driver's errors become ours, without its texts: they may hold addresses, passwords and documents."""

    async def main(clock):
        database, line = await World(clock).process()
        things = Documents(database, "things", dict)

        async def fails(_method):
            raise error

        line.before = fails

        async def write():
            async with database.transaction() as tx:
                await things.put(tx, {"id": "a"})

        for ask in (
            things.prepare,
            lambda: things.get("a"),
            things.count,
            things.find,
            write,
            database.waiting,
            database.ping,
        ):
            with pytest.raises(kind, match=told) as caught:
                await ask()
            assert type(caught.value) is kind
            assert caught.value.__cause__ is None
            assert caught.value.__suppress_context__
            assert "secret" not in str(caught.value)

    run_virtual(main)


def test_credentials_that_open_another_services_database_are_refused():
    """As with PostgreSQL: a service that could read another one's documents does not start."""

    async def main(clock):
        world = World(clock)
        await world.process(owner="order", name="orders")
        with pytest.raises(
            WrongOwner, match=r"credentials of 'product' also open 'orders', the database of the service 'order'"
        ):
            await world.process()

    run_virtual(main)


def test_what_somebody_else_has_written_is_told_and_not_shown():
    """A record with what is no plain JSON, such as a date, is a `StoreError` that names the document."""

    async def main(clock):
        database, _ = await World(clock).process()
        things = Documents(database, "things", dict)
        async with database.transaction() as tx:
            await things.insert(tx, {"id": "a"})
        await database.raw("things").update_one({"_id": "a"}, {"$set": {"document.at": clock.utcnow()}})
        with pytest.raises(StoreError, match="the document 'a' holds what is not plain JSON"):
            await things.get("a")

    run_virtual(main)


def test_events_are_read_so_many_at_a_time_and_taken_out_once():
    """Of a document that has more to tell the first part is read; what another relay has taken out is left alone."""

    async def main(clock):
        world = World(clock)
        (one, _), (two, _) = await world.process(), await world.process()
        things = Documents(one, "things", dict)
        await things.prepare()
        for thing, events in (("a", 3), ("b", 3), ("c", 1)):
            async with one.transaction() as tx:
                await things.insert(tx, {"id": thing})
                tx.carry([Entry(f"{thing}{n}", "t", thing, "{}") for n in range(events)])
            await clock.sleep(1)
        assert await one.waiting() == 7
        mine, theirs = await one.unsent(5), await two.unsent(5)
        assert [[each.id for each in part.entries] for part in mine] == [["a0", "a1", "a2"], ["b0", "b1"]]
        for part in mine + theirs:
            await two.handed_over(part)
        assert [[each.id for each in part.entries] for part in await one.unsent(5)] == [["b2"], ["c0"]]
        assert await one.waiting() == 2

    run_virtual(main)


def test_a_database_that_is_not_open_says_so():
    """Before `open` and after `close` every use is a `StoreError`; both may be called again."""

    async def main(clock):
        database, _ = await World(clock).process()
        await database.open()
        await database.close()
        await database.close()
        things = Documents(database, "things", dict)
        with pytest.raises(StoreError, match="the database of product is not open"):
            await things.get("a")
        with pytest.raises(StoreError, match="not open"):
            async with database.transaction():
                raise AssertionError

    run_virtual(main)


@pytest.mark.parametrize(
    "option", ["bogus=1", "tls=maybe", "authSource=", "loadBalanced=true&replicaSet=x", "tls=true&tlsCAFile=/nowhere"]
)
def test_an_option_that_the_driver_does_not_take_is_an_error(option):
    """What pymongo only warns of would be a service that runs with other options than its address says."""
    database = MongoDatabase(f"mongodb://u:secret@127.0.0.1:1/product?{option}", owner="product")
    with pytest.raises(ConfigurationError, match="has an option that the driver does not take") as caught:
        asyncio.run(database.open())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "mongodb://u:secret@db.example.org",
        "mongodb://u:secret@db.example.org/",
        "mongodb://u:secret@db.example.org/a/b",
        "mongodb://u:secret@db.example.org/a$b",
        "mongodb:///product",
        "mongodb:product",
        "mongodb://u:secret@[::1/product",
    ],
)
def test_an_address_that_cannot_be_is_refused_without_repeating_it(address):
    """A missing host or database name is an error at once, which shows the form and no part of the address."""
    with pytest.raises(ConfigurationError, match="MongoDB address") as caught:
        MongoDatabase(address, owner="product")
    assert "secret" not in str(caught.value)


def test_a_cancellation_that_the_driver_makes_an_error_of_is_one_still():
    """A task that is cancelled inside the driver ends, whatever the driver raises instead; otherwise its loop would go on."""

    async def main(clock):
        database, _ = await World(clock).process()

        async def ask():
            with database.translated():
                try:
                    await clock.sleep(60.0)
                except asyncio.CancelledError:
                    raise pymongo.errors.AutoReconnect("operation cancelled") from None

        asking = asyncio.create_task(ask())
        await clock.sleep(1.0)
        asking.cancel()
        await asyncio.wait({asking})
        assert asking.cancelled()

    run_virtual(main)
