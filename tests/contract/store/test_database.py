"""What every engine promises behind the port `Database`."""

import asyncio
from contextlib import suppress

import pytest

from skerry.errors import MigrationError, NestedTransaction, NoTransaction, StoreBusy, StoreError, WrongOwner
from skerry.saga import Barrier
from skerry.store import Receipts, connect, migrate

INSERT = "INSERT INTO t VALUES (?)"


async def numbers(database):
    return [row["n"] for row in await database.fetch_all("SELECT n FROM t ORDER BY n")]


def test_a_block_that_ends_commits(opened):
    """What a block wrote is there once it has ended, for this and the next opening; rows are read by place and by name."""

    async def main():
        async with opened() as database, database.transaction() as tx:
            assert await tx.execute(INSERT, (1,)) == 1
            await tx.execute_many(INSERT, [(2,), (3,)])
            assert [row[0] for row in await tx.fetch_all("SELECT n FROM t ORDER BY n")] == [1, 2, 3]
            assert (await tx.fetch_one("SELECT max(n) AS top FROM t"))["top"] == 3
            assert await tx.execute("UPDATE t SET n = n + ?1 WHERE n > ?2 AND n < ?1 + 2", (10, 1)) == 2
        async with opened() as database:
            assert await numbers(database) == [1, 12, 13]
            assert await database.fetch_one("SELECT n FROM t WHERE n > ?", (13,)) is None

    asyncio.run(main())


def test_a_block_that_raises_rolls_back(opened):
    """An exception in the block takes everything back and reaches the caller as it is, and no callback runs."""

    async def main():
        called = []
        async with opened() as database:
            with pytest.raises(KeyError, match="mine"):  # noqa: PT012 - the block is the thing
                async with database.transaction() as tx:
                    await tx.execute(INSERT, (1,))
                    tx.on_commit(lambda: called.append(1))
                    raise KeyError("mine")
            assert await numbers(database) == []
            async with database.transaction() as tx:
                await tx.execute(INSERT, (2,))
                tx.on_commit(lambda: called.append(2))
                assert called == []
            assert called == [2]

    asyncio.run(main())


def test_the_callers_own_sql_errors_stay_what_they_are(opened):
    """A broken constraint is the driver's error, not ours; after it the database works on."""

    async def main():
        async with opened() as database:
            with pytest.raises(Exception, match=r"(?i)unique") as caught:  # noqa: PT012 - the block is the thing
                async with database.transaction() as tx:
                    await tx.execute(INSERT, (1,))
                    await tx.execute(INSERT, (1,))
            assert not isinstance(caught.value, StoreError)
            assert await numbers(database) == []

    asyncio.run(main())


def test_a_failed_statement_that_was_swallowed_commits_nothing_in_silence(opened):
    """A block that caught an SQL error either commits what stood before it, or fails; never a commit that was none."""

    async def main():
        async with opened() as database:
            committed = True
            try:
                async with database.transaction() as tx:
                    await tx.execute(INSERT, (1,))
                    with pytest.raises(Exception, match=r"(?i)unique"):
                        await tx.execute(INSERT, (1,))
            except NoTransaction:
                committed = False
            assert await numbers(database) == ([1] if committed else [])

    asyncio.run(main())


def test_a_savepoint_takes_back_its_own_part(opened):
    """What stood before it stays, what it wrote and its callbacks go, also after an SQL error; more may follow."""

    async def main():
        called = []
        async with opened() as database:
            async with database.transaction() as tx:
                await tx.execute(INSERT, (1,))
                for bad in ("SELECT * FROM nothing", "INSERT INTO t VALUES (1)"):
                    with pytest.raises(Exception, match=r"(?i)nothing|unique"):  # noqa: PT012 - the block is the thing
                        async with tx.savepoint():
                            await tx.execute(INSERT, (2,))
                            tx.on_commit(lambda: called.append(2))
                            await tx.execute(bad)
                async with tx.savepoint():
                    await tx.execute(INSERT, (3,))
                    tx.on_commit(lambda: called.append(3))
            assert await numbers(database) == [1, 3]
            assert called == [3]

    asyncio.run(main())


