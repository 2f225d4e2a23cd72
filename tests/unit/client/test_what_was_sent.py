"""What the error of a call says of whether it arrived: sagas undo no step of which nothing was sent."""

from __future__ import annotations

import asyncio

import pytest

from skerry.client import Request, Response, ServiceClient
from skerry.errors import BulkheadFull, ConnectionLost, SkerryError, Unreachable
from skerry.resilience import Policy, Retry
from skerry.testing import VirtualClock, run_virtual

GONE = Unreachable("stock", "no connection could be made")
FULL = BulkheadFull("stock: all connections are in use")


class Script:
    """A network that does as told, attempt by attempt: an error, a status, or nothing for a long time."""

    def __init__(self, *steps: SkerryError | int | None) -> None:
        self.steps = list(steps)

    async def send(self, request: Request) -> Response:
        step = self.steps.pop(0)
        if step is None:
            await asyncio.sleep(3600.0)
        if isinstance(step, int):
            return Response(step)
        assert step is not None
        raise step

    async def aclose(self) -> None:
        """Nothing is open."""


def ends_in(*steps: SkerryError | int | None) -> SkerryError:
    """The error of a call with a key, which is repeated."""
    network = Script(*steps)
    found: list[SkerryError] = []

    async def main(clock: VirtualClock) -> None:
        policy = Policy("stock", total=10.0, attempt=1.0, retry=Retry(3), clock=clock)
        client = ServiceClient("stock", url="http://stock:81", transport=network, policy=policy, clock=clock)
        with pytest.raises(SkerryError) as caught:
            await client.post("/orders", idempotency_key="k")
        found.append(caught.value)

    run_virtual(main)
    assert not network.steps
    return found[0]


@pytest.mark.parametrize("first", [ConnectionLost("stock", "no whole reply came back"), 503, None])
@pytest.mark.parametrize("last", [GONE, FULL])
def test_a_call_of_which_an_attempt_may_have_arrived_is_lost(
    first: SkerryError | int | None, last: SkerryError
) -> None:
    """Whatever the last one ended in: it died with the order in its hands, and the next connection was refused."""
    error = ends_in(first, *([last] if last is FULL else [GONE, last]))
    assert type(error) is ConnectionLost
    assert error.__cause__ is last


def test_a_call_of_which_no_attempt_was_sent_says_so() -> None:
    """Then nothing has to be undone."""
    assert ends_in(GONE, GONE, GONE) is GONE
    assert ends_in(GONE, FULL) is FULL
