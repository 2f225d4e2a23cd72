"""What is sent by OTLP over HTTP: taken in both encodings, bounded, and refused with a word where it is wrong."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from contextlib import suppress
from typing import Any

import httpx2
import pytest
from consoleworld import BEARER, CLIENT, SERVER, bare, console, otlp, packed, spanned
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.console.heard import MAX_ATTRIBUTES, MAX_SPANS, MAX_VALUE, Unreadable
from skerry.console.otlp import MAX_BODY, MAX_UNPACKED, records, spans

JSON = {**BEARER, "content-type": "application/json"}
PROTOBUF = {**BEARER, "content-type": "application/x-protobuf"}


def send(body: bytes, path: str = "/v1/traces", **headers: str) -> tuple[httpx2.Response, list[Any]]:
    """The answer, and the traces that are there after it."""

    async def main() -> tuple[httpx2.Response, list[Any]]:
        async with console() as client:
            said = {name.replace("_", "-"): value for name, value in headers.items()}
            answer = await client.post(path, content=body, headers={**BEARER, **said})
            return answer, (await client.get("/api/traces", headers=BEARER)).json()

    return asyncio.run(main())


def test_json_is_taken() -> None:
    """A span in OTLP's JSON, its ids in hex, is a trace."""
    answer, traces = send(
        json.dumps(otlp("order", spanned(7))).encode(), content_type="application/json; charset=utf-8"
    )
    assert (answer.status_code, answer.json()) == (200, {})
    assert [(trace["id"], trace["service"]) for trace in traces] == [(f"{7:032x}", "order")]


def test_protobuf_is_taken() -> None:
    """The same as protobuf; the answer is in the same encoding."""
    answer, traces = send(packed(bare(otlp("order", spanned()))), content_type="application/x-protobuf")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"", "application/x-protobuf")
    assert [trace["name"] for trace in traces] == ["GET /"]


def test_compressed_bodies_are_taken() -> None:
    """gzip and deflate, as senders are told to use them."""
    body = json.dumps(otlp("order", spanned())).encode()
    for encoding, packing in (("gzip", gzip.compress), ("deflate", zlib.compress), ("GZIP", gzip.compress)):
        answer, traces = send(packing(body), content_type="application/json", content_encoding=encoding)
        assert (answer.status_code, len(traces)) == (200, 1)


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    """A small body that would become a large one is 413, and is never unpacked as a whole."""
    body = gzip.compress(bytes(MAX_UNPACKED + 1))
    assert len(body) < 64 * 1024
    answer, _ = send(body, content_type="application/x-protobuf", content_encoding="gzip")
    assert answer.status_code == 413
    assert "unpacked" in answer.text


def test_a_body_that_is_too_large_is_refused_while_it_comes() -> None:
    """Whatever its length says, no more than the limit is read."""
    answer, _ = send(bytes(MAX_BODY + 1), content_type="application/x-protobuf")
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff\xfe garbage", {"content_type": "application/x-protobuf"}, 400),
        (b"not json", {"content_type": "application/json"}, 400),
        (b"[]", {"content_type": "application/json"}, 400),
        (b"[" * 100_000, {"content_type": "application/json"}, 400),
        (b'{"resourceSpans": 7}', {"content_type": "application/json"}, 400),
        (
            b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": 7}]}]}]}',
            {"content_type": "application/json"},
            400,
        ),
        (
            b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": ["xyz"]}]}]}]}',
            {"content_type": "application/json"},
            400,
        ),
        (b"{}", {"content_type": "text/plain"}, 415),
        (b"{}", {}, 415),
        (b"{}", {"content_type": "application/json", "content_encoding": "br"}, 415),
        (b"{}", {"content_type": "application/json", "content_encoding": "gzip"}, 400),
        (
            gzip.compress(b"{}" * 99, mtime=0)[:-9],
            {"content_type": "application/json", "content_encoding": "gzip"},
            400,
        ),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(body: bytes, headers: dict[str, str], status: int) -> None:
    """A clear 4xx, never a crash, and nothing of what was sent is repeated."""
    answer, traces = send(body, **headers)
    assert answer.status_code == status
    assert answer.text.strip()
    assert "xyz" not in answer.text
    assert traces == []


def test_unknown_fields_are_passed_over() -> None:
    """Newer senders say more than we know: it is not read and does no harm."""
    request = otlp("order", spanned(newField={"deep": [1]}, flags=257))
    request["later"] = True
    answer, traces = send(json.dumps(request).encode(), content_type="application/json")
    assert (answer.status_code, len(traces)) == (200, 1)


