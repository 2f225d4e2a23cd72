"""The thread beside the event loop."""

import asyncio
import gc
import threading
import weakref

import pytest

from skerry.store.patience import finished
from skerry.store.thread import OneThread
from skerry.testing import run_virtual


def test_calls_run_in_their_order_and_tell_what_they_gave_or_raised():
    """All on one thread that is not the event loop's; an error is raised where the call is awaited."""
    order = []

    async def main():
        thread = OneThread("t")
        jobs = [thread.run(lambda n=n: (order.append(n), threading.get_ident())[1]) for n in range(20)]
        with pytest.raises(ZeroDivisionError):
            await thread.run(divmod, 1, 0)
        assert len(set(await asyncio.gather(*jobs)) - {threading.get_ident()}) == 1
        thread.close()
        thread.close()

    asyncio.run(main())
    assert order == list(range(20))


def test_what_is_cancelled_before_its_turn_is_not_called():
    """One that has begun goes on to its end, and those behind it are called."""
    called, go_on, begun = [], threading.Event(), threading.Event()

    async def main():
        thread = OneThread("t")
        first = thread.run(lambda: (begun.set(), go_on.wait(30), called.append("first")))
        second = thread.run(called.append, "second")
        begun.wait(30)
        first.cancel()
        second.cancel()
        go_on.set()
        await thread.run(called.append, "third")
        thread.close()

    asyncio.run(main())
    assert called == ["first", "third"]


def test_an_event_loop_that_has_ended_stops_no_thread():
    """What was under way for it is done for nobody; another loop's calls go on."""
    thread, go_on, begun = OneThread("t"), threading.Event(), threading.Event()

    async def leave():
        thread.run(lambda: (begun.set(), go_on.wait(30)))
        begun.wait(30)

    async def come():
        async with asyncio.timeout(30):
            return await thread.run(int)

    asyncio.run(leave())
    go_on.set()
    assert asyncio.run(come()) == 0
    thread.close()


def test_a_thread_that_nobody_closed_ends_with_its_owner():
    """No thread is left behind by who forgot it; one that is closed takes nothing more."""

    async def main():
        thread = OneThread("forgotten")
        running = await thread.run(threading.current_thread)
        del thread
        gc.collect()
        await asyncio.to_thread(running.join, 30)
        assert not running.is_alive()
        closed = OneThread("closed")
        closed.close()
        with pytest.raises(RuntimeError, match="closed"):
            closed.run(int)

    asyncio.run(main())


def test_an_error_that_was_raised_there_keeps_nothing_alive():
    """Once it is forgotten it is gone, without the collector: what its frames hold may be a connection."""

    class Held:
        pass

    def fail():
        held = Held()
        known.append(weakref.ref(held))
        raise ValueError

    known = []

    async def main():
        thread = OneThread("t")
        with pytest.raises(ValueError, match=r"^$"):
            await thread.run(fail)
        await thread.run(int)
        thread.close()

    gc.disable()
    try:
        asyncio.run(main())
        assert known[0]() is None
    finally:
        gc.enable()


def test_each_event_loop_is_asked_how_it_calls():
    """A loop on virtual time does at once what a real one handed on to the thread, in whichever order they come."""
    thread, there = OneThread("t"), []

    async def real():
        there.extend([await thread.run(threading.get_ident) != threading.get_ident() for _ in range(2)])

    async def virtual(_clock):
        for _ in range(2):
            job = thread.run(threading.get_ident)
            assert job.done()
            there.append(job.result() != threading.get_ident())

    for _ in range(2):
        asyncio.run(real())
        run_virtual(virtual)
    thread.close()
    assert there == [True, True, False, False] * 2


def test_what_is_finished_ends_whatever_comes():
    """Cancelled twice meanwhile, the wait goes on until the job has ended, and says that it was cancelled."""
    outcome = []

    async def main(clock):
        job = asyncio.get_running_loop().create_future()
        waiting = asyncio.create_task(finished(job))
        for _ in range(2):
            await clock.sleep(1)
            waiting.cancel("stop")
            await clock.sleep(1)
            assert not waiting.done()
        job.set_exception(ZeroDivisionError())
        outcome.append(await waiting)
        assert job.exception() is not None
        assert await finished(job) is None  # it has ended already
        ended = asyncio.create_task(finished(job))
        await asyncio.sleep(0)
        ended.cancel()  # in the turn for which it waits all the same
        assert isinstance(await ended, asyncio.CancelledError)

    run_virtual(main)
    assert isinstance(outcome[0], asyncio.CancelledError)
