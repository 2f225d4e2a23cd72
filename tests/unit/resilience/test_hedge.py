import asyncio

import pytest

from skerry.errors import ConfigurationError
from skerry.resilience import Hedge, RetryBudget
from skerry.signals import CallHedged
from skerry.testing import VirtualClock, run_virtual


class Replica:
    """Answers its attempts one after the other as told: after so many seconds, with a result or an error."""

    def __init__(self, clock: VirtualClock, *answers: tuple[float, object]) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.begun = 0
        self.ended: list[str] = []

    async def ask(self) -> object:
        seconds, answer = self.answers[self.begun]
        self.begun += 1
        try:
            await self.clock.sleep(seconds)
        except asyncio.CancelledError:
            await self.clock.sleep(0.01)
            self.ended.append(f"{answer} cancelled")
            raise
        self.ended.append(str(answer))
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_quick_call_is_not_hedged(signals):
    """An attempt that ends before the delay is the only one."""

    async def main(clock: VirtualClock) -> None:
        replica = Replica(clock, (0.1, "first"))
        assert await Hedge(safe=True, after=0.2, clock=clock).call(replica.ask) == "first"
        assert replica.begun == 1

    run_virtual(main)
    assert signals == []


@pytest.mark.parametrize(("second", "winner"), [(0.1, "second"), (2.0, "first")])
def test_the_first_answer_counts_and_the_loser_is_gone(signals, second, winner):
    """The quicker of both is the answer; when the call returns the other has been cancelled and has cleaned up."""

    async def main(clock: VirtualClock) -> None:
        replica = Replica(clock, (1.0, "first"), (second, "second"))
        assert await Hedge(safe=True, after=0.2, name="stock", clock=clock).call(replica.ask) == winner
        loser = {"first": "second", "second": "first"}[winner]
        assert replica.ended == [winner, f"{loser} cancelled"]

    run_virtual(main)
    assert signals == [CallHedged(policy="stock", after=0.2)]


def test_one_failure_leaves_it_to_the_other():
    """When one attempt fails the other's answer counts."""

    async def main(clock: VirtualClock) -> None:
        replica = Replica(clock, (0.5, OSError("first")), (0.9, "second"))
        assert await Hedge(safe=True, after=0.2, clock=clock).call(replica.ask) == "second"

    run_virtual(main)


def test_when_all_fail_the_first_error_is_raised():
    """Two failures raise the one that came first."""

    async def main(clock: VirtualClock) -> None:
        replica = Replica(clock, (0.9, OSError("first attempt")), (0.1, OSError("came first")))
        with pytest.raises(OSError, match="came first"):
            await Hedge(safe=True, after=0.2, clock=clock).call(replica.ask)

    run_virtual(main)


def test_a_failure_before_the_delay_is_final():
    """What fails at once is not sent again: a hedge is no retry."""

    async def main(clock: VirtualClock) -> None:
        replica = Replica(clock, (0.1, OSError("down")))
        with pytest.raises(OSError, match="down"):
            await Hedge(safe=True, after=0.2, clock=clock).call(replica.ask)
        assert (replica.begun, clock.monotonic()) == (1, pytest.approx(0.1))

    run_virtual(main)


def test_only_safe_calls_are_hedged():
    """A call that may not be repeated is sent once, however slow it is."""

    async def main(clock: VirtualClock) -> None:
        sent: list[str] = []

        async def ask(method: str) -> None:
            sent.append(method)
            await clock.sleep(1.0)

        hedge = Hedge(safe=lambda method: method == "GET", after=0.2, clock=clock)
        await hedge.call(ask, "POST")
        await hedge.call(ask, "GET")
        assert sent == ["POST", "GET", "GET"]

    run_virtual(main)


def test_the_budget_bounds_second_attempts():
    """A budget that is spent sends no second attempt, so hedges cannot double the load of what is slow."""

    async def main(clock: VirtualClock) -> None:
        budget = RetryBudget(ratio=0.0, min_per_second=0.2)
        replica = Replica(clock, *[(0.5, "late")] * 20)
        hedge = Hedge(safe=True, after=0.2, budget=budget, clock=clock)
        await asyncio.gather(*(hedge.call(replica.ask) for _ in range(10)))
        assert replica.begun == 10 + 2

    run_virtual(main)


def test_the_delay_is_a_percentile_of_what_was_seen():
    """Without `after` it learns how long calls take, and hedges nothing before it knows."""

    async def main(clock: VirtualClock) -> None:
        hedge = Hedge(safe=True, percentile=0.9, clock=clock)
        for number in range(20):
            assert hedge.delay is None
            await hedge.call(clock.sleep, (number + 1) / 100)
        assert hedge.delay == pytest.approx(0.19)
        replica = Replica(clock, (9.0, "first"), (0.01, "second"))
        assert await hedge.call(replica.ask) == "second"

    run_virtual(main)


def test_a_cancelled_call_takes_both_attempts_with_it():
    """Cancelling the call cancels what it has sent, and nothing is left running."""

    async def main(clock: VirtualClock) -> None:
        replica = Replica(clock, (9.0, "first"), (9.0, "second"))
        task = asyncio.create_task(Hedge(safe=True, after=0.2, clock=clock).call(replica.ask))
        await clock.sleep(0.5)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert sorted(replica.ended) == ["first cancelled", "second cancelled"]
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main)


def test_a_sync_function_is_called_once():
    """Nothing can cancel a sync function, so it has one attempt."""
    calls: list[int] = []
    Hedge(safe=True, after=0.2).call_sync(calls.append, 1)
    assert calls == [1]


@pytest.mark.parametrize("options", [{"safe": False}, {"after": 0.0}, {"percentile": 1.0}])
def test_senseless_options_are_refused(options):
    """Without knowing that a call may be repeated there is no hedge."""
    with pytest.raises(ConfigurationError):
        Hedge(**{"safe": True, **options})
