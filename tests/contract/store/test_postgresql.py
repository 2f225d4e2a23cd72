"""What holds on PostgreSQL only: a server that goes away, leases that run out, credentials that open too much."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from skerry.errors import (
    ConfigurationError,
    LeaseLost,
    MigrationError,
    StoreBusy,
    StoreError,
    StoreUnavailable,
    WrongOwner,
)
from skerry.service import Service
from skerry.settings import Settings
from skerry.store import connect, migrate
from skerry.store.queries import Statement

HOLDER = """
import asyncio, sys
from pathlib import Path
from skerry.store import connect

async def main():
    database = connect(sys.argv[1], owner="order", data=Path())
    await database.open()
    async with database.lead("relay") as lease:
        print(lease.epoch, flush=True)
        sys.stdin.readline()
        try:
            lease.check()
            async with database.transaction() as tx:
                await lease.fence(tx)
            print("held", flush=True)
        except Exception as error:
            print(type(error).__name__, flush=True)

asyncio.run(main())
"""


@pytest.fixture
def url(postgres, request):
    return postgres.own_database(request.node.name[:50])


@contextlib.asynccontextmanager
async def opening(url, owner="order"):
    database = connect(url, owner=owner, data=Path())
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@contextlib.contextmanager
def holder(url):
    """Another process that holds the role."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_killed_holder_is_followed_at_once(url):
    """Its session ends with the process, so nobody waits for the lease to run out."""

    async def main():
        async with opening(url) as database:
            with holder(url) as process:
                assert await asyncio.to_thread(process.stdout.readline) == "1\n"
                process.kill()
                # far less than the lease, far more than the next try: a bound against hangs, not a measurement
                database._session._clock = _Still()
                async with asyncio.timeout(60), database.lead("relay", poll=0.05) as lease:
                    assert lease.epoch == 2

    class _Still:
        def monotonic(self):
            return 0.0

        async def sleep(self, seconds):
            await asyncio.sleep(seconds)

    asyncio.run(main())


def test_a_stopped_holder_is_followed_when_its_lease_has_run_out_and_is_fenced_off(url):
    """SIGSTOP keeps its session open. Woken, it finds out before and inside its next transaction."""

    async def main():
        async with opening(url) as database:
            with holder(url) as process:
                assert await asyncio.to_thread(process.stdout.readline) == "1\n"
                os.kill(process.pid, signal.SIGSTOP)
                async with asyncio.timeout(60), database.lead("relay", poll=0.05) as lease:
                    assert lease.epoch == 2
                    os.kill(process.pid, signal.SIGCONT)
                    process.stdin.write("\n")
                    process.stdin.flush()
                    assert await asyncio.to_thread(process.stdout.readline) == "LeaseLost\n"
                    async with database.transaction() as tx:
                        await lease.fence(tx)

    asyncio.run(main())


def test_a_lease_taken_by_another_fails_at_the_fence(url):
    """The database's word counts, also while the holder's own clock says that there is time left."""

    async def main():
        async with opening(url) as database, database.lead("relay") as lease:
            async with database.transaction() as tx:
                await tx.execute("UPDATE skerry_leases SET epoch = epoch + 1")
            lease.check()
            with pytest.raises(LeaseLost, match="another process holds the role 'relay'"):
                async with database.transaction() as tx:
                    await lease.fence(tx)

    asyncio.run(main())


@pytest.mark.parametrize("later", [False, True])
def test_a_lease_lost_before_a_commit_fails_it(url, later):
    """Whoever was stopped between BEGIN and COMMIT commits nothing, and the database goes on."""

    async def main():
        async with opening(url) as database, database.lead("relay") as lease:
            async with database.transaction() as tx:
                await tx.execute("CREATE TABLE IF NOT EXISTS fenced (n INTEGER)")
            with pytest.raises(LeaseLost, match="taken the role over meanwhile"):  # noqa: PT012 - the block is the thing
                async with lease.transaction() as tx:
                    if later:
                        tx.later("INSERT INTO fenced VALUES (?)", (1,))
                    else:
                        await tx.execute("INSERT INTO fenced VALUES (?)", (1,))
                    another = await asyncpg.connect(url)
                    await another.execute("UPDATE skerry_leases SET epoch = epoch + 1")
                    await another.close()
            assert await database.fetch_all("SELECT n FROM fenced") == []
            async with database.transaction() as tx:
                await tx.execute("DROP TABLE fenced")

    asyncio.run(main())


