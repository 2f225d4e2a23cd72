"""What skerry promises inside a transaction of the user's, whatever library holds it."""

import asyncio
import inspect
import itertools
import sqlite3
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

import asyncpg
import django
import psycopg
import pytest
from django.conf import settings
from django.db import DatabaseError, connection, connections, transaction
from driver_holders import HOLDERS, Home

from skerry.clock import SYSTEM
from skerry.errors import NoTransaction, SkerryError
from skerry.events import DomainEvent, Envelope, Outbox
from skerry.saga import Barrier, Engine, Journal, Saga
from skerry.store import Receipts, adapt, adapt_sync, connect

TABLES = ("t", "skerry_outbox", "skerry_sequences", "skerry_sagas", "skerry_receipts")
AWKWARD = "100 % of $1, ?, ?1 or %s: :x '' \"?\" ünï"
OUTBOX = "SELECT key, sequence FROM skerry_outbox ORDER BY id"
CLOSED = (asyncpg.InterfaceError, psycopg.OperationalError, sqlite3.ProgrammingError, ValueError)
"""What libraries raise for a connection that is closed by then; their errors pass as they are."""
outbox = Outbox("order")
fulfil = Saga("fulfil", version=1, input=dict)
_numbers = itertools.count(1)


@fulfil.step()
async def reserve(ctx, order):
    """Nothing: only the start of a saga belongs to the transaction."""


class Placed(DomainEvent, type="shop.order.placed", key="order"):
    order: str
    note: str = AWKWARD


@asynccontextmanager
async def opened(home):
    """skerry's own database there."""
    database = connect(home.address, owner="order", data=home.path.parent, clock=SYSTEM)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture(scope="module")
def homes(tmp_path_factory, postgres):
    """One database of each kind, with all tables; Django knows both."""
    folder = tmp_path_factory.mktemp("drivers")
    found = {
        "sqlite": Home("sqlite", "sqlite:///order.db", folder / "order.db"),
        "postgresql": Home("postgresql", postgres.own_database("drivers"), folder / "none"),
    }

    async def prepare(home):
        async with opened(home) as database:
            for each in (Receipts, Outbox, Journal):
                await each.prepare(database)
            async with database.transaction() as tx:
                await tx.execute("CREATE TABLE t (n INTEGER UNIQUE)")

    for home in found.values():
        asyncio.run(prepare(home))
    url = urlsplit(found["postgresql"].address)
    known = {
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "order.db"},
        "sqlite": {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "order.db"},
        "postgresql": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url.path[1:],
            "USER": unquote(url.username),
            "PASSWORD": unquote(url.password),
            "HOST": url.hostname,
            "PORT": url.port,
        },
    }
    if not settings.configured:
        settings.configure(DATABASES=known, USE_TZ=True, LOGGING_CONFIG=None)
        django.setup()
    yield found
    connections.close_all()