def test_metrics_are_taken_and_thrown_away() -> None:
    """A program that sends all three is told that all is well."""
    assert send(b"\x0a\x00", "/v1/metrics", content_type="application/x-protobuf")[0].status_code == 200


def test_spans_without_ids_are_left_out() -> None:
    """They belong to no trace; the others of the request are taken."""
    request = otlp("order", spanned(1, traceId=""), spanned(2, spanId="ab"), spanned(4, spanId="x" * 16), spanned(3))
    assert [span.id for span in spans(json.dumps(request).encode(), "application/json")] == [f"{3:016x}"]


def test_a_span_is_cut_to_what_is_kept() -> None:
    """Long values, many attributes and many spans of a request: so much is taken, and no more."""
    many = [{"key": f"k{n}", "value": {"stringValue": "v" * 5000}} for n in range(100)]
    (span,) = spans(json.dumps(otlp("s" * 500, spanned(name="n" * 5000, attributes=many))).encode(), "application/json")
    assert len(span.attributes) == MAX_ATTRIBUTES
    assert {len(str(value)) for value in span.attributes.values()} == {MAX_VALUE}
    assert (len(span.name), len(span.service)) == (120, 120)
    request = bare(otlp("order", *(spanned(n) for n in range(MAX_SPANS + 5))))
    assert len(spans(packed(request), "application/x-protobuf")) == MAX_SPANS


def test_what_counts_as_failed() -> None:
    """A span that says so, or a server's 5xx; a caller's 404 is none, and neither is a server's."""
    status = [{"key": "http.response.status_code", "value": {"intValue": "503"}}]
    missing = [{"key": "http.response.status_code", "value": {"intValue": "404"}}]
    request = otlp(
        "order",
        spanned(1, status={"code": 2, "message": "boom"}),
        spanned(2, attributes=status),
        spanned(3, attributes=missing),
        spanned(4, attributes=missing, kind=CLIENT),
        spanned(5, kind=SERVER),
    )
    found = spans(json.dumps(request).encode(), "application/json")
    assert [span.error for span in found] == [True, True, False, False, False]
    assert found[0].attributes["status.message"] == "boom"


def test_what_a_caller_calls_an_error_counts_against_who_was_called_only_when_it_was_his() -> None:
    """Of a client span that says it failed, as OpenTelemetry has it for each 4xx: 5xx, 408 and 429 count, 404 and 409 do not."""
    statuses = (404, 409, 408, 429, 500, 503, 200)
    request = otlp(
        "order",
        *(
            spanned(
                number,
                kind=CLIENT,
                status={"code": 2},
                attributes=[{"key": "http.response.status_code", "value": {"intValue": str(status)}}],
            )
            for number, status in enumerate(statuses, 1)
        ),
    )
    found = spans(json.dumps(request).encode(), "application/json")
    assert [span.error for span in found] == [False, False, True, True, True, True, True]


def test_numbers_that_are_none_are_written_as_text() -> None:
    """JSON has no infinity: a page that reads it must not break."""
    given = [{"key": "a", "value": {"doubleValue": "Infinity"}}, {"key": "b", "value": {"arrayValue": {"values": []}}}]
    (span,) = spans(json.dumps(otlp("order", spanned(attributes=given))).encode(), "application/json")
    assert span.attributes == {"a": "inf", "b": "(array)"}


@settings(max_examples=200)
@given(st.binary(max_size=300), st.sampled_from(["application/x-protobuf", "application/json", "text/html"]))
def test_no_bytes_crash_the_reader(body: bytes, kind: str) -> None:
    """Whatever comes is spans, records, or the one error that has a status."""
    for read in (spans, records):
        with suppress(Unreadable):
            assert isinstance(read(body, kind), list)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
NAMES = st.sampled_from(
    ["resourceSpans", "scopeSpans", "spans", "traceId", "spanId", "attributes", "key", "value", "kind", "x"]
)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=20
)


@settings(max_examples=200)
@given(st.dictionaries(NAMES, TREES, max_size=3))
def test_no_json_crashes_the_reader(tree: dict[str, Any]) -> None:
    """Fields of the right names and the wrong types are the one error that has a status."""
    with suppress(Unreadable):
        assert isinstance(spans(json.dumps(tree).encode(), "application/json"), list)
