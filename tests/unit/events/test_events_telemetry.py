"""What is told of handling events: a span below what recorded them, and how long it took."""

import pytest

from skerry import context
from skerry.context import CallContext
from skerry.events.envelope import Envelope
from skerry.events.telling import MAX_LINKS, handling
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
    [created] = [each for each in told(SpanEnded) if each.kind == "producer"]
    assert (span.name, span.trace_id) == ("handle shop.order.placed", around.trace_id)
    assert created.parent_id == around.traceparent[36:52]
    assert span.parent_id == created.span_id
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
    """Events of many traces belong to none of them; it links to what recorded each."""

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
    assert linked(span) == recorded(told)
    assert [each.count for each in told(HandlerTimed)] == [3]


def linked(span):
    return [(each[3:35], each[36:52]) for each in span.links]


def recorded(told):
    return [(each.trace_id, each.span_id) for each in told(SpanEnded) if each.kind == "producer"]


def test_links_of_a_batch_are_bounded_and_leave_out_what_is_no_trace(told):
    """As many as OpenTelemetry's SDK keeps; what others send may carry anything."""
    traces = [CallContext().child().traceparent for _ in range(MAX_LINKS + 7)]
    carried = ["", "00-made-up-01", *traces]
    envelopes = [Envelope("1", "s", "t", "", "k", 1, {}, traceparent=each) for each in carried]
    with handling(envelopes, "billing"):
        pass
    [span] = told(SpanEnded)
    assert list(span.links) == traces[:MAX_LINKS]


def test_a_single_event_is_the_parent_and_no_link(told):
    """What it stands below says it already."""
    around = CallContext().child()
    with handling([Envelope("1", "s", "t", "", "k", 1, {}, traceparent=around.traceparent)], "billing"):
        pass
    [span] = told(SpanEnded)
    assert (span.parent_id, span.links) == (around.traceparent[36:52], ())


ABOUT = {"messaging.system": "skerry", "messaging.destination.name": "shop.order.placed"}


def test_recording_an_event_and_handing_it_over_are_spans_of_its_trace(staged, told):
    """The producer's below the request, the relay's below that, each with the conventions' words; and the same id."""
    around = CallContext().child()

    async def main(clock):
        async with staged(clock) as stage:
            with context.use(around):
                token = await stage.record(("a", 1))
            async with stage.relaying():
                await clock.sleep(2)
            return token.event_id

    event_id = run_virtual(main)
    created, sent = [each for each in told(SpanEnded) if each.kind in {"producer", "client"}]
    assert (created.name, created.kind, created.parent_id) == (
        "create shop.order.placed",
        "producer",
        around.traceparent[36:52],
    )
    assert (sent.name, sent.kind, sent.parent_id) == ("send shop.order.placed", "client", created.span_id)
    assert {created.trace_id, sent.trace_id} == {around.trace_id}
    for span, operation in ((created, "create"), (sent, "send")):
        assert span.attributes == {
            **ABOUT,
            "messaging.operation.name": operation,
            "messaging.operation.type": operation,
            "messaging.message.id": event_id,
        }


def test_several_events_handed_over_together_are_one_span_of_no_trace_of_theirs(staged, told):
    """It says how many, and links to each, as that of handling a batch does."""

    async def main(clock):
        async with staged(clock) as stage:
            await stage.record(("a", 1), ("b", 2))
            async with stage.relaying():
                await clock.sleep(2)

    run_virtual(main)
    [sent] = [each for each in told(SpanEnded) if each.kind == "client"]
    assert (sent.parent_id, sent.attributes["messaging.batch.message_count"]) == ("", 2)
    created = [each for each in told(SpanEnded) if each.kind == "producer"]
    assert len({each.trace_id for each in created} | {sent.trace_id}) == 3
    assert linked(sent) == recorded(told)
