from dataclasses import replace

import pytest

from skerry.context import current, use
from skerry.errors import ConfigurationError
from skerry.resilience import Chaos
from skerry.signals import ChaosInjected
from skerry.testing import VirtualClock, run_virtual


def test_it_is_off_until_it_is_switched_on(signals):
    """What forgot to be taken out of the code does nothing."""
    clock = VirtualClock()
    chaos = Chaos(latency=9.0, error=OSError, clock=clock)
    assert chaos.call_sync(int) == 0
    assert (clock.monotonic(), signals) == (0, [])
    with chaos.on(), pytest.raises(OSError):
        chaos.call_sync(int)
    assert chaos.call_sync(int) == 0
    assert signals == [ChaosInjected(policy="Chaos", latency=9.0, fails=True)]


def test_it_delays():
    """Latency alone makes the call late and leaves its answer."""

    async def main(clock: VirtualClock) -> None:
        chaos = Chaos(latency=0.5, clock=clock)

        async def answer() -> str:
            return "here"

        with chaos.on():
            assert await chaos.call(answer) == "here"
        assert clock.monotonic() == 0.5

    run_virtual(main)


def test_what_fails_is_not_called():
    """An injected error stands for a call that never happened; each is an exception of its own."""
    calls: list[int] = []
    chaos = Chaos(error=lambda: ConnectionError("chaos"))
    with chaos.on():
        errors = []
        for _ in range(2):
            with pytest.raises(ConnectionError, match="chaos") as caught:
                chaos.call_sync(calls.append, 1)
            errors.append(caught.value)
    assert calls == []
    assert errors[0] is not errors[1]


def test_a_share_of_calls_is_hit_and_a_seed_repeats_which():
    """The same seed hits the same calls, about as many as the share says."""

    def hit(seed: int) -> list[bool]:
        chaos = Chaos(share=0.3, error=OSError, clock=VirtualClock(seed=seed))

        def one() -> bool:
            try:
                return chaos.call_sync(bool)
            except OSError:
                return True

        with chaos.on():
            return [one() for _ in range(1000)]

    assert hit(1) == hit(1) != hit(2)
    assert 250 < sum(hit(1)) < 350


def test_it_picks_by_label_and_context():
    """Only the calls that `only` picks, by the policy's name and the call's context, may be hit."""
    chaos = Chaos(error=OSError, only=lambda label, context: label == "stock" and context.priority == 9, name="stock")
    with chaos.on():
        assert chaos.call_sync(int) == 0
        with use(replace(current(), priority=9)), pytest.raises(OSError):
            chaos.call_sync(int)


@pytest.mark.parametrize("options", [{"share": 1.5}, {"latency": -1.0}])
def test_senseless_options_are_refused(options):
    """A share or a delay that cannot be is a ConfigurationError."""
    with pytest.raises(ConfigurationError):
        Chaos(**options)
