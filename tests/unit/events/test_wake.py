import asyncio
import socket

from skerry.events.brokers.wake import UNSAID, Wake
from skerry.testing import run_virtual


def test_a_ring_wakes_the_listeners_of_other_processes(tmp_path):
    """A ring through one object wakes whoever listens through another, in a folder whose path is too long for a socket."""
    folder = tmp_path / ("long" * 40) / "wake"

    async def main():
        listener, ringer = Wake(folder), Wake(folder)
        await listener.listen("one")
        await listener.listen("two")
        assert [path.name for path in folder.iterdir()] == ["one"]
        waiting = asyncio.create_task(listener.wait(60, after=listener.rings))
        await asyncio.sleep(0)
        await ringer.ring()
        async with asyncio.timeout(10):
            await waiting
        assert listener.rings == 1
        await ringer.close()
        await listener.close()
        await listener.close()
        assert list(folder.iterdir()) == []

    asyncio.run(main())


def test_a_ring_before_the_wait_is_not_lost(tmp_path):
    """A wait that names an older count of rings returns at once; otherwise it ends after its seconds."""

    async def main(clock):
        wake = Wake(tmp_path / "wake")
        before = wake.rings
        await wake.ring()
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

    async def main():
        wake = Wake(tmp_path)
        await wake.ring()
        await wake.close()

    asyncio.run(main())
    assert [path.name for path in tmp_path.iterdir()] in (["file"], [])


def test_a_full_buffer_is_as_good_as_a_ring(tmp_path):
    """A listener that does not read is not waited for, and hears one ring for many."""

    async def main():
        listener, ringer = Wake(tmp_path), Wake(tmp_path)
        await listener.listen("slow")
        for _ in range(2000):
            ringer.ring_others()  # without a turn of the loop in between
        async with asyncio.timeout(10):
            await listener.wait(60, after=0)
        assert 0 < listener.rings < 2000
        await ringer.close()
        await listener.close()

    asyncio.run(main())


def test_where_nothing_can_be_heard_there_is_no_error(tmp_path):
    """Without a folder that can be made, readers poll, and ringing raises nothing."""
    (tmp_path / "file").write_text("")

    async def main():
        blocked, gone = Wake(tmp_path / "file" / "wake"), Wake(tmp_path / "gone")
        await blocked.listen("one")
        await blocked.ring()
        await blocked.close()
        await gone.ring()
        await gone.close()

    asyncio.run(main())


def test_what_was_heard_is_known_by_its_words_within_bounds(tmp_path):
    """A ring's word is there with the number of its last ring; of too many words one is left for all."""

    async def main():
        listener, ringer = Wake(tmp_path), Wake(tmp_path)
        await listener.listen("one")
        for words in ([b"a", b"b"], [b"b"]):
            before = listener.rings
            for word in words:
                await asyncio.to_thread(ringer.ring_others, word)
            async with asyncio.timeout(10):
                await listener.wait(60, after=before)
        last = listener.rings
        assert listener.heard.keys() == {b"a", b"b"}
        assert listener.heard[b"a"] < listener.heard[b"b"] == last
        for number in range(5000):
            listener.stir([b"%d" % number])
        assert len(listener.heard) <= 1001
        assert listener.heard[UNSAID] > last
        await ringer.close()
        await listener.close()

    asyncio.run(main())
