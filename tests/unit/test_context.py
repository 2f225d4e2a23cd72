import pickle
from dataclasses import FrozenInstanceError

import pytest

from skerry.context import EMPTY, MAX_TIMEOUT, CallContext, current, extract, inject, made, use
from skerry.testing import VirtualClock

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_crosses_the_wire_whole():
    """What is injected on one side is extracted on the other; the deadline as time left."""
    here, there = VirtualClock(), VirtualClock()
    there.advance(1000.0)
    headers: dict[str, str] = {}
    inject(headers, CallContext(1.5, TRACE, "vendor=1", 7, retries_above=True), clock=here)
    assert extract(headers, clock=there) == CallContext(1001.5, TRACE, "vendor=1", 7, retries_above=True)


def test_an_empty_context_sends_nothing():
    """A context without facts adds no header."""
    headers: dict[str, str] = {}
    inject(headers, EMPTY)
    assert headers == {}


def test_a_passed_deadline_is_sent_as_zero():
    """Time left is never negative on the wire."""
    clock = VirtualClock()
    clock.advance(5.0)
    headers: dict[str, str] = {}
    inject(headers, CallContext(deadline=1.0), clock=clock)
    assert headers == {"skerry-timeout": "0.000"}


@pytest.mark.parametrize("text", ["", "-1", "1e9", "nan", "inf", "1.", ".5", "0x1", " 1", "1\n", "٣", "1" * 50, "1;2"])
def test_malformed_time_outs_are_dropped(text):
    """A time-out that is not a plain decimal number becomes the default."""
    assert extract({"skerry-timeout": text}).deadline is None
    assert extract({"skerry-timeout": text}, clock=VirtualClock(), default=2.0).deadline == 2.0


def test_long_time_outs_are_cut():
    """Nobody can ask for more than max_timeout seconds."""
    assert extract({"skerry-timeout": "999999999"}, clock=VirtualClock()).deadline == MAX_TIMEOUT


@pytest.mark.parametrize(
    "text",
    [
        TRACE.upper(),
        TRACE + "-x",
        TRACE[:-1],
        TRACE.replace("0af7", "zzzz"),
        "00-" + "0" * 32 + TRACE[35:],
        "ff" + TRACE[2:],
        TRACE[:36] + "0" * 16 + TRACE[52:],
        TRACE + "\n",
    ],
)
def test_malformed_traces_are_dropped(text):
    """A traceparent that is not well formed is left out, and its tracestate with it."""
    context = extract({"traceparent": text, "tracestate": "vendor=1"})
    assert (context.traceparent, context.tracestate) == ("", "")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("vendor=1, other=2", "vendor=1, other=2"),
        ("", ""),
        ("vendor=é", ""),
        ("vendor=1\r\nx-evil: 2", ""),
        ("a=" + "1" * 510, "a=" + "1" * 510),
        ("a=" + "1" * 511, ""),
        ("a=1,b=" + "2" * 506, "a=1,b=" + "2" * 506),
        ("a=1,b=" + "2" * 507, "a=1"),
        ("a=1," + "b=2," * 200, "a=1" + ",b=2" * 127),
    ],
)
def test_a_tracestate_is_passed_on_as_far_as_it_can_be_sent(text, kept):
    """In whole entries of 512 characters at most, of printable ASCII: else a caller could make all further calls fail."""
    assert extract({"traceparent": TRACE, "tracestate": text}).tracestate == kept


@pytest.mark.parametrize("text", ["", "10", "-1", "a", "²", "5 "])
def test_malformed_priorities_become_the_default(text):
    """A priority outside 0 to 9 is the middle one."""
    assert extract({"skerry-priority": text}).priority == EMPTY.priority


def test_until_keeps_the_earlier_deadline():
    """A deadline is only ever moved forward in time."""
    assert EMPTY.until(5.0).deadline == 5.0
    assert EMPTY.until(5.0).until(9.0).deadline == 5.0
    assert EMPTY.until(5.0).until(2.0).deadline == 2.0
    assert EMPTY.until(5.0).until(None).deadline == 5.0


def test_remaining_is_never_negative():
    """remaining counts down to 0; None means no limit."""
    clock = VirtualClock()
    assert CallContext(deadline=1.0).remaining(clock) == 1.0
    clock.advance(3.0)
    assert CallContext(deadline=1.0).remaining(clock) == 0.0
    assert EMPTY.remaining(clock) is None


def test_child_keeps_the_trace():
    """A child has the same trace id and flags with a span of its own; without a trace it starts one."""
    clock = VirtualClock()
    child = CallContext(traceparent=TRACE).child(clock)
    assert child.trace_id == TRACE[3:35]
    assert child.traceparent != TRACE
    assert extract({"traceparent": child.traceparent}).traceparent == child.traceparent
    assert len(EMPTY.child(clock).trace_id) == 32


def test_a_context_that_is_made_quickly_is_one_like_any_other():
    """What `child`, `extract` and `current` give equals a context that its class made, can be pickled and not be written to."""
    quick = made(1.5, TRACE, "vendor=1", 7, retries_above=True)
    slow = CallContext(1.5, TRACE, "vendor=1", 7, retries_above=True)
    assert (type(quick), quick, hash(quick), repr(quick)) == (CallContext, slow, hash(slow), repr(slow))
    assert pickle.loads(pickle.dumps(quick)) == slow
    with pytest.raises(FrozenInstanceError):
        quick.priority = 9  # type: ignore[misc]


def test_use_ends_with_its_block():
    """A context is current inside its block only, also when the block raises."""
    with pytest.raises(KeyError), use(CallContext(priority=9)):  # noqa: PT012 - the block is what is tested
        assert current().priority == 9
        raise KeyError
    assert current() == EMPTY
