"""What is told of handling events: a span below what recorded them, and how long it took."""

import pytest

from skerry import context
from skerry.context import CallContext
from skerry.resilience import Retry
from skerry.signals import HUB, HandlerTimed
from skerry.telemetry.spans import SpanEnded
from skerry.testing import run_virtual


@pytest.fixture
def told():
    """The spans and durations of this test."""
    found = []
    end = HUB.subscribe(found.append, spans=True, measures=True)
    yield lambda kind: [each for each in found if isinstance(each, kind)]
    end()


def test_handling_is_a_span_below_what_recorded_the_event(staged, told):
    """With the words that the semantic conventions have for messages; the id is on the span alone."""
    around = CallContext().child()

    async def main(clock):
        async with staged(clock) as stage:
            stage.listen()
            with context.use(around):
                await stage.publish(("a", 1))
            await clock.sleep(1)

    run_virtual(main)
    [span] = [each for each in told(SpanEnded) if each.kind == "consumer"]
    assert (span.name, span.trace_id) == ("handle shop.order.placed", around.trace_id)
    assert span.parent_id == around.traceparent[36:52]
    assert span.attributes.pop("messaging.message.id")
    assert span.attributes == {
        "messaging.system": "skerry",
        "messaging.operation.name": "handle",
        "messaging.operation.type": "process",
        "messaging.destination.name": "shop.order.placed",
        "messaging.consumer.group.name": "billing",
    }


def test_every_attempt_to_handle_is_timed(staged, told):
    """Those that fail with the class of the error, those that do not without one."""

    async def main(clock):
        async with staged(clock) as stage:
            stage.broken.add(1)
            stage.listen(retry=Retry(3, base=1.0, cap=4.0))
            await stage.publish(("a", 1), ("b", 2))
            await clock.sleep(30)

    run_virtual(main)
    timed = [(each.group, each.type, each.error) for each in told(HandlerTimed)]
    assert timed.count(("billing", "shop.order.placed", "OSError")) >= 3
    assert timed.count(("billing", "shop.order.placed", "")) >= 1


def test_a_batch_is_one_span_that_says_how_many(staged, told):
    """Events of many traces belong to none of them."""

    async def main(clock):
        async with staged(clock) as stage:

            async def handle(events, tx):
                for event in events:
                    await stage.handle(event, tx)

            stage.bus.on(stage.Placed, inbox=stage.inbox, batch=10)(handle)
            await stage.publish(("a", 1), ("b", 2), ("c", 3))
            stage.bus.start()
            await clock.sleep(1)

    run_virtual(main)
    [span] = [each for each in told(SpanEnded) if each.kind == "consumer"]
    assert (span.parent_id, span.attributes["messaging.batch.message_count"]) == ("", 3)
    assert [each.count for each in told(HandlerTimed)] == [3]