@pytest.fixture(params=HOLDERS)
def holder(request, homes, monkeypatch):
    """What a user holds, on an empty database."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # these blocks are async for all libraries alike
    dialect, kind = HOLDERS[request.param]
    with homes[dialect].outside() as connection:
        for table in TABLES:
            connection.execute(f"DELETE FROM {table}")
    return kind(homes[dialect])


async def record(holder, tx, *events):
    """By whichever form fits the library."""
    return await outbox.record(tx, *events) if holder.is_async else outbox.record_sync(tx, *events)


def adapted(holder, tx):
    return adapt(tx) if holder.is_async else adapt_sync(tx)


async def done(answer):
    """The answer of an adapter of either kind."""
    return await answer if inspect.isawaitable(answer) else answer


def test_an_event_commits_with_the_state(holder):
    """State and event are there after the commit, the event as it was, whatever signs its text holds."""

    async def main():
        async with holder.transaction() as tx:
            await holder.write(tx, 1)
            token = await record(holder, tx, Placed(order="a"), Placed(order="b"), Placed(order="a", note="later"))
            assert holder.home.look(OUTBOX) == []
        assert holder.home.look("SELECT n FROM t") == [(1,)]
        assert holder.home.look(OUTBOX) == [("a", 1), ("b", 1), ("a", 2)]
        rows = holder.home.look("SELECT event_id, body FROM skerry_outbox ORDER BY id")
        assert rows[-1][0] == token.event_id
        assert Envelope.from_json(rows[0][1]).data == {"order": "a", "note": AWKWARD}

    asyncio.run(main())


def test_a_delayed_event_commits_too(holder):
    """The other way into the outbox, by its time, works over every library."""

    async def main():
        async with holder.transaction() as tx:
            if holder.is_async:
                await outbox.record(tx, Placed(order="a"), delay=5.5)
            else:
                outbox.record_sync(tx, Placed(order="a"), delay=5.5)
        assert holder.home.look("SELECT key, due_at IS NULL FROM skerry_outbox") in ([("a", 0)], [("a", False)])

    asyncio.run(main())


def test_an_event_rolls_back_with_the_state(holder):
    """Neither is there after a roll-back."""

    async def main():
        with pytest.raises(KeyError):  # noqa: PT012 - the block is the thing
            async with holder.transaction() as tx:
                await holder.write(tx, 1)
                await record(holder, tx, Placed(order="a"))
                raise KeyError
        assert holder.home.look("SELECT n FROM t") == holder.home.look(OUTBOX) == []

    asyncio.run(main())


def test_a_savepoint_takes_its_event_with_it(holder):
    """What was recorded behind a savepoint goes with it; the number it had is used again, without a gap."""

    async def main():
        called = []
        async with holder.transaction() as tx:
            await holder.write(tx, 1)
            await record(holder, tx, Placed(order="a"))
            adapted(holder, tx).on_commit(lambda: called.append("outer"))
            with pytest.raises(KeyError):  # noqa: PT012 - the block is the thing
                async with holder.savepoint(tx):
                    await holder.write(tx, 2)
                    lost = await record(holder, tx, Placed(order="a"))
                    adapted(holder, tx).on_commit(lambda: called.append("lost"))
                    raise KeyError
            async with holder.savepoint(tx):
                await record(holder, tx, Placed(order="a"))
                adapted(holder, tx).on_commit(lambda: called.append("kept"))
            assert called == []
        assert called == (["outer", "kept"] if holder.hears_commits else [])
        assert holder.home.look(OUTBOX) == [("a", 1), ("a", 2)]
        assert holder.home.look("SELECT n FROM t") == [(1,)]
        assert (lost.event_id,) not in holder.home.look("SELECT event_id FROM skerry_outbox")

    asyncio.run(main())


def test_nothing_is_written_where_no_transaction_is_open(holder):
    """record raises NoTransaction, with a word on how to open one, and neither begins one nor writes anything."""

    async def main():
        async with holder.idle() as tx:
            with pytest.raises(NoTransaction, match=r"begin|BEGIN|transaction\(\)|atomic"):
                await record(holder, tx, Placed(order="a"))
            with pytest.raises(NoTransaction):
                adapted(holder, tx)
        assert holder.home.look(OUTBOX) == []

    asyncio.run(main())


def test_an_adapter_ends_with_its_transaction(holder):
    """Used after the commit it raises, rather than writing on its own."""

    async def main():
        async with holder.transaction() as tx:
            mine = adapted(holder, tx)
            assert adapted(holder, mine) is mine
            assert mine.is_open
            await done(mine.execute("INSERT INTO t VALUES (?)", (1,)))
        with pytest.raises((NoTransaction, *CLOSED)):
            await done(mine.execute("INSERT INTO t VALUES (?)", (2,)))
        assert holder.home.look("SELECT n FROM t") == [(1,)]

    asyncio.run(main())


def test_commits_are_heard_of_once_and_roll_backs_never(holder):
    """A callback runs once, after the commit, and its failure is none of the commit's; where a driver cannot tell, never."""

    async def main():
        called = []

        def fail():
            called.append("failed")
            raise RuntimeError("secret")

        with pytest.raises(KeyError):  # noqa: PT012 - the block is the thing
            async with holder.transaction() as tx:
                adapted(holder, tx).on_commit(lambda: called.append("lost"))
                raise KeyError
        async with holder.transaction() as tx:
            adapted(holder, tx).on_commit(fail)
            adapted(holder, tx).on_commit(lambda: called.append(tuple(holder.home.look("SELECT n FROM t"))))
            await done(adapted(holder, tx).execute("INSERT INTO t VALUES (?)", (1,)))
            assert called == []
        assert called == (["failed", ((1,),)] if holder.hears_commits else [])

    asyncio.run(main())


