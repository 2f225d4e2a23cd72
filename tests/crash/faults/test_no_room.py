"""Disks that are really full: small file systems, which take root to make."""

import asyncio
import errno
import os
import subprocess

import pytest
from scene import LANES, Scene

from servers.nats import NatsServer
from servers.postgresql import PostgresServer
from skerry.errors import StoreError
from skerry.signals import ConsumerFailed, RelayFailed

pytestmark = pytest.mark.root
MIB = 1024 * 1024


def fill(disk, *, leave=0):
    """Take all the room but `leave` bytes, whatever others write in the meantime."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        while (room := _room(disk) - leave) > 0:
            try:
                filler.write(bytes(min(MIB, room)))
            except OSError as error:
                if error.errno != errno.ENOSPC:  # it is when others took the rest
                    raise
                break


def enlarge(disk):
    """Give a full disk room again: more than what waits by now can fill, however fast it was recorded."""
    (disk / "filler").unlink(missing_ok=True)
    subprocess.run(["mount", "-o", "remount,size=512m", str(disk)], check=True)


def _room(disk):
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def test_a_log_without_room_is_reported_and_nothing_is_lost(tmp_path, small_disk):
    """Events stay in the outbox, whole batches of them; relay and health say so; with room again all of it arrives."""
    disk = small_disk("events", mib=8)

    async def main():
        scene = Scene(tmp_path, size=4000)
        async with scene.playing():
            async with scene.recording():
                await scene.more(20)
                fill(disk, leave=MIB)
                await scene.hears(RelayFailed)
                await scene.until(lambda: scene.found["order"][-1] == "warn")
                assert "full" in scene.of(RelayFailed)[-1].error
                assert not scene.refused
                enlarge(disk)
                await scene.more(20)
            await scene.settles()

    asyncio.run(main())


def test_a_consumers_database_without_room_is_reported_and_nothing_is_lost(tmp_path, small_disk):
    """An event whose receipt finds no room is not handled; consumer and health say so; with room again it goes on."""
    disk = small_disk("disk", mib=8)

    async def main():
        scene = Scene(tmp_path, billing=f"sqlite:///{disk}/billing.db")
        async with scene.playing():
            async with scene.recording():
                await scene.more(20)
                fill(disk, leave=MIB // 16)
                await scene.hears(ConsumerFailed)
                await scene.until(lambda: scene.found["billing"][-1] == "warn")
                assert "full" in scene.of(ConsumerFailed)[-1].error
                enlarge(disk)
                await scene.more(100)
            await scene.settles()

    asyncio.run(main())


def test_an_outbox_without_room_is_reported_and_nothing_is_lost(tmp_path, small_disk):
    """Who records gets StoreError and nothing of the transaction stays; with room again the same process goes on."""
    disk = small_disk("disk", mib=8)

    async def main():
        scene = Scene(tmp_path, order=f"sqlite:///{disk}/order.db", size=4000)
        async with scene.playing():
            async with scene.recording():
                await scene.more(20)
                fill(disk)
                await scene.until(lambda: len(scene.refused) >= 2 * LANES)
                assert {type(error) for error in scene.refused} == {StoreError}
                assert all("order.db" in str(error) for error in scene.refused)
                enlarge(disk)
                await scene.more(100)
            await scene.settles()
            assert (await scene.order.database.fetch_one("PRAGMA quick_check(1)"))[0] == "ok"

    asyncio.run(main())


def test_a_postgresql_without_room_is_reported_and_nothing_is_lost(tmp_path, small_disk):
    """What a table has no room for is StoreError for who records; with room again all goes on by itself."""
    server = PostgresServer(tmp_path / "postgresql")
    disk = small_disk("disk", mib=96, within=server.socket_folder)
    server.data = disk / "data"
    server.prepare()
    kept = server.socket_folder / "wal"  # the log of writes has a disk of its own: without room for it a server ends
    subprocess.run(["mv", server.data / "pg_wal", kept], check=True)
    (server.data / "pg_wal").symlink_to(kept)

    async def main():
        order, billing = server.own_database("order"), server.own_database("billing")
        scene = Scene(tmp_path, order=order, billing=billing, size=4000)
        async with scene.playing():
            async with scene.recording():
                await scene.more(20)
                fill(disk)
                await scene.until(lambda: len(scene.refused) >= 2 * LANES)
                assert any("DiskFull" in str(error) for error in scene.refused)
                enlarge(disk)
                await scene.more(100)
            await scene.settles()

    with server:
        asyncio.run(main())


def test_a_nats_without_room_is_reported_and_nothing_is_lost(tmp_path, small_disk):
    """Events stay in the outbox and the relay says so. NATS then wants a restart; after it all arrives by itself."""
    server = NatsServer(tmp_path / "nats")
    disk = small_disk("data", mib=16, within=server.folder)

    async def main():
        scene = Scene(tmp_path, broker=server.url("?durability=flushed&timeout=2"), size=100_000)
        async with scene.playing():
            async with scene.recording():
                await scene.hears(RelayFailed)
                await scene.until(lambda: scene.found["order"][-1] == "warn")
                assert not scene.refused
                enlarge(disk)
                server.stop()
                server.start()
                await scene.more(20)
            await scene.settles()

    with server:
        asyncio.run(main())
