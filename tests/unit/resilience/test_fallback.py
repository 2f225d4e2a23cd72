import asyncio

import pytest

from skerry.errors import AttemptTimeout, CircuitOpen, StatusError
from skerry.resilience import Fallback
from skerry.signals import FallbackUsed
from skerry.testing import VirtualClock, run_virtual


def price(sku: str, *, currency: str = "EUR") -> str:
    raise OSError(f"no price of {sku} in {currency}")


async def price_async(sku: str, *, currency: str = "EUR") -> str:
    return price(sku, currency=currency)


def test_a_value_stands_in(signals):
    """A failed call gives the value, a good one its own answer, and each use is told."""
    fallback = Fallback([], name="reviews")
    assert fallback.call_sync(price, "LAMP-1") == []
    assert fallback.call_sync(lambda: [1]) == [1]
    assert signals == [FallbackUsed(policy="reviews", error="OSError")]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_function_stands_in_with_the_same_arguments(kind):
    """A function, sync or async, is asked in place of the call, with its arguments; so the decorator keeps the signature."""

    def last_known(sku: str, *, currency: str) -> str:
        return f"{sku} was 9 {currency}"

    async def last_known_async(sku: str, *, currency: str) -> str:
        return last_known(sku, currency=currency)

    async def main(_: VirtualClock) -> None:
        decorated = Fallback(last_known if kind == "sync" else last_known_async)(price_async)
        assert await decorated("LAMP-1", currency="USD") == "LAMP-1 was 9 USD"

    run_virtual(main)


@pytest.mark.parametrize("error", [CircuitOpen("open"), AttemptTimeout("slow"), StatusError("stock", 503), OSError()])
def test_failed_calls_are_answered_for(error):
    """Refusals, time-outs, failed calls and errors of the system are what a fallback is for."""

    def fail() -> str:
        raise error

    assert Fallback("instead").call_sync(fail) == "instead"


def test_bugs_pass():
    """A programming error is not hidden, unless it is asked for by name."""
    with pytest.raises(ZeroDivisionError):
        Fallback(0).call_sync(lambda: 1 // 0)
    assert Fallback(0, on=ZeroDivisionError).call_sync(lambda: 1 // 0) == 0


def test_a_cancellation_is_never_hidden():
    """Not even on=BaseException answers for a cancellation."""

    async def main(clock: VirtualClock) -> None:
        task = asyncio.create_task(Fallback(None, on=BaseException).call(clock.sleep, 9.0))
        await clock.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run_virtual(main)


def test_a_failing_stand_in_shows_both_errors():
    """When the function fails too, its error passes, with the first as its context."""

    def worse(sku: str) -> str:
        raise KeyError(sku)

    with pytest.raises(KeyError) as caught:
        Fallback(worse).call_sync(price, "LAMP-1")
    assert isinstance(caught.value.__context__, OSError)


def test_an_async_function_cannot_stand_in_for_a_sync_call():
    """call_sync with an async stand-in is a TypeError, not a coroutine that nobody awaits."""
    with pytest.raises(TypeError, match="async"):
        Fallback(price_async).call_sync(price, "LAMP-1")
