import asyncio
import threading

import pytest

from skerry.testing import Stalled, VirtualClock, VirtualLoop, run_virtual, virtual_time


def test_time_jumps_to_the_next_timer():
    """Sleeping takes no real time, and afterwards exactly the time asked for has passed."""

    async def main(clock: VirtualClock) -> tuple[float, float]:
        wall = clock.now()
        await clock.sleep(86_400 * 400.1)
        return clock.monotonic(), clock.now() - wall

    assert run_virtual(main) == (86_400 * 400.1, 86_400 * 400.1)


def test_timers_run_in_order_at_their_time():
    """Tasks wake in the order of their timers, each at its own instant."""

    async def main(clock: VirtualClock) -> list[tuple[str, float]]:
        seen: list[tuple[str, float]] = []

        async def wake(name: str, seconds: float) -> None:
            await clock.sleep(seconds)
            seen.append((name, clock.monotonic()))

        await asyncio.gather(wake("c", 3.0), wake("a", 1.0), wake("b", 2.0))
        return seen

    assert run_virtual(main) == [("a", 1.0), ("b", 2.0), ("c", 3.0)]


def test_asyncio_timeouts_use_virtual_time():
    """asyncio's own time-outs fire on virtual time."""

    async def main(clock: VirtualClock) -> float:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(clock.sleep(60.0), 5.0)
        return clock.monotonic()

    assert run_virtual(main) == 5.0


def test_deadlock_is_an_error():
    """When every task waits and no timer is set, the run ends with an error that says so."""

    async def main(_: VirtualClock) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stalled, match="deadlock"):
        run_virtual(main)


def test_spinning_is_an_error():
    """A task that never lets time pass is stopped after max_iterations turns."""

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    with (
        asyncio.Runner(loop_factory=lambda: VirtualLoop(max_iterations=1000)) as runner,
        pytest.raises(Stalled, match="1000 turns"),
    ):
        runner.run(spin())


def test_spinning_at_one_moment_is_an_error_sooner(monkeypatch):
    """Without time there is no other end of it; what lets time pass may take as many turns again."""
    monkeypatch.setattr(virtual_time, "MAX_AT_ONCE", 1000)

    async def spin(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)

    async def main(clock: VirtualClock) -> None:
        for _ in range(5):
            await spin(900)
            await clock.sleep(0.001)
        await spin(2000)

    with pytest.raises(Stalled, match=r"1000 turns.*in a ring"):
        run_virtual(main)
    with pytest.raises(Stalled, match="1000 turns"):
        run_virtual(lambda _: spin(2000))


def test_executor_functions_run_at_once():
    """run_in_executor and to_thread run in the calling thread and are done when they return, errors included."""

    async def main(_: VirtualClock) -> None:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(None, threading.get_ident)
        assert future.done()
        assert await future == threading.get_ident()
        with pytest.raises(ValueError, match="invalid literal"):
            await asyncio.to_thread(int, "x")

    run_virtual(main)


def test_sockets_do_not_crash_it():
    """A local connection works; it is polled, never waited for."""

    async def main(_: VirtualClock) -> bytes:
        server = await asyncio.start_server(lambda _, writer: (writer.write(b"hello"), writer.close()), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        reply = await reader.read()
        writer.close()
        await writer.wait_closed()
        server.close()
        return reply

    assert run_virtual(main) == b"hello"


def test_the_same_seed_gives_the_same_run():
    """Numbers, bytes and ids come from the seed alone."""

    async def main(clock: VirtualClock) -> tuple[float, bytes, str, str]:
        return clock.random(), clock.random_bytes(8), clock.hex_id(), str(clock.uuid())

    assert run_virtual(main, seed=3) == run_virtual(main, seed=3)
    assert run_virtual(main, seed=3) != run_virtual(main, seed=4)


def test_sync_sleep_inside_the_loop_makes_timers_due():
    """Blocking code that sleeps moves the loop's time; timers that fell due run next."""

    async def main(clock: VirtualClock) -> list[float]:
        seen: list[float] = []
        asyncio.get_running_loop().call_later(1.0, lambda: seen.append(clock.monotonic()))
        await asyncio.to_thread(clock.sleep_sync, 5.0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return seen

    assert run_virtual(main) == [5.0]


def test_clock_without_a_loop():
    """Without a loop time moves by advance, by sleeping and by waiting, never by itself."""
    clock = VirtualClock(start=1000.0)
    clock.advance(1.0)
    clock.sleep_sync(2.0)
    asyncio.run(clock.sleep(3.0))
    assert clock.wait(threading.Event(), 4.0) is False
    done = threading.Event()
    done.set()
    assert clock.wait(done, 4.0) is True
    assert (clock.monotonic(), clock.now()) == (10.0, 1010.0)


def test_wall_clock_steps_leave_monotonic_alone():
    """step_wall moves now() only."""
    clock = VirtualClock(start=1000.0)
    clock.step_wall(-100.0)
    assert (clock.monotonic(), clock.now()) == (0.0, 900.0)


def test_leftover_tasks_are_cancelled():
    """Tasks still running when main returns are cancelled before run_virtual returns."""
    ended = []

    async def background(clock: VirtualClock) -> None:
        try:
            await clock.sleep(1e9)
        finally:
            ended.append(True)

    async def main(clock: VirtualClock) -> None:
        task = asyncio.create_task(background(clock))
        await clock.sleep(0)
        assert not task.done()

    run_virtual(main)
    assert ended == [True]