def test_statements_and_rows_are_the_same_everywhere(holder):
    """Rows are read by place and by name, a change counts its rows, one value may stand in several places."""

    async def main():
        async with holder.transaction() as tx:
            mine = adapted(holder, tx)
            assert mine.dialect == holder.home.dialect
            assert await done(mine.execute("INSERT INTO t VALUES (?), (?)", (1, 2))) == 2
            assert await done(mine.execute("UPDATE t SET n = n + ?1 WHERE n > ?2 AND n < ?1 + 2", (10, 1))) == 1
            assert await done(mine.execute("DELETE FROM t WHERE n = ?", (99,))) == 0
            found = await done(mine.fetch_all("SELECT n, n % 7 AS rest FROM t WHERE n > ? ORDER BY n", (0,)))
            assert [(row[0], row["rest"]) for row in found] == [(1, 1), (12, 5)]
            n, rest = found[1]
            assert (n, rest) == (12, 5)
            assert await done(mine.fetch_all("SELECT n FROM t WHERE n = -1 AND '%' <> '?'")) == []
            with pytest.raises(KeyError):
                found[0]["other"]

    asyncio.run(main())


def test_a_lock_is_held_until_the_end(holder):
    """Nobody else gets a lock before the transaction has ended; it may be taken twice."""

    async def main():
        async with holder.transaction() as tx:
            await done(adapted(holder, tx).lock("barrier:a"))
            await done(adapted(holder, tx).lock("barrier:a"))
            assert holder.home.is_locked("barrier:a")
        assert not holder.home.is_locked("barrier:a")

    asyncio.run(main())


def test_errors_of_the_driver_pass_as_they_are(holder):
    """A broken constraint raises what the user's library raises for it."""

    async def main():
        with pytest.raises(Exception, match=r"(?i)unique") as caught:  # noqa: PT012 - the block is the thing
            async with holder.transaction() as tx:
                mine = adapted(holder, tx)
                for _ in range(2):
                    await done(mine.execute("INSERT INTO t VALUES (?)", (1,)))
        assert not isinstance(caught.value, SkerryError)
        assert holder.home.look("SELECT n FROM t") == []

    asyncio.run(main())


def test_the_other_form_says_so(holder):
    """A synchronous object given to record, or the other way round, is a TypeError that names the right form."""

    async def main():
        for block in (holder.transaction(), holder.idle()):
            async with block as tx:
                if holder.is_async:
                    with pytest.raises(TypeError, match="is asynchronous: use the form without _sync"):
                        outbox.record_sync(tx, Placed(order="a"))
                else:
                    with pytest.raises(TypeError, match="record_sync"):
                        await outbox.record(tx, Placed(order="a"))
        assert holder.home.look(OUTBOX) == []

    asyncio.run(main())


def of(*, is_async=None, dialect=None):
    """Only the holders of some kind."""
    names = [
        name
        for name, (where, kind) in HOLDERS.items()
        if is_async in {None, kind.is_async} and dialect in {None, where}
    ]
    return pytest.mark.parametrize("holder", names, indirect=True)


@of(dialect="postgresql")
def test_eight_writers_of_one_key_leave_no_gap(holder):
    """The numbers of a key are 1 to n, and the ids, by which the relay goes, follow them."""

    async def writer():
        for _ in range(4):
            async with holder.transaction() as tx:
                await record(holder, tx, Placed(order="a"))
                await record(holder, tx, Placed(order="a"))

    async def main():
        await asyncio.gather(*(asyncio.to_thread(asyncio.run, writer()) for _ in range(8)))

    asyncio.run(main())
    assert holder.home.look(OUTBOX) == [("a", n) for n in range(1, 65)]