def test_a_fenced_transaction_that_asks_nothing_is_one_message(url):
    """What is all left for later goes from BEGIN to COMMIT in one way to the server, or not at all."""

    async def main():
        async with opening(url) as database, database.lead("relay") as lease:
            async with database.transaction() as tx:
                await tx.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
            insert, sent = Statement("INSERT INTO t VALUES (?)"), []
            insert.postgresql = str(insert)
            async with lease.transaction() as tx:
                tx.connection.add_query_logger(lambda message: sent.append(message.query))
                tx.later(insert, (1,))
                tx.later(insert, (2,))
            assert [len(sent), sent[0].split(";")[0], sent[0].split()[-1]] == [1, "BEGIN", "COMMIT"]
            with pytest.raises(asyncpg.UniqueViolationError):  # noqa: PT012 - the block is the thing
                async with lease.transaction() as tx:
                    tx.later(insert, (3,))
                    tx.later(insert, (1,))
            assert [row["n"] for row in await database.fetch_all("SELECT n FROM t ORDER BY n")] == [1, 2]

    asyncio.run(main())


def test_a_division_by_zero_of_ones_own_is_no_lost_lease(url):
    """The caller's own SQL errors stay what they are, inside a fenced transaction too."""

    async def main():
        async with opening(url) as database, database.lead("relay") as lease:
            with pytest.raises(asyncpg.DivisionByZeroError):
                async with lease.transaction() as tx:
                    await tx.fetch_all("SELECT 1 / 0")
            async with lease.transaction() as tx:
                assert await tx.fetch_all("SELECT 1") == [(1,)]

    asyncio.run(main())


def test_a_lease_is_kept_by_renewal(url):
    """A holder that lives keeps its role for longer than one lease, and over the loss of its session."""

    async def main():
        async with opening(url) as first, opening(url) as second, first.lead("relay") as lease:
            contender = asyncio.create_task(_take(second))
            held = "SELECT extract(epoch FROM expires_at)::float8 AS until, epoch FROM skerry_leases"
            begun = (await first.fetch_one(held))["until"]
            async with asyncio.timeout(60):
                while (row := await first.fetch_one(held))["until"] < begun + 4:
                    await asyncio.sleep(0.1)
            assert row["epoch"] == lease.epoch == 1
            lease.check()
            contender.cancel()
            await asyncio.gather(contender, return_exceptions=True)

    async def _take(database):
        async with database.lead("relay", poll=0.05):
            raise AssertionError

    asyncio.run(main())


def test_credentials_that_open_another_services_database_are_refused(postgres, url):
    """A superuser, or any role that can read there, is not a service's own; the error says what to do."""
    other = postgres.own_database("elsewhere")

    async def main():
        async with opening(other, owner="payment"):
            pass
        async with opening(url):
            pass
        name = url.rpartition("/")[2]
        with pytest.raises(WrongOwner, match=r"the credentials of 'order' also open '.*', the database of the service"):
            async with opening(postgres.url(name)):
                raise AssertionError

    asyncio.run(main())


def test_another_services_login_and_tables_are_closed(postgres, url):
    """With its own role a service neither enters nor reads the database of another."""
    other = postgres.own_database("closed")

    async def main():
        async with opening(other, owner="payment"):
            pass
        credentials = url.rpartition("/")[0]
        with pytest.raises(StoreError, match=r"refuses .order. .InsufficientPrivilege"):
            async with opening(f"{credentials}/closed"):
                raise AssertionError
        wrong = url.replace("secret-", "guess-")
        with pytest.raises(StoreError, match="refuses 'order'") as caught:
            async with opening(wrong):
                raise AssertionError
        assert "guess" not in str(caught.value)

    asyncio.run(main())


