"""The attempts of one call are of one trace, whatever is around it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from skerry import context
from skerry.client import Request, Response, ServiceClient
from skerry.context import CallContext
from skerry.resilience import Policy, Retry
from skerry.signals import HUB, Signal
from skerry.telemetry.spans import SpanEnded
from skerry.testing import VirtualClock, run_virtual


class Busy:
    """A network on which a service refuses everything; `seen` is what travelled."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def send(self, request: Request) -> Response:
        self.seen.append(dict(request.headers)["traceparent"])
        return Response(503)

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.fixture
def spans() -> Iterator[list[Signal]]:
    found: list[Signal] = []
    end = HUB.subscribe(found.append, spans=True, wants=lambda kind: kind is SpanEnded)
    yield found
    end()


def sent(around: CallContext) -> list[str]:
    """What travelled with a call of three attempts."""
    network = Busy()

    async def main(clock: VirtualClock) -> None:
        policy = Policy("stock", retry=Retry(3), clock=clock)
        client = ServiceClient("stock", url="http://stock:81", transport=network, policy=policy, clock=clock)
        with context.use(around):
            assert (await client.get("/items")).status == 503

    run_virtual(main)
    assert len(network.seen) == 3
    return network.seen


def test_without_a_trace_around_it_a_call_is_one_trace() -> None:
    """Nobody has to listen for that: other services write the trace's id into their logs."""
    seen = sent(CallContext(priority=8))
    assert len({each[3:35] for each in seen}) == 1
    assert len({each[36:52] for each in seen}) == 3


def test_what_is_repeated_stands_below_the_first_attempt(spans: list[SpanEnded]) -> None:
    """The trace has one beginning, and each further attempt the number it is."""
    seen = sent(CallContext())
    assert [each.parent_id for each in spans] == ["", spans[0].span_id, spans[0].span_id]
    assert [each.span_id for each in spans] == [each[36:52] for each in seen]
    assert [each.attributes.get("http.request.resend_count") for each in spans] == [None, 1, 2]


def test_below_what_is_around_the_call_attempts_stand_side_by_side(spans: list[SpanEnded]) -> None:
    """As they do in a service, where a request is around them."""
    around = CallContext().child()
    sent(around)
    assert [(each.trace_id, each.parent_id) for each in spans] == [(around.trace_id, around.traceparent[36:52])] * 3