@of(is_async=True)
def test_a_saga_starts_with_the_state(holder):
    """The start of a saga commits and rolls back with the transaction, and a second start finds the first."""

    async def main():
        async with opened(holder.home) as database:
            engine = Engine("order", database)
            engine.add(fulfil)
            with pytest.raises(KeyError):  # noqa: PT012 - the block is the thing
                async with holder.transaction() as tx:
                    await engine.start(tx, fulfil, {"note": AWKWARD}, key="o-1")
                    raise KeyError
            assert await engine.find(fulfil, "o-1") is None
            async with holder.transaction() as tx:
                await holder.write(tx, 1)
                first = await engine.start(tx, fulfil, {"note": AWKWARD}, key="o-1")
            async with holder.transaction() as tx:
                assert await engine.start(tx, fulfil, {"note": AWKWARD}, key="o-1") == first
            assert (await engine.find(fulfil, "o-1")).id == first
            async with holder.idle() as tx:
                with pytest.raises(NoTransaction):
                    await engine.start(tx, fulfil, {}, key="o-2")

    asyncio.run(main())


@of(is_async=True)
def test_an_action_has_its_effect_once(holder):
    """A barrier runs an action once, answers a repetition, and refuses what was compensated; receipts likewise."""

    async def main():
        barrier, receipts = Barrier(), Receipts()
        for number in (1, 2):
            async with holder.transaction() as tx:
                mine = adapt(tx)

                async def charge(tx=tx, number=number):
                    await holder.write(tx, number)
                    return {"charged": number}

                assert await barrier.act(mine, "s:charge:do", charge, given=AWKWARD) == {"charged": 1}
                assert await receipts.insert(mine, "mine", "k", "done", result=AWKWARD) is (number == 1)
        async with holder.transaction() as tx:
            mine = adapt(tx)
            assert (await receipts.find(mine, "mine", "k")).result == AWKWARD
            assert await receipts.prune(mine) == 0
        assert holder.home.look("SELECT n FROM t") == [(1,)]

    asyncio.run(main())


@pytest.mark.parametrize(
    "given", [transaction, transaction.atomic, connection, "block"], ids=["module", "function", "connection", "block"]
)
def test_django_is_taken_as_people_have_it(homes, given):
    """Inside `atomic` nobody holds anything: the module, the block and the proxy of the connection stand for it."""
    with homes["sqlite"].outside() as outside:
        outside.execute("DELETE FROM skerry_outbox")
    if given == "block":
        given = transaction.atomic()
    with pytest.raises(NoTransaction, match="'default' has no open transaction"):
        outbox.record_sync(given, Placed(order="a"))
    with given if isinstance(given, transaction.Atomic) else transaction.atomic():
        outbox.record_sync(given, Placed(order="a"))
        with pytest.raises(TypeError, match="record_sync"):
            adapt(given)
    connection.close()
    assert [row[0] for row in homes["sqlite"].look(OUTBOX)] == ["a"]


def test_a_failed_block_of_django_is_refused(homes):
    """After an error that broke the block nothing can be written in it; it says so. Of Django's other things none is one."""
    with transaction.atomic():
        with pytest.raises(DatabaseError), transaction.atomic(savepoint=False), connection.cursor() as cursor:
            cursor.execute("SELECT nothing")
        with pytest.raises(NoTransaction, match="has failed"):
            adapt_sync(connection)
    connection.close()
    for thing in (connections, transaction.get_connection):
        with pytest.raises(TypeError, match=r"give django\.db\.connection"):
            adapt_sync(thing)


def test_a_failed_transaction_of_psycopg_is_refused(homes):
    """After an error, in a pipeline, or once closed, nothing is written; and a cursor is no transaction."""
    with psycopg.connect(homes["postgresql"].address) as mine:
        with pytest.raises(psycopg.errors.SyntaxError):
            mine.execute("nonsense")
        with pytest.raises(NoTransaction, match="has failed"):
            adapt_sync(mine)
        mine.rollback()
        with pytest.raises(TypeError, match=r"psycopg.Cursor is no transaction; give its connection"):
            adapt_sync(mine.cursor())
        mine.execute("SELECT 1")
        tx = adapt_sync(mine)
        with mine.pipeline(), pytest.raises(NoTransaction, match="pipeline"):
            tx.execute("DELETE FROM t")
    with pytest.raises(NoTransaction):
        adapt_sync(mine)


def test_a_pool_is_no_transaction(homes):
    """What gives connections holds no transaction itself."""

    async def main():
        pool = asyncpg.create_pool(homes["postgresql"].address, min_size=0)
        async with pool:
            with pytest.raises(TypeError, match=r"asyncpg\.\S+ is no transaction; give the asyncpg.Connection"):
                adapt(pool)

    asyncio.run(main())