def test_connections_lost_while_nobody_used_them_fail_no_transaction(url, postgres):
    """After a restart of the server, or of what stands between, the first transactions find other connections."""

    async def main():
        async with opening(url) as database:
            async with database.transaction() as tx:
                await tx.execute("CREATE TABLE t (n INTEGER)")
            everybody = asyncio.Barrier(10)

            async def insert(n):
                async with database.transaction() as tx:
                    await everybody.wait()
                    await tx.execute("INSERT INTO t VALUES (?)", (n,))

            async with asyncio.timeout(60):
                await asyncio.gather(*map(insert, range(10)))
                ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{}' AND state = 'idle'"
                postgres.execute(ended.format(url.rpartition("/")[2]))  # the loop hears of it only in the next line
                await asyncio.gather(*map(insert, range(10)))
            assert (await database.fetch_one("SELECT count(*) FROM t"))[0] == 20

    asyncio.run(main())


def test_a_lost_connection_is_an_error_and_the_next_transaction_works(url, postgres):
    """A backend that is ended mid-transaction rolls back; the caller gets `StoreError`; nothing has to be restarted."""

    async def main():
        async with opening(url) as database:
            async with database.transaction() as tx:
                await tx.execute("CREATE TABLE t (n INTEGER)")
            with pytest.raises(StoreError):  # noqa: PT012 - the block is the thing
                async with database.transaction() as tx:
                    await tx.execute("INSERT INTO t VALUES (1)")
                    pid = (await tx.fetch_one("SELECT pg_backend_pid()"))[0]
                    await asyncio.to_thread(postgres.execute, f"SELECT pg_terminate_backend({pid})")
                    await tx.execute("INSERT INTO t VALUES (2)")
            async with database.transaction() as tx:
                await tx.execute("INSERT INTO t VALUES (3)")
            assert [row[0] for row in await database.fetch_all("SELECT n FROM t")] == [3]

    asyncio.run(main())


def test_a_deadlock_is_busy_and_one_of_the_two_goes_on(url):
    """Two transactions that wait for each other: one is rolled back with `StoreBusy`, which says to try again."""

    async def main():
        async with opening(url) as database:
            async with database.transaction() as tx:
                await tx.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, m INTEGER)")
                await tx.execute("INSERT INTO t VALUES (1, 0), (2, 0)")
            both = asyncio.Barrier(2)

            async def cross(first, second):
                async with database.transaction() as tx:
                    await tx.execute("UPDATE t SET m = m + 1 WHERE n = ?", (first,))
                    await both.wait()
                    await tx.execute("UPDATE t SET m = m + 1 WHERE n = ?", (second,))

            results = await asyncio.gather(cross(1, 2), cross(2, 1), return_exceptions=True)
            assert [type(result) for result in results if result is not None] == [StoreBusy]
            assert [row[0] for row in await database.fetch_all("SELECT m FROM t")] == [1, 1]

    asyncio.run(main())


def test_a_server_that_dies_comes_back_without_a_restart_of_ours(postgres_of_its_own):
    """Killed and started again: errors meanwhile, then everything committed is there and the same object works."""
    server = postgres_of_its_own
    address = server.own_database("phoenix")

    async def main():
        async with opening(address) as database:
            async with database.transaction() as tx:
                await tx.execute("CREATE TABLE t (n INTEGER)")
                await tx.execute("INSERT INTO t VALUES (1)")
            await asyncio.to_thread(server.kill)
            with pytest.raises(StoreError) as lost:  # what it was asked may have been done
                await database.fetch_one("SELECT 1")
            with pytest.raises(StoreUnavailable) as unreachable:  # surely not: a request is answered with 503
                await database.fetch_one("SELECT 1")
            assert "secret" not in f"{lost.value} {unreachable.value}"
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(60):
                while True:
                    with contextlib.suppress(StoreError):
                        row = await database.fetch_one("SELECT n FROM t")
                        break
            assert row[0] == 1
            async with database.lead("relay") as lease, database.transaction() as tx:
                await lease.fence(tx)

    asyncio.run(main())