@pytest.mark.parametrize("inner_fails", [False, True], ids=["inner kept", "inner failed"])
def test_a_savepoint_around_another_takes_back_both(opened, inner_fails):
    """When the outer block raises all of it goes, whatever became of the inner one: what was written before that one too."""

    async def main():
        async with opened() as database:
            async with database.transaction() as tx:
                await tx.execute(INSERT, (1,))
                with pytest.raises(KeyError, match="outer"):  # noqa: PT012 - the block is the thing
                    async with tx.savepoint():
                        await tx.execute(INSERT, (2,))
                        with suppress(ZeroDivisionError):
                            async with tx.savepoint():
                                await tx.execute(INSERT, (3,))
                                if inner_fails:
                                    raise ZeroDivisionError
                        await tx.execute(INSERT, (4,))
                        raise KeyError("outer")
                async with tx.savepoint():
                    await tx.execute(INSERT, (5,))
            assert await numbers(database) == [1, 5]

    asyncio.run(main())


def test_a_transaction_is_of_no_use_after_its_end(opened):
    """Whoever kept it gets `NoTransaction`, and nothing is written."""

    async def main():
        async with opened() as database:
            async with database.transaction() as tx:
                pass
            for use in (tx.execute(INSERT, (1,)), tx.fetch_all("SELECT 1"), tx.execute_many(INSERT, [(1,)])):
                with pytest.raises(NoTransaction):
                    await use
            assert await numbers(database) == []

    asyncio.run(main())


def test_a_commit_inside_the_block_is_noticed(opened):
    """Who ends the transaction by hand cannot go on as if it were open."""

    async def main():
        async with opened() as database:
            with pytest.raises(NoTransaction):  # noqa: PT012 - the block is the thing
                async with database.transaction() as tx:
                    await tx.execute("COMMIT")
                    await tx.execute(INSERT, (1,))
            assert await numbers(database) == []

    asyncio.run(main())


def test_cancellation_rolls_back_and_frees_everything(opened):
    """A cancelled block has written nothing, holds no lock, and leaves the database as quick as before."""

    async def main():
        async with opened() as database:
            inside = asyncio.Event()

            async def block():
                async with database.transaction() as tx:
                    await tx.lock("x")
                    await tx.execute(INSERT, (1,))
                    inside.set()
                    await asyncio.Event().wait()

            for _ in range(20):  # more than any pool has connections
                task = asyncio.create_task(block())
                await inside.wait()
                inside.clear()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            async with database.transaction() as tx:
                await tx.lock("x")
                await tx.execute(INSERT, (2,))
            assert await numbers(database) == [2]

    asyncio.run(main())


def test_a_second_transaction_inside_the_first_is_refused(opened):
    """It would wait for the first one for ever, so it is an error at once; the first one goes on."""

    async def main():
        async with opened() as database:
            async with database.transaction() as tx:
                with pytest.raises(NestedTransaction):
                    async with database.transaction():
                        raise AssertionError
                await tx.execute(INSERT, (1,))
            assert await numbers(database) == [1]

    asyncio.run(main())


def test_the_line_is_bounded(opened):
    """Beyond the bound callers are told so at once instead of waiting; those in the line all get their turn."""

    async def main():
        async with opened(_max_waiting=15) as database:
            release = asyncio.Event()

            async def hold(n):
                async with database.transaction() as tx:
                    await release.wait()
                    await tx.execute(INSERT, (n,))

            tasks = [asyncio.create_task(hold(n)) for n in range(40)]
            await asyncio.wait(tasks, timeout=5, return_when=asyncio.FIRST_EXCEPTION)
            while not any(task.done() for task in tasks):
                await asyncio.sleep(0)
            release.set()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            refused = [result for result in results if isinstance(result, StoreBusy)]
            assert refused
            assert len(await numbers(database)) == 40 - len(refused)

    asyncio.run(main())


