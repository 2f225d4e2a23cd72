"""What the readers of traces promise: formats by content, names, ids, bounds, masks, and a reason for what is left out."""

from __future__ import annotations

import gzip
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from google.protobuf.json_format import Parse
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

sys.path.insert(0, str(Path(__file__).parent))

from writing import BEGIN, FORMATS, Story, jaeger, otlp, zipkin

from skerry.architecture.traces import Limits, Span, SpanKind, Traces, read


def read_text(folder: Path, text: str | bytes, limits: Limits | None = None) -> Traces:
    file = folder / "given"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read([file], limits=limits)


def spans_of(traces: Traces) -> list[Span]:
    return [span for spans in traces.traces.values() for span in spans]


def one(folder: Path, kind: str = "client", **tags: Any) -> Span:
    """A span with these tags (`__` for a dot), through OTLP."""
    story = Story()
    story.span("api", "n", kind, **tags)
    return spans_of(read_text(folder, otlp(story.spans)))[0]


def story() -> Story:
    told = Story()
    entry = told.span("orders", "POST /orders", http__request__method="POST", http__route="/orders", length=0.5)
    told.call(entry, "payment", "POST /charges/7?card=4111", error=True)
    told.data(entry, "db-1", "orders", "INSERT INTO orders VALUES ('secret', 42)")
    return told


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_says_the_same(form: str, tmp_path: Path) -> None:
    """Services, kinds, times, errors, parents and the stable names; the format is found by content."""
    traces = read_text(tmp_path, FORMATS[form](story().spans))
    assert traces.skipped == ()
    entry, asked, answered, stored = _ordered(traces)
    assert [entry.service, asked.service, answered.service, stored.service] == ["orders", "orders", "payment", "orders"]
    assert [entry.parent, asked.parent, answered.parent, stored.parent] == ["", entry.span, asked.span, entry.span]
    assert [each.error for each in (entry, asked, answered, stored)] == [False, True, True, False]
    assert entry.start == pytest.approx(BEGIN, abs=1e-5)
    assert entry.end - entry.start == pytest.approx(0.5, abs=1e-5)
    assert asked.attributes["http.request.method"] == "POST"
    assert asked.attributes["server.address"] == "payment"
    assert int(asked.attributes["http.response.status_code"]) == 503
    assert stored.attributes["db.system.name"] == "postgresql"
    assert stored.attributes["db.namespace"] == "orders"
    assert "secret" not in repr(traces)
    assert "4111" not in repr(traces)


def test_the_first_version_of_zipkin_tells_the_other_end(tmp_path: Path) -> None:
    """`sa` is whom a client asked; a span with nothing but it is a client's; one with `lc` alone is work within."""
    here = {"serviceName": "orders"}
    there = {"key": "sa", "value": True, "endpoint": {"serviceName": "stock", "port": 80}}
    spans = [
        {"traceId": "1", "id": "2", "timestamp": 5, "duration": 7, "annotations": [
            {"value": "cs", "timestamp": 1, "endpoint": here}, {"value": "cr", "timestamp": 9, "endpoint": here}],
         "binaryAnnotations": [there, {"key": "http.method", "value": "GET", "endpoint": here}]},
        {"traceId": "1", "id": "3", "timestamp": 6, "binaryAnnotations": [there, {"key": "a", "value": "b", "endpoint": here}]},
        {"traceId": "1", "id": "4", "timestamp": 7, "binaryAnnotations": [{"key": "lc", "value": "", "endpoint": here}]},
        {"traceId": "1", "id": "5", "annotations": [{"value": "sr", "timestamp": 8, "endpoint": here}]},
    ]  # fmt: skip
    asked, bare, within, answered = spans_of(read_text(tmp_path, json.dumps(spans)))
    assert [each.kind.value for each in (asked, bare, within, answered)] == ["client", "client", "internal", "server"]
    assert {each.service for each in (asked, bare, within, answered)} == {"orders"}
    assert (asked.attributes["peer.service"], bare.attributes["peer.service"]) == ("stock", "stock")
    assert (asked.start, asked.end - asked.start, answered.start) == pytest.approx((5e-6, 7e-6, 8e-6))
    assert asked.attributes["http.request.method"] == "GET"


@pytest.mark.parametrize("form", ["otlp", "otlp-protobuf", "jaeger"])
def test_links_name_other_spans(form: str, tmp_path: Path) -> None:
    """They are no parents; what is no id costs only itself, and of very many some are left out."""
    told = Story()
    sent = told.span("orders", "send", "producer", messaging__destination__name="placed")
    taken = told.span("mail", "process", "consumer", messaging__destination__name="placed")
    taken.links = [sent] * 3
    batch = next(each for each in spans_of(read_text(tmp_path, FORMATS[form](told.spans))) if each.service == "mail")
    assert (batch.links, batch.parent) == (((sent.trace.lstrip("0"), sent.span.lstrip("0")),), "")


