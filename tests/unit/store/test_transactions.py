import asyncio
import logging
import sqlite3

import pytest

from skerry.clock import SYSTEM
from skerry.errors import NestedTransaction, NoTransaction, StoreBusy, StoreError
from skerry.store import SQLiteDatabase
from skerry.testing import run_virtual

INSERT = "INSERT INTO t VALUES (?)"


async def numbers(database):
    return [row["n"] for row in await database.fetch_all("SELECT n FROM t ORDER BY n")]


def test_a_block_that_ends_commits(opened):
    """What a block wrote is there once it has ended, also for the next opening of the file."""

    async def main(clock):
        async with opened() as database, database.transaction() as tx:
            assert await tx.execute(INSERT, (1,)) == 1
            await tx.execute_many(INSERT, [(2,), (3,)])
            assert [row[0] for row in await tx.fetch_all("SELECT n FROM t")] == [1, 2, 3]
            assert (await tx.fetch_one("SELECT max(n) AS top FROM t"))["top"] == 3
        async with opened() as database:
            assert await numbers(database) == [1, 2, 3]
            assert await database.fetch_one("SELECT n FROM t WHERE n > 3") is None

    run_virtual(main)


def test_a_block_that_raises_rolls_back(opened):
    """An exception in the block takes everything back and reaches the caller as it is."""

    async def main(clock):
        async with opened() as database:
            with pytest.raises(KeyError, match="mine"):  # noqa: PT012 - the block is the thing
                async with database.transaction() as tx:
                    await tx.execute(INSERT, (1,))
                    raise KeyError("mine")
            assert await numbers(database) == []

    run_virtual(main)


def test_uncommitted_rows_are_not_seen_outside(opened):
    """A query outside the transaction sees only what is committed and does not wait for the writer."""

    async def main(clock):
        async with opened() as database, database.transaction() as tx:
            await tx.execute(INSERT, (1,))
            assert await numbers(database) == []

    run_virtual(main)


def test_the_callers_own_sql_errors_stay_what_they_are(opened):
    """A constraint or syntax error is the caller's and is not dressed up as trouble with the store."""

    async def main(clock):
        async with opened() as database:
            async with database.transaction() as tx:
                await tx.execute(INSERT, (1,))
                with pytest.raises(sqlite3.IntegrityError):
                    await tx.execute(INSERT, (1,))
                await tx.execute(INSERT, (2,))
            assert await numbers(database) == [1, 2]
            with pytest.raises(sqlite3.OperationalError, match="syntax"):
                await database.fetch_all("SELEC")

    run_virtual(main)


