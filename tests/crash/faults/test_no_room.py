"""Disks that are really full: small file systems, which take root to make."""

import asyncio
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
    """A file that takes all the room but `leave` bytes."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    filler = disk / "filler"
    filler.write_bytes(bytes(max(0, free - leave)))
    return filler


def test_a_log_without_room_is_reported_and_nothing_is_lost(tmp_path, small_disk):
    """Events stay in the outbox, whole batches of them; relay and health say so; with room again all of it arrives."""
    disk = small_disk("events", mib=8)

    async def main():
        scene = Scene(tmp_path, size=4000)
        async with scene.playing():
            async with scene.recording():
                await scene.more(20)
                filler = fill(disk, leave=MIB)
                await scene.hears(RelayFailed)
                await scene.until(lambda: scene.found["order"][-1] == "warn")
                assert "full" in scene.of(RelayFailed)[-1].error
                assert not scene.refused
                filler.unlink()
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
                filler = fill(disk, leave=MIB // 16)
                await scene.hears(ConsumerFailed)
                await scene.until(lambda: scene.found["billing"][-1] == "warn")
                assert "full" in scene.of(ConsumerFailed)[-1].error
                filler.unlink()
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
                filler = fill(disk)
                await scene.until(lambda: len(scene.refused) >= 2 * LANES)
                assert {type(error) for error in scene.refused} == {StoreError}
                assert all("order.db" in str(error) for error in scene.refused)
                filler.unlink()
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
                filler = fill(disk)
                await scene.until(lambda: len(scene.refused) >= 2 * LANES)
                assert any("DiskFull" in str(error) for error in scene.refused)
                filler.unlink()
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
                subprocess.run(["mount", "-o", "remount,size=512m", str(disk)], check=True)
                server.stop()
                server.start()
                await scene.more(20)
            await scene.settles()

    with server:
        asyncio.run(main())