def test_the_wait_is_bounded(opened):
    """Who waits longer than allowed gets `StoreBusy`, and wrote nothing."""

    async def main():
        async with opened() as database:
            inside, leave = asyncio.Event(), asyncio.Event()

            async def hold():
                async with database.transaction():
                    inside.set()
                    await leave.wait()

            async def other():
                async with database.transaction() as tx:
                    await tx.execute(INSERT, (2,))

            holders = [asyncio.create_task(hold()) for _ in range(getattr(database, "_size", 1))]
            for _ in holders:
                await inside.wait()
            while len(getattr(database, "_holders", holders)) < len(holders):
                await asyncio.sleep(0)
            database._wait = 0.05
            with pytest.raises(StoreBusy):
                await asyncio.create_task(other())
            leave.set()
            await asyncio.gather(*holders)
            assert await numbers(database) == []

    asyncio.run(main())


def test_who_takes_the_same_lock_takes_turns(opened):
    """Of two transactions with one lock the second sees what the first committed."""

    async def main():
        async with opened() as database:

            async def count_up():
                async with database.transaction() as tx:
                    await tx.lock("counter")
                    top = (await tx.fetch_one("SELECT coalesce(max(n), 0) FROM t"))[0]
                    await asyncio.sleep(0)
                    await tx.execute(INSERT, (top + 1,))

            await asyncio.gather(*(count_up() for _ in range(25)))
            assert await numbers(database) == list(range(1, 26))

    asyncio.run(main())


def test_an_action_has_its_effect_once_however_many_ask_at_once(opened):
    """Concurrent requests with one key: one effect, one answer for all of them."""

    async def main():
        async with opened() as database:
            barrier, runs = Barrier(), []

            async def ask():
                async with database.transaction() as tx:
                    return await barrier.act(tx, "saga:step:do", lambda: effect(tx), given=1)

            async def effect(tx):
                runs.append(1)
                await asyncio.sleep(0)
                await tx.execute(INSERT, (len(runs),))
                return len(runs)

            assert await asyncio.gather(*(ask() for _ in range(8))) == [1] * 8
            assert await numbers(database) == [1]

    asyncio.run(main())


def test_the_owner_stands_in_the_database(opened):
    """A second service that is given the same database is refused, by name."""

    async def main():
        async with opened():
            pass
        with pytest.raises(WrongOwner, match="belongs to the service 'order'; give 'payment' a database of its own"):
            async with opened(owner="payment"):
                raise AssertionError

    asyncio.run(main())


def test_a_database_must_be_open(address, tmp_path):
    """Before `open` and after `close` it says so; `close` may come twice."""

    async def main():
        database = connect(address, owner="order", data=tmp_path)
        with pytest.raises(StoreError, match="not open"):
            await database.fetch_one("SELECT 1")
        await database.open()
        assert (await database.fetch_one("SELECT 1"))[0] == 1
        await database.close()
        await database.close()
        with pytest.raises(StoreError, match="not open"):
            async with database.transaction():
                raise AssertionError

    asyncio.run(main())


def test_migrations_are_applied_once_by_many_processes_at_a_time(opened, tmp_path):
    """Several processes that start together apply each file once; a folder for an engine goes before the files beside it."""
    for engine in ("sqlite", "postgresql"):
        (tmp_path / "sql" / engine).mkdir(parents=True)
        (tmp_path / "sql" / engine / "0001_a.sql").write_text("CREATE TABLE a (n INTEGER);\nINSERT INTO a VALUES (1);")

    async def main():
        async with opened() as first, opened() as second, opened() as third:
            databases = (first, second, third)
            applied = await asyncio.gather(*(migrate(d, "shop", tmp_path / "sql") for d in databases))
            assert sorted(applied) == [[], [], ["0001"]]
            assert [row[0] for row in await first.fetch_all("SELECT n FROM a")] == [1]

    asyncio.run(main())