def test_cancellation_in_the_block_rolls_back(opened):
    """A task cancelled inside its block leaves nothing, and the writer is free for the next one."""

    async def main(clock):
        async with opened() as database:

            async def work():
                async with database.transaction() as tx:
                    await tx.execute(INSERT, (1,))
                    await clock.sleep(60)

            task = asyncio.create_task(work())
            await clock.sleep(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with database.transaction() as tx:
                await tx.execute(INSERT, (2,))
            assert await numbers(database) == [2]

    run_virtual(main)


def test_cancellation_during_begin_leaves_no_transaction(opened):
    """A task cancelled as it begins ends where it first waits, and the writer is free for the next one."""

    async def main(clock):
        async with opened() as database:

            async def work():
                asyncio.current_task().cancel()
                async with database.transaction() as tx:
                    await tx.execute(INSERT, (1,))
                    await clock.sleep(60)
                    pytest.fail("went on")

            with pytest.raises(asyncio.CancelledError):
                await asyncio.create_task(work())
            async with database.transaction() as tx:
                await tx.execute(INSERT, (2,))
            assert await numbers(database) == [2]

    run_virtual(main)


def test_cancellation_during_begin_wins_over_a_failing_begin(opened, monkeypatch):
    """When BEGIN fails while its task is cancelled, the task ends as cancelled: the error must not swallow that."""

    monkeypatch.setattr("skerry.store.sqlite.BUSY_MS", 50)

    async def main():
        async with opened() as database:
            other = sqlite3.connect(database.path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")

            async def work():
                asyncio.current_task().cancel()
                async with database.transaction() as tx:
                    await tx.execute("CREATE TABLE t (n INTEGER)")
                    pytest.fail("entered")

            with pytest.raises(asyncio.CancelledError):
                await asyncio.create_task(work())
            with pytest.raises(StoreBusy, match="locked by another process"):  # noqa: PT012 - the first statement begins
                async with database.transaction() as tx:
                    await tx.execute("CREATE TABLE t (n INTEGER)")
                    pytest.fail("entered")
            other.close()

    asyncio.run(main())


def test_cancellation_during_commit_finishes_the_commit(opened):
    """A task cancelled while COMMIT is under way ends as cancelled with its rows written and its callbacks called."""

    async def main(clock):
        called = []
        async with opened() as database:

            async def work():
                async with database.transaction() as tx:
                    await tx.execute(INSERT, (1,))
                    tx.on_commit(lambda: called.append(1))
                    asyncio.current_task().cancel()

            with pytest.raises(asyncio.CancelledError):
                await asyncio.create_task(work())
            assert await numbers(database) == [1]
            assert called == [1]

    run_virtual(main)


def test_a_cancelled_statement_does_not_hold_up_the_roll_back(opened):
    """A statement that would run for a minute is interrupted when its task is cancelled, and the writer goes on."""

    async def main():
        async with opened() as database:
            before = SYSTEM.monotonic()
            long = (
                "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 300000000) SELECT max(n) FROM r"
            )
            with pytest.raises(TimeoutError):  # noqa: PT012 - the block is the thing
                async with asyncio.timeout(0.1), database.transaction() as tx:
                    await tx.execute(INSERT, (1,))
                    await tx.fetch_one(long)
            assert SYSTEM.monotonic() - before < 15
            async with database.transaction() as tx:
                await tx.execute(INSERT, (2,))
            assert await numbers(database) == [2]

    asyncio.run(main())


def test_a_transaction_is_of_no_use_after_its_end(opened):
    """Once its block has ended, by commit or roll-back, a transaction raises NoTransaction."""

    async def main(clock):
        async with opened() as database:
            async with database.transaction() as tx:
                pass
            with pytest.raises(NoTransaction, match="has ended"):
                await tx.execute(INSERT, (1,))
            with pytest.raises(KeyError):
                async with database.transaction() as tx:
                    raise KeyError
            with pytest.raises(NoTransaction, match="has ended"):
                await tx.fetch_all("SELECT 1")

    run_virtual(main)


def test_nothing_commits_alone_after_sqlite_rolled_back(opened):
    """When an error made SQLite end the transaction, later statements of the block are refused instead of committing alone."""

    async def main(clock):
        async with opened() as database:
            with pytest.raises(NoTransaction, match="inside its block"):  # noqa: PT012 - the block is the thing
                async with database.transaction() as tx:
                    await tx.execute(INSERT, (1,))
                    with pytest.raises(sqlite3.IntegrityError):
                        await tx.execute("INSERT OR ROLLBACK INTO t VALUES (1)")
                    await tx.execute(INSERT, (2,))
            assert await numbers(database) == []

    run_virtual(main)


def test_a_failed_commit_rolls_back_and_frees_the_writer(opened):
    """A COMMIT that fails leaves nothing of its transaction, and the next one starts clean."""

    async def main(clock):
        async with opened() as database:
            async with database.transaction() as tx:
                await tx.execute("CREATE TABLE child (n REFERENCES t (n) DEFERRABLE INITIALLY DEFERRED)")
            called = []
            with pytest.raises(sqlite3.IntegrityError):  # noqa: PT012 - the block is the thing
                async with database.transaction() as tx:
                    tx.on_commit(lambda: called.append(1))
                    await tx.execute("INSERT INTO child VALUES (7)")
            async with database.transaction() as tx:
                await tx.execute(INSERT, (1,))
            assert (await numbers(database), called) == ([1], [])
            assert await database.fetch_all("SELECT * FROM child") == []

    run_virtual(main)


def test_callbacks_run_only_after_the_commit(opened):
    """on_commit callbacks see the committed rows, and none runs after a roll-back."""

    async def main(clock):
        async with opened() as database:
            other = sqlite3.connect(database.path)
            seen = []

            def look():
                seen.append(other.execute("SELECT count(*) FROM t").fetchone()[0])

            async with database.transaction() as tx:
                tx.on_commit(look)
                await tx.execute(INSERT, (1,))
                assert seen == []
            assert seen == [1]
            with pytest.raises(KeyError):  # noqa: PT012 - the block is the thing
                async with database.transaction() as tx:
                    tx.on_commit(look)
                    raise KeyError
            assert seen == [1]
            other.close()

    run_virtual(main)


def test_a_failing_callback_does_not_make_the_commit_a_failure(opened, caplog):
    """A callback that raises is logged; the block ends well, for its rows are written, and the other callbacks run."""

    async def main(clock):
        called = []
        async with opened() as database:
            async with database.transaction() as tx:
                tx.on_commit(lambda: 1 / 0)
                tx.on_commit(lambda: called.append(1))
                await tx.execute(INSERT, (1,))
            assert (await numbers(database), called) == ([1], [1])

    with caplog.at_level(logging.ERROR, "skerry.store"):
        run_virtual(main)
    assert "callback" in caplog.text


def test_the_line_for_the_writer_is_bounded(opened):
    """When as many wait as may, the next is refused at once with StoreBusy."""

    async def main(clock):
        async with opened(max_waiting=2) as database:

            async def work(number):
                async with database.transaction() as tx:
                    await clock.sleep(1)
                    await tx.execute(INSERT, (number,))

            tasks = [asyncio.create_task(work(n)) for n in range(3)]
            await clock.sleep(0.5)
            with pytest.raises(StoreBusy, match="2 transactions already wait"):
                await work(9)
            await asyncio.gather(*tasks)
            assert await numbers(database) == [0, 1, 2]

    run_virtual(main)


def test_the_wait_for_the_writer_is_bounded(opened):
    """Who waits longer than `wait` seconds gets StoreBusy, and nothing was written."""

    async def main(clock):
        async with opened(wait=2.0) as database:

            async def work():
                async with database.transaction():
                    await clock.sleep(10)

            task = asyncio.create_task(work())
            await clock.sleep(1)
            before = clock.monotonic()
            with pytest.raises(StoreBusy, match="waited 2 s"):
                async with database.transaction():
                    pytest.fail("entered")
            assert clock.monotonic() - before == pytest.approx(2.0)
            await task

    run_virtual(main)


def test_transactions_take_turns_in_order(opened):
    """The writer serves first come, first served, also past one that gave up waiting."""

    async def main(clock):
        order = []
        async with opened() as database:

            async def work(number):
                async with database.transaction():
                    order.append(number)
                    await clock.sleep(1)

            tasks = [asyncio.create_task(work(n)) for n in range(4)]
            await clock.sleep(0.5)
            tasks[1].cancel()
            await asyncio.wait(tasks)
            assert order == [0, 2, 3]

    run_virtual(main)


def test_a_second_transaction_inside_the_first_is_refused(opened):
    """A task that opens a transaction inside its own gets NestedTransaction at once instead of waiting for itself."""

    async def main(clock):
        async with opened() as database:
            async with database.transaction() as tx:
                with pytest.raises(NestedTransaction, match="already"):
                    async with database.transaction():
                        pytest.fail("entered")
                await tx.execute(INSERT, (1,))
            assert (await numbers(database), clock.monotonic()) == ([1], 0.0)

    run_virtual(main)


def test_another_task_may_wait_for_the_one_that_made_it(opened):
    """A task made inside a block may open its own transaction and gets its turn afterwards."""

    async def main(clock):
        async with opened() as database:

            async def work():
                async with database.transaction() as tx:
                    await tx.execute(INSERT, (2,))

            async with database.transaction() as tx:
                task = asyncio.create_task(work())
                await tx.execute(INSERT, (1,))
            await task
            assert await numbers(database) == [1, 2]

    run_virtual(main)


def test_close_waits_for_the_block_and_refuses_what_comes_after(opened):
    """close lets the running transaction finish; waiting and later callers get StoreError; closing twice is fine."""

    async def main(clock):
        async with opened() as database:

            async def work(number, seconds):
                async with database.transaction() as tx:
                    await clock.sleep(seconds)
                    await tx.execute(INSERT, (number,))

            running = asyncio.create_task(work(1, 5))
            await clock.sleep(1)
            closing = asyncio.create_task(database.close())
            await clock.sleep(1)
            late = asyncio.create_task(work(2, 0))
            await asyncio.wait({running, closing, late})
            running.result()
            with pytest.raises(StoreError, match="not open"):
                late.result()
            with pytest.raises(StoreError, match="not open"):
                await database.fetch_one("SELECT 1")
            await database.close()
        other = sqlite3.connect(database.path)
        assert other.execute("SELECT n FROM t").fetchall() == [(1,)]
        other.close()

    run_virtual(main)


def test_real_threads_keep_the_order_of_many_tasks(opened):
    """With real threads, a hundred tasks that increment one row at once lose no update."""

    async def main():
        async with opened() as database:
            async with database.transaction() as tx:
                await tx.execute(INSERT, (0,))

            async def work():
                async with database.transaction() as tx:
                    value = (await tx.fetch_one("SELECT n FROM t"))[0]
                    await tx.execute("UPDATE t SET n = ?", (value + 1,))

            await asyncio.gather(*(work() for _ in range(100)))
            assert await numbers(database) == [100]

    asyncio.run(main())


def test_a_database_must_be_opened_first(tmp_path):
    """Using a database that was not opened raises StoreError that says so."""

    async def main(clock):
        database = SQLiteDatabase(tmp_path / "x.db", owner="order")
        with pytest.raises(StoreError, match="not open"):
            async with database.transaction():
                pytest.fail("entered")
        await database.close()

    run_virtual(main)