def test_a_database_that_only_reads_says_so(url, postgres):
    """On a standby, or with read-only set, a write is `StoreError`, not a stack trace of the driver."""
    name = url.rpartition("/")[2]

    async def main():
        async with opening(url) as database:
            async with database.transaction() as tx:
                await tx.execute("CREATE TABLE t (n INTEGER)")
            await asyncio.to_thread(postgres.execute, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        with pytest.raises(StoreError, match="ReadOnly"):
            async with opening(url):
                raise AssertionError

    asyncio.run(main())


def test_a_statement_has_a_limit_and_a_migration_another(url, tmp_path):
    """A statement beyond the limit is StoreError and its connection is gone; the next works; a migration takes its time."""
    (tmp_path / "0001_pre_slow.sql").write_text("SELECT pg_sleep(0.5); CREATE TABLE t (n INTEGER);")

    async def main():
        async with opening(f"{url}?timeout=0.2") as database:
            await migrate(database, "order", tmp_path)
            for _ in range(2):
                with pytest.raises(StoreError, match="no answer in time"):
                    await database.fetch_one("SELECT pg_sleep(60)")
                with pytest.raises(StoreError, match="no answer in time"):  # noqa: PT012 - the block is the thing
                    async with database.transaction() as tx:
                        await tx.execute("INSERT INTO t VALUES (1)")
                        await tx.execute("SELECT pg_sleep(60)")
            assert (await database.fetch_one("SELECT count(*) FROM t"))[0] == 0

    asyncio.run(main())


@pytest.mark.parametrize("text", ["0", "-1", "soon", "", "1e9", "nan"])
def test_a_limit_that_cannot_be_is_refused(text, tmp_path):
    """The error says what cannot be, without repeating the password in the address."""
    with pytest.raises(ConfigurationError, match="timeout") as caught:
        connect(f"postgresql://order:secret@127.0.0.1/order?timeout={text}", owner="order", data=tmp_path)
    assert "secret" not in str(caught.value)


def test_an_address_without_a_host_is_refused(tmp_path):
    """The error shows the form; a password in it is not repeated."""
    with pytest.raises(ConfigurationError, match="needs a host") as caught:
        connect("postgresql:order:secret", owner="order", data=tmp_path)
    assert "secret" not in str(caught.value)


def test_a_role_that_may_create_nothing_runs_a_service(postgres, tmp_path):
    """Where a pipeline migrates as the owner, the service's own role needs rights on the rows only, and refuses what lacks."""
    owner = postgres.own_database("pipeline")
    postgres.execute("CREATE ROLE reader LOGIN PASSWORD 'secret'; GRANT CONNECT ON DATABASE pipeline TO reader")
    address = postgres.url("pipeline", user="reader", password="secret")
    folder = tmp_path / "sql"
    folder.mkdir()
    (folder / "0001_a.sql").write_text("CREATE TABLE a (n INTEGER);")
    rights = "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public"

    def service(url, migrate="never"):
        return Service(
            "order",
            database=url,
            events="sqlite:///events/",
            migrations=folder,
            settings=Settings(data=tmp_path, migrate=migrate),
        )

    async def main():
        with pytest.raises(
            StoreError, match=r"is empty, and the role of 'order' may not create tables: .*db migrate order"
        ):
            await service(address).start()
        pipeline = service(owner, "start")
        await pipeline.open()
        await pipeline.close()
        postgres.execute(f"GRANT {rights} TO reader", database="pipeline")
        for mode in ("never", "start"):  # with nothing to do, either way creates nothing
            running = service(address, mode)
            await running.start()
            assert (await running.readiness()).status == "pass"
            await running.stop()
        (folder / "0002_b.sql").write_text("CREATE TABLE b (n INTEGER);")
        refused = service(address)
        with pytest.raises(MigrationError, match=r"0002_b.sql of order was not applied .*`skerry db migrate order`"):
            await refused.start()
        assert postgres.execute("SELECT to_regclass('b') IS NULL", database="pipeline") == "t\n"

    asyncio.run(main())