@pytest.mark.parametrize("framed", [False, True], ids=["one message", "messages with their lengths"])
def test_otlp_as_protobuf_says_the_same(framed: bool, tmp_path: Path) -> None:
    """As an exporter sends it, and as a collector's file exporter writes it, packed too."""
    messages = [Parse(line, TracesData()).SerializeToString() for line in otlp(story().spans, base=True).splitlines()]
    content = b"".join(len(each).to_bytes(4, "big") + each for each in messages) if framed else b"".join(messages)
    found = read_text(tmp_path, gzip.compress(content))
    assert found.skipped == ()
    same = {span.span: span for span in spans_of(read_text(tmp_path, otlp(story().spans)))}
    assert same
    for span in spans_of(found):
        assert replace(span, line=0) == replace(same.pop(span.span), line=0)
    assert not same


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x0a\x10nothing like it", "no OTLP as protobuf"),
        (b"\x00\x00\x00\x05\x0a\x03abc", "no OTLP as protobuf"),
        (b"\x00\x00\xff\xff\x0a\x00", "cut off"),
        (b"\x00" * 9, "cut off"),
        (b"\x7fELF\x02\x01", "no OTLP as protobuf"),
    ],
    ids=["junk", "a frame of junk", "cut off", "zeros", "a program"],
)
def test_other_binary_files_are_told(content: bytes, why: str, tmp_path: Path) -> None:
    """One reason for the whole file, and nothing raised."""
    (skipped,) = read_text(tmp_path, content).skipped
    assert why in skipped.why


