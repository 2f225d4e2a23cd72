import asyncio
import socket

from skerry.events.brokers.wake import Wake
from skerry.testing import run_virtual


def test_a_ring_wakes_the_listeners_of_other_processes(tmp_path):
    """A ring through one object wakes whoever listens through another, in a folder whose path is too long for a socket."""
    folder = tmp_path / ("long" * 40) / "wake"

    async def main():
        listener, ringer = Wake(folder), Wake(folder)
        listener.listen("one")
        listener.listen("two")
        assert [path.name for path in folder.iterdir()] == ["one"]
        waiting = asyncio.create_task(listener.wait(60, after=listener.rings))
        await asyncio.sleep(0)
        ringer.ring()
        async with asyncio.timeout(10):
            await waiting
        assert listener.rings == 1
        ringer.close()
        listener.close()
        listener.close()
        assert list(folder.iterdir()) == []

    asyncio.run(main())


def test_a_ring_before_the_wait_is_not_lost(tmp_path):
    """A wait that names an older count of rings returns at once; otherwise it ends after its seconds."""

    async def main(clock):
        wake = Wake(tmp_path / "wake")
        before = wake.rings
        wake.ring()
        await wake.wait(60, after=before)
        assert clock.monotonic() == 0
        await wake.wait(60, after=wake.rings)
        assert clock.monotonic() == 60

    run_virtual(main)


def test_dead_listeners_are_removed(tmp_path):
    """The socket of a process that was killed goes away at the next ring; other files stay."""
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    dead.bind(str(tmp_path / "dead"))
    dead.close()
    (tmp_path / "file").write_text("")
    wake = Wake(tmp_path)
    wake.ring()
    wake.close()
    assert [path.name for path in tmp_path.iterdir()] in (["file"], [])


def test_a_full_buffer_is_as_good_as_a_ring(tmp_path):
    """A listener that does not read is not waited for, and hears one ring for many."""

    async def main():
        listener, ringer = Wake(tmp_path), Wake(tmp_path)
        listener.listen("slow")
        for _ in range(2000):
            ringer.ring()
        async with asyncio.timeout(10):
            await listener.wait(60, after=0)
        assert 0 < listener.rings < 2000
        ringer.close()
        listener.close()

    asyncio.run(main())


def test_listening_without_a_loop_or_a_folder_hears_nothing(tmp_path):
    """Where nothing can be heard there is no error: readers poll, and ringing never raises."""
    wake = Wake(tmp_path / "wake")
    wake.listen("early")
    wake.close()
    (tmp_path / "file").write_text("")

    async def main():
        blocked = Wake(tmp_path / "file" / "wake")
        blocked.listen("one")
        blocked.ring()
        blocked.close()

    asyncio.run(main())
    gone = Wake(tmp_path / "gone")
    gone.ring()
    gone.close()
