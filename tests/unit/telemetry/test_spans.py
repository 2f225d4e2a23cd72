"""Spans, and the file of them."""

import json
import logging
import threading

import pytest

from skerry.context import CallContext
from skerry.errors import ConfigurationError
from skerry.signals import HUB
from skerry.telemetry import write_traces
from skerry.telemetry.encoding import IN_A_PIECE, KEPT, LONGEST_KEPT, span_of, spans_request
from skerry.telemetry.spans import SpanEnded, span, tell
from skerry.telemetry.tracefile import TOGETHER

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"
OTHER = f"00-{'c' * 32}-{'d' * 16}-01"


@pytest.fixture
def spans():
    heard = []
    stop = HUB.subscribe(lambda signal: heard.append(signal) if isinstance(signal, SpanEnded) else None, spans=True)
    yield heard
    stop()


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def written(path):
    return [span for line in lines(path) for scope in line["resourceSpans"][0]["scopeSpans"] for span in scope["spans"]]


def test_a_span_stands_in_the_trace_around_it(spans):
    """It has the trace of its parent, an id of its own, and what failed in it is its error, which passes."""
    with (
        pytest.raises(KeyError),
        span("work", "internal", CallContext(traceparent=PARENT), attributes={"service.peer.name": "stock"}) as work,
    ):
        raise KeyError
    [told] = spans
    assert (told.trace_id, told.parent_id, told.span_id) == ("a" * 32, "b" * 16, work.context.traceparent[36:52])
    assert (told.name, told.error, told.attributes) == ("work", "KeyError", {"service.peer.name": "stock"})
    assert told.seconds >= 0


def test_without_a_trace_around_a_span_begins_one(spans):
    """The first of a trace has no parent."""
    with span("work", "server", CallContext()) as work:
        assert len(work.context.trace_id) == 32
    assert [told.parent_id for told in spans] == [""]


def test_nobody_pays_for_spans_that_nobody_wants():
    """Other subscribers alone make none, and hear of none."""
    heard = []
    stop = HUB.subscribe(heard.append)
    with span("work", "internal", CallContext()):
        tell("more", "internal", own=PARENT, parent="", seconds=0.1, attributes={})
    stop()
    assert (HUB.traced, heard) == (False, [])


def test_spans_are_collected_as_they_are_and_a_broken_collector_breaks_nobody(caplog, spans):
    """Name, kind, places in traces and the attributes; the others hear of it all the same, until the end."""
    pieces = []
    broken = HUB.collect(lambda *_: 1 / 0)
    end = HUB.collect(lambda *span: pieces.append(span))
    with (
        caplog.at_level(logging.ERROR),
        span("work", "internal", CallContext(traceparent=PARENT), links=(OTHER,)) as work,
    ):
        work.attributes["saga.key"] = "7"
    broken()
    end()
    end()
    [(name, kind, own, parent, began, seconds, error, attributes, links)] = pieces
    assert (name, kind, own, parent, error) == ("work", "internal", work.context.traceparent, PARENT, "")
    assert (attributes, links) == ({"saga.key": "7"}, (OTHER,))
    [told] = spans
    assert (told.began, told.seconds, told.span_id, told.links) == (began, seconds, own[36:52], (OTHER,))
    assert "a subscriber failed on a span" in caplog.text
    assert HUB.traced


def test_what_is_kept_of_attributes_is_bounded_and_mixes_nothing_up():
    """A value that comes again is written as it was; true, 1 and 1.0 stay three, and what is new for ever is not kept."""
    for _ in range(2):
        for value, written in ((1, '{"intValue":"1"}'), (True, '{"boolValue":true}'), (1.0, '{"doubleValue":1.0}')):
            told = json.loads(span_of("n", "server", PARENT, "", 1.0, 1.0, "", {"mixed": value}))
            assert told["attributes"] == [{"key": "mixed", "value": json.loads(written)}]
    for number in range(2 * KEPT):
        for named in ({"many": f"v{number}"}, {f"k{number}": "v"}, {"long": "x" * LONGEST_KEPT + str(number)}):
            told = json.loads(span_of("n", "server", PARENT, "", 1.0, 1.0, "", named))
            [(key, value)] = named.items()
            assert told["attributes"] == [{"key": key, "value": {"stringValue": value}}]


@pytest.mark.parametrize("count", [0, 1, IN_A_PIECE, 3 * IN_A_PIECE + 1])
def test_the_pieces_of_a_request_are_one_document(count):
    """However many spans there are, all come out of the pieces put together, in their order."""
    spans = [span_of(f"n{number}", "server", PARENT, "", 1.0, 1.0, "", {}) for number in range(count)]
    document = json.loads(b"".join(spans_request("order", spans)))
    [scope] = document["resourceSpans"][0]["scopeSpans"]
    assert [span["name"] for span in scope["spans"]] == [f"n{number}" for number in range(count)]


def test_links_are_told_as_otlp_has_them():
    """Trace and span of each; a span without any says nothing of them."""
    told = json.loads(span_of("n", "consumer", PARENT, "", 1.0, 1.0, "", {}, (OTHER,)))
    assert told["links"] == [{"traceId": "c" * 32, "spanId": "d" * 16}]
    assert "links" not in json.loads(span_of("n", "consumer", PARENT, "", 1.0, 1.0, "", {}))


def test_the_file_is_otlp(tmp_path):
    """A line is a request to export: resource, scope and spans, times in nanoseconds as text, values with their types."""
    path = tmp_path / "traces.jsonl"
    end = write_traces(path, service="order")
    attributes = {"text": "a", "whole": 3, "part": 0.5, "flag": True}
    tell("work", "client", own=PARENT, parent="", seconds=0.25, error="Oops", attributes=attributes)
    end()
    end_of_trace = HUB.traced
    [line] = lines(path)
    [resource] = line["resourceSpans"]
    assert resource["resource"] == {"attributes": [{"key": "service.name", "value": {"stringValue": "order"}}]}
    [found] = resource["scopeSpans"][0]["spans"]
    assert (found["traceId"], found["spanId"], found["kind"]) == ("a" * 32, "b" * 16, 3)
    assert int(found["endTimeUnixNano"]) - int(found["startTimeUnixNano"]) == 250_000_000
    assert found["status"] == {"code": 2, "message": "Oops"}
    assert "parentSpanId" not in found
    assert [each["value"] for each in found["attributes"]] == [
        {"stringValue": "a"},
        {"intValue": "3"},
        {"doubleValue": 0.5},
        {"boolValue": True},
        {"stringValue": "Oops"},  # error.type
    ]
    assert end_of_trace is False


def test_spans_share_lines_and_none_is_lost_between_threads(tmp_path):
    """Many spans from many threads make whole lines of a bounded number each, and all of them are there."""
    path = tmp_path / "traces.jsonl"
    end = write_traces(path, service="order")

    def work():
        for _ in range(100):
            with span("work", "internal", CallContext()):
                pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    end()
    assert len(written(path)) == 800
    assert max(len(line["resourceSpans"][0]["scopeSpans"][0]["spans"]) for line in lines(path)) <= TOGETHER


def test_a_file_that_cannot_be_written_is_said_at_once(tmp_path):
    """The error names the file."""
    with pytest.raises(ConfigurationError, match=r"traces cannot be written to .*nowhere"):
        write_traces(tmp_path / "nowhere" / "traces.jsonl", service="order")