@pytest.mark.parametrize("there", [None, ModuleType("trace_pb2")], ids=["none", "another's old copy"])
def test_protobuf_without_its_package_says_what_to_do(
    there: ModuleType | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package that reads it, and the format that needs none."""
    monkeypatch.setitem(sys.modules, "opentelemetry.proto.trace.v1.trace_pb2", there)
    (skipped,) = read_text(tmp_path, b"\x0a\x03\x0a\x01\x00").skipped
    assert "`opentelemetry-proto`" in skipped.why
    assert "format: json" in skipped.why


def _ordered(traces: Traces) -> tuple[Span, Span, Span, Span]:
    spans = spans_of(traces)
    servers = {span.service: span for span in spans if span.kind is SpanKind.SERVER}
    clients = [span for span in spans if span.kind is SpanKind.CLIENT]
    stored = next(span for span in clients if "db.system.name" in span.attributes)
    asked = next(span for span in clients if span is not stored)
    return servers["orders"], asked, servers["payment"], stored


def test_packed_files_are_unpacked_and_several_are_one(tmp_path: Path) -> None:
    """A span that comes twice counts once."""
    text = otlp(story().spans)
    (tmp_path / "a.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "b.jsonl").write_text(text)
    assert len(spans_of(read([tmp_path / "a.gz", tmp_path / "b.jsonl"]))) == 4


def test_a_span_knows_where_it_stands(tmp_path: Path) -> None:
    """By the file's name, for an absolute path is of one machine, and the line."""
    lines = otlp(story().spans)
    places = {(span.file, span.line) for span in spans_of(read_text(tmp_path, lines))}
    assert places == {("given", 1), ("given", 2)}


OLDER = [
    ({"http.method": "get"}, "http.request.method", "GET"),
    ({"http.url": "http://u:p@h/x?y=1"}, "url.full", "http://h/x?y={1}"),
    ({"http.target": "/x/1?token=abc"}, "url.path", "/x/1?token={1}"),
    ({"http.status_code": 404}, "http.response.status_code", 404),
    ({"net.peer.name": "Peer.Local"}, "server.address", "peer.local"),
    ({"net.peer.port": 81, "net.peer.name": "p"}, "server.port", 81),
    ({"net.peer.ip": "10.0.0.1"}, "server.address", "10.0.0.1"),
    ({"peer.address": "redis://user:pw@cache:6379"}, "server.address", "cache"),
    ({"http.host": "peer:8080"}, "server.port", 8080),
    ({"db.system": "mssql"}, "db.system.name", "microsoft.sql_server"),
    ({"db.name": "shop"}, "db.namespace", "shop"),
    ({"db.instance": "shop"}, "db.namespace", "shop"),
    ({"db.operation": "SELECT"}, "db.operation.name", "SELECT"),
    ({"db.sql.table": "orders"}, "db.collection.name", "orders"),
    ({"db.mongodb.collection": "orders"}, "db.collection.name", "orders"),
    ({"messaging.destination": "orders"}, "messaging.destination.name", "orders"),
    ({"rpc.method": "shop.Stock/Count"}, "rpc.method", "Count"),
    ({"rpc.method": "shop.Stock/Count"}, "rpc.service", "shop.Stock"),
    ({"rpc.response.status_code": 14}, "rpc.grpc.status_code", 14),
]


@pytest.mark.parametrize(("tags", "name", "value"), OLDER, ids=str)
def test_older_names_are_the_stable_ones(tags: dict[str, Any], name: str, value: object, tmp_path: Path) -> None:
    """Whoever asks needs to know one name only."""
    assert one(tmp_path, **tags).attributes[name] == value


def test_the_stable_name_wins_over_the_older_one(tmp_path: Path) -> None:
    """Libraries in between write both."""
    assert (
        one(tmp_path, **{"http.method": "PUT", "http.request.method": "GET"}).attributes["http.request.method"] == "GET"
    )


SECRETS = [
    {"http.request.header.authorization": "Bearer hunter2"},
    {"http.url": "https://hunter2:hunter2@peer/a?key=hunter2&b=hunter2#hunter2"},
    {"url.full": "https://peer/a?hunter2"},
    {"url.path": "/reset/hunter2hunter2hunter2hunter2hunter2hunter2"},
    {"url.path": "/users/hunter2@example.com"},
    {"db.statement": "SELECT * FROM users WHERE name = 'hunter2' -- hunter2", "db.system": "postgresql"},
    {"db.statement": 'SELECT * FROM users WHERE name LIKE "hunter2"', "db.system": "mysql"},
    {"db.statement": "SELECT $q$hunter2$q$ FROM users", "db.system": "postgresql"},
    {"db.statement": "SELECT 'hunter2", "db.system": "sqlite"},
    {"db.statement": "SET session:1 hunter2", "db.system": "redis"},
    {"db.statement": '{"find": "users", "filter": {"name": "hunter2"}}', "db.system": "mongodb"},
    {"db.connection_string": "postgresql://hunter2:hunter2@db/shop"},
    {"db.user": "hunter2"},
    {"enduser.id": "hunter2"},
    {"session.id": "hunter2"},
    {"aws.access_key": "hunter2"},
    {"otel.status_description": "no login for hunter2: timed out"},
]


@pytest.mark.parametrize("tags", SECRETS, ids=str)
def test_secrets_are_not_kept(tags: dict[str, Any], tmp_path: Path) -> None:
    """Headers, users, values of queries, literals of statements, keys that open something."""
    assert "hunter2" not in repr(one(tmp_path, **tags))


def test_a_name_with_a_query_is_cut(tmp_path: Path) -> None:
    """Some name spans by their URL."""
    told = Story()
    told.span("api", "GET https://u:hunter2@peer/a?key=hunter2", "client")
    assert "hunter2" not in repr(read_text(tmp_path, jaeger(told.spans)))


def test_equal_values_of_queries_stay_equal(tmp_path: Path) -> None:
    """So that the same question can be told from another one."""
    told = Story()
    for value in ("a", "b", "a"):
        told.span("api", "GET", "client", url__full=f"http://peer/x?id={value}")
    urls = [str(span.attributes["url.full"]) for span in spans_of(read_text(tmp_path, otlp(told.spans)))]
    assert len(set(urls)) == 2


BROKEN = [
    ("{", "no JSON"),
    ("[[[[", "no JSON"),
    ("[" * 100_000, ""),
    ('{"a":' * 100_000, ""),
    ('{"resourceSpans": [1]}\n', "no object"),
    ('{"resourceSpans": 7}\n', "no spans"),
    ('{"resourceSpans":[{"scopeSpans":[{"spans":[{}]}]}]}\n', "no "),
    ('{"resourceMetrics": []}\n', "no spans"),
    ('{"data": [{"traceID": "a", "spans": [{"spanID": "b"}]}]}', "startTime"),
    ('{"data": [{"traceID": "a", "spans": [{"spanID": "b", "startTime": 1e300}]}]}', "startTime"),
    ('{"data": [{"traceID": "a", "spans": [{"spanID": {}, "startTime": 1}]}]}', "no id"),
    ('[{"traceId": "a", "id": "b", "timestamp": -5}]', "timestamp"),
    ('[{"traceId": "a", "id": "b", "timestamp": NaN}]', "timestamp"),
    ('[{"traceId": "a", "id": "b", "timestamp": ' + "9" * 5_000 + "}]", "digits"),
    ('[{"traceId": "a", "id": "0000", "timestamp": 5}]', "zero"),
    ('[{"traceId": "a", "id": "b", "binaryAnnotations": []}]', "timestamp of a span is missing"),
    ('[{"traceId": "a", "id": "b", "annotations": [{"value": "cs", "timestamp": -1}]}]', "an annotation"),
    ("hello\nworld\n", "no JSON"),
    ('"text"\n', "no object"),
    ("", "no spans"),
    (b"\x1f\x8b\x08\x00rubbish", "unpacked"),
    (b"\xff\xfe\x00{", "no JSON"),
]


@pytest.mark.parametrize(("text", "why"), BROKEN, ids=lambda value: repr(value)[:30])
def test_what_is_malformed_is_told_and_raises_nothing(text: str | bytes, why: str, tmp_path: Path) -> None:
    """With the file, and a reason without values."""
    traces = read_text(tmp_path, text)
    assert not traces.traces
    assert traces.skipped
    assert all(each.file == "given" for each in traces.skipped)
    assert any(why in each.why for each in traces.skipped)


def test_a_broken_line_costs_itself_only(tmp_path: Path) -> None:
    """The reason has its number."""
    good = otlp(story().spans).splitlines()
    traces = read_text(tmp_path, "\n".join([good[0][:-40], *good, "rubbish"]))
    assert len(spans_of(traces)) == 4
    assert [each.why.partition(":")[0] for each in traces.skipped] == ["line 1", "line 4"]


def test_a_list_that_ends_early_keeps_what_it_has(tmp_path: Path) -> None:
    """A download that was cut."""
    whole = zipkin(story().spans)
    traces = read_text(tmp_path, whole[: len(whole) - 30])
    assert len(spans_of(traces)) == 3
    assert len(traces.skipped) == 1


@pytest.mark.parametrize(
    "text", [json.dumps([json.loads(zipkin(story().spans))]), jaeger(story().spans) + "\n" + jaeger(story().spans)]
)
def test_lists_of_traces_and_several_answers_are_read(text: str, tmp_path: Path) -> None:
    """As the interfaces of Zipkin and Jaeger give them."""
    assert len(spans_of(read_text(tmp_path, text))) == 4


def test_a_whole_otlp_request_may_be_laid_out(tmp_path: Path) -> None:
    """As an SDK or a person writes it, with a mark of byte order before it."""
    value = [json.loads(line) for line in otlp(story().spans).splitlines()]
    for text in (json.dumps(value[0], indent=2), json.dumps(value), json.dumps(value, indent=1)):
        assert spans_of(read_text(tmp_path, b"\xef\xbb\xbf" + text.encode()))


LIMITS = [
    (Limits(spans=2), 2, "more than 2 spans"),
    (Limits(spans_of_trace=3), 3, "more than 3 spans"),
    (Limits(line=900), 0, "too long"),
    (Limits(total=1_000), 0, "more bytes"),
]


@pytest.mark.parametrize(("limits", "kept", "why"), LIMITS, ids=lambda value: str(value)[:40])
def test_every_bound_is_told_when_it_is_reached(limits: Limits, kept: int, why: str, tmp_path: Path) -> None:
    """Spans, spans of one trace, bytes of a line and of all files."""
    told = Story()
    entry = told.span("api", "x" * 900)
    for _ in range(4):
        told.span("api", "x" * 900, below=entry)
    traces = read_text(tmp_path, otlp(told.spans), limits)
    assert len(spans_of(traces)) == kept
    assert any(why in each.why for each in traces.skipped)


def test_reasons_are_bounded_too(tmp_path: Path) -> None:
    """A file of rubbish does not fill the report."""
    traces = read_text(tmp_path, "rubbish\n" * 5_000)
    assert len(traces.skipped) == 101
    assert traces.skipped[-1].why == "4900 more like these"


def test_a_packed_bomb_ends_at_the_bound(tmp_path: Path) -> None:
    """What it unpacks to is counted, not what it is packed in."""
    bomb = gzip.compress(b"[" + b" " * 20_000_000)
    traces = read_text(tmp_path, bomb, Limits(total=1_000_000))
    assert [each.why for each in traces.skipped] == ["more bytes than are read of traces"]


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe, a folder, and what is not there."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    traces = read([pipe, tmp_path, tmp_path / "missing"])
    assert [each.file for each in traces.skipped] == ["pipe", tmp_path.name, "missing"]


def test_followers_in_jaeger_are_not_waited_for(tmp_path: Path) -> None:
    """FOLLOWS_FROM is what a message does."""
    value = json.loads(jaeger(story().spans))
    for span in value["data"][0]["spans"]:
        for reference in span["references"]:
            reference["refType"] = "FOLLOWS_FROM"
    spans = spans_of(read_text(tmp_path, json.dumps(value)))
    assert [span.kind for span in spans if span.service == "payment"] == [SpanKind.CONSUMER]


def test_parents_in_a_circle_end(tmp_path: Path) -> None:
    """Nothing that walks up a trace may walk for ever; each span is still there."""
    told = Story()
    first = told.span("a", "x")
    second = told.span("b", "x", below=first)
    first.parent = second.span
    told.span("c", "x", below=second).parent = told.spans[-1].span
    assert len(spans_of(read_text(tmp_path, otlp(told.spans)))) == 3