def test_a_failing_migration_rolls_its_file_back(opened, tmp_path):
    """The error names the file; nothing of it stays, and the mended file is applied."""
    (tmp_path / "sql").mkdir()
    file = tmp_path / "sql" / "0001_a.sql"
    file.write_text("CREATE TABLE a (n INTEGER);\nINSERT INTO nowhere VALUES (1);")

    async def main():
        async with opened() as database:
            with pytest.raises(MigrationError, match=r"0001_a.sql: .*nowhere"):
                await migrate(database, "shop", tmp_path / "sql")
            file.write_text("CREATE TABLE a (n INTEGER);")
            assert await migrate(database, "shop", tmp_path / "sql") == ["0001"]
            file.write_text("CREATE TABLE a (m INTEGER);")
            with pytest.raises(MigrationError, match="was changed after it was applied"):
                await migrate(database, "shop", tmp_path / "sql")

    asyncio.run(main())


def test_receipts_expire_in_bounded_steps(opened):
    """What is past its retention goes, at most 1,000 at a time; what is not stays."""

    async def main():
        async with opened() as database:
            async with database.transaction() as tx:
                await tx.execute_many(
                    "INSERT INTO skerry_receipts VALUES ('s', ?, 'done', '', NULL, ?)",
                    [(str(n), 1.0) for n in range(1500)] + [("fresh", 1e12)],
                )
            receipts, steps = Receipts(), []
            for _ in range(3):
                async with database.transaction() as tx:
                    steps.append(await receipts.prune(tx))
            assert steps == [1000, 500, 0]
            assert [row[0] for row in await database.fetch_all("SELECT key FROM skerry_receipts")] == ["fresh"]

    asyncio.run(main())


def test_one_leads_and_the_next_follows(opened):
    """A role has one holder; when it is given back the next one gets it, with a higher or equal epoch and a good fence."""

    async def main():
        async with opened() as first, opened() as second:
            order = []

            async def follow():
                async with second.lead("relay", poll=0.01) as lease:
                    order.append("second")
                    lease.check()
                    async with second.transaction() as tx:
                        await lease.fence(tx)

            async with first.lead("relay", poll=0.01) as lease, first.lead("saga", poll=0.01):
                follower = asyncio.create_task(follow())
                async with first.transaction() as tx:
                    await lease.fence(tx)
                order.append("first")
            await follower
            assert order == ["first", "second"]

    asyncio.run(main())


def test_a_role_asks_with_its_first_message(opened):
    """The question that comes with a role's transaction has as many rows as it finds; one that fails leaves nothing open."""

    async def main():
        async with opened() as database, database.lead("relay") as lease:
            async with lease.transaction("SELECT n FROM t WHERE n < ?", (2,)) as tx:
                assert not tx.found
                await tx.execute("INSERT INTO t VALUES (1)")
            async with lease.transaction("SELECT n FROM t WHERE n < ?", (2,)) as tx:
                assert tx.found
                await tx.execute("INSERT INTO t VALUES (2)")
            for _ in range(20):  # more often than there are connections
                with pytest.raises(Exception, match="nowhere"):
                    async with lease.transaction("SELECT 1 FROM nowhere"):
                        raise AssertionError
            async with lease.transaction() as tx:
                await tx.execute("INSERT INTO t VALUES (3)")
            assert [row[0] for row in await database.fetch_all("SELECT n FROM t ORDER BY n")] == [1, 2, 3]

    asyncio.run(main())


def test_bells_ring(opened):
    """A ring reaches the listener of that name in this process, and no other."""

    async def main():
        async with opened() as database:
            heard, other = asyncio.Event(), asyncio.Event()
            database.on_ring("outbox", heard.set)
            database.on_ring("saga", other.set)
            database.ring("outbox")
            await asyncio.wait_for(heard.wait(), 30)
            assert not other.is_set()

    asyncio.run(main())
