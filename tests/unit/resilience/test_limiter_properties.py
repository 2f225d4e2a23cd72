"""Whatever happens to its calls, an adaptive limit neither lets too many run nor loses a place."""

import asyncio
import contextlib
import threading

from hypothesis import given
from hypothesis import strategies as st

from skerry.errors import AttemptTimeout, Overloaded
from skerry.resilience import AdaptiveLimit, deadline
from skerry.testing import VirtualClock, run_virtual

CALL = st.tuples(
    st.floats(0, 0.3),  # when it comes
    st.floats(0, 0.2),  # how long it takes
    st.sampled_from(["ok", "slow", "broken"]),
    st.none() | st.floats(0, 0.3),  # when it is cancelled, if it is
    st.none() | st.floats(0.001, 0.2),  # its deadline
)


@given(st.lists(CALL, max_size=40), st.sampled_from(["loss", "delay"]), st.integers(1, 3), st.integers(0, 5))
def test_never_more_than_the_limit_and_no_place_lost(calls, by, least, queue):
    """With calls that fail, are cancelled or run out of time at any moment, the limit holds, and in the end all is free."""

    async def main(clock: VirtualClock) -> None:
        limit = AdaptiveLimit(min=least, max=8, queue=queue, by=by, clock=clock)
        running = 0

        async def work(seconds: float, ending: str) -> None:
            nonlocal running
            running += 1
            assert running <= limit.active <= 8
            assert limit.waiting <= queue
            try:
                await clock.sleep(seconds)
            finally:
                running -= 1
            if ending != "ok":
                raise AttemptTimeout("slow") if ending == "slow" else ValueError

        async def come(at: float, seconds: float, ending: str, limited: float | None) -> None:
            await clock.sleep(at)
            before = limit.limit
            if limited is None:
                await limit.call(work, seconds, ending)
            else:
                async with deadline(limited, clock=clock):
                    await limit.call(work, seconds, ending)
            assert least <= before <= 8

        tasks = []
        for at, seconds, ending, cancelled, limited in calls:
            tasks.append(asyncio.create_task(come(at, seconds, ending, limited)))
            if cancelled is not None:
                asyncio.get_running_loop().call_later(cancelled, tasks[-1].cancel)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not any(isinstance(result, AssertionError) for result in results)
        assert (running, limit.active, limit.waiting) == (0, 0, 0)
        taken = 0
        while limit.enter():
            taken += 1
        assert taken == limit.limit

    run_virtual(main)


def test_no_place_is_lost_between_threads():
    """Threads that enter, wait, fail and leave as they please leave exactly as many places as the limit says."""
    limit = AdaptiveLimit(min=2, max=6, queue=4, queue_timeout=0.01)
    running, peak, lock = 0, 0, threading.Lock()

    def work(number: int) -> None:
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
        threading.Event().wait(0)
        with lock:
            running -= 1
        if number % 7 == 0:
            raise AttemptTimeout("slow")

    def caller() -> None:
        for number in range(100):
            with contextlib.suppress(AttemptTimeout, Overloaded):
                limit.call_sync(work, number)

    threads = [threading.Thread(target=caller) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert peak <= 6
    assert (limit.active, limit.waiting) == (0, 0)
    assert sum(limit.enter() for _ in range(10)) == limit.limit
