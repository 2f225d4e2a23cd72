"""A database, a file system, that only reads for a while."""

import asyncio
import subprocess

import pytest
from scene import LANES, Scene

from skerry.errors import StoreError
from skerry.signals import ConsumerFailed, HealthChanged, RelayFailed


def only_reads(server, names):
    """Sessions that begin from now on only read, and those there are end: what a fail-over may look like."""
    for name in names:
        server.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")


def writes(server, names):
    """Sessions that begin from now on write; those there are go on reading only."""
    for name in names:
        server.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')


def all_only_read(server, names):
    """All sessions, of now and later."""
    server.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    server.execute("SELECT pg_reload_conf()")


def all_write(server, names):
    server.execute("ALTER SYSTEM RESET default_transaction_read_only")
    server.execute("SELECT pg_reload_conf()")


@pytest.mark.parametrize(
    ("begin", "end"), [(only_reads, writes), (all_only_read, all_write)], ids=["new sessions", "all sessions"]
)
def test_a_postgresql_that_only_reads_is_reported_and_left_behind(begin, end, tmp_path, postgres, databases):
    """Writers get StoreError, relay, consumer and health say so; once it writes again all goes on, on old connections too."""
    names = [address.partition("?")[0].rpartition("/")[2] for address in databases.values()]

    async def main():
        scene = Scene(tmp_path, **databases)
        async with scene.playing():
            async with scene.recording():
                await scene.more(100)
                await scene.later(3.0)  # or the relay may have nothing to hand over when its database only reads
                begin(postgres, names)
                try:
                    scene.refused.clear()
                    await scene.hears(RelayFailed, ConsumerFailed, HealthChanged)
                    await scene.until(lambda: len(scene.refused) >= 5 * LANES)
                    assert {type(error) for error in scene.refused} == {StoreError}
                    assert any("ReadOnly" in str(error) for error in scene.refused)
                finally:
                    end(postgres, names)
                await scene.more(100)
            await scene.settles()

    asyncio.run(main())


def remount(folder, how):
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


@pytest.mark.root
def test_a_log_on_a_file_system_that_only_reads_is_reported_and_waited_for(tmp_path, small_disk):
    """Events stay in the outbox and the relay says why; once the file system is writable the same process goes on."""
    events = small_disk("events", mib=8)
    remount(events, "ro")

    async def main():
        scene = Scene(tmp_path)
        async with scene.playing():
            async with scene.recording():
                await scene.hears(RelayFailed)
                await scene.until(lambda: scene.found["order"][-1] == "warn")
                assert "Read-only file system" in scene.of(RelayFailed)[-1].error
                assert not scene.refused
                remount(events, "rw")
                await scene.more(100)
            await scene.settles()

    asyncio.run(main())


@pytest.mark.root
def test_a_database_file_on_a_file_system_that_only_reads_is_named(tmp_path, small_disk):
    """A service does not start on it, and says which file; once it is writable the service starts and all is there."""
    disk = small_disk("disk", mib=8)
    address = f"sqlite:///{disk}/order.db"

    async def main():
        async with Scene(tmp_path, order=address).playing():
            pass
        remount(disk, "ro")
        with pytest.raises(StoreError, match=r"order\.db"):
            async with Scene(tmp_path, order=address).playing():
                pytest.fail("it started")
        remount(disk, "rw")
        scene = Scene(tmp_path, order=address)
        async with scene.playing():
            async with scene.recording():
                await scene.more(20)
            await scene.settles()

    asyncio.run(main())
