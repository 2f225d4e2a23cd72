"""The messages of OTLP as the console declares them, against bytes written by hand after the protocol's own numbers."""

from __future__ import annotations

import pytest

from skerry.console.otlp import PROTOBUF, records, spans


def field(number: int, content: bytes) -> bytes:
    """A field whose length stands before it: wire type 2."""
    low, high = len(content) & 0x7F, len(content) >> 7
    return bytes([number << 3 | 2, *([low | 0x80, high] if high else [low])]) + content


def fixed(number: int, value: int) -> bytes:
    """A field of 64 bits: wire type 1."""
    return bytes([number << 3 | 1]) + value.to_bytes(8, "little")


def whole(number: int, value: int) -> bytes:
    """A small whole number: wire type 0."""
    return bytes([number << 3, value])


def pair(key: str, value: bytes) -> bytes:
    return field(1, key.encode()) + field(2, value)


RESOURCE = field(1, field(1, pair("service.name", field(1, b"stranger"))))


def test_a_span_is_read_by_the_protocols_numbers() -> None:
    """Ids, name, kind, times, attributes and status are where opentelemetry-proto has them; what is unknown is passed over."""
    span = (
        field(1, b"\x01" * 16) + field(2, b"\x02" * 8) + field(3, b"state") + field(4, b"\x03" * 8) + field(5, b"GET /")
        + whole(6, 2) + fixed(7, 10**18) + fixed(8, 10**18 + 25 * 10**7)
        + field(9, pair("http.route", field(1, b"/"))) + field(9, pair("retries", whole(3, 4)))
        + field(15, field(2, b"boom") + whole(3, 2))
    )  # fmt: skip
    [read] = spans(field(1, RESOURCE + field(2, field(2, span))), PROTOBUF)
    assert (read.trace, read.id, read.parent) == ("01" * 16, "02" * 8, "03" * 8)
    assert (read.service, read.name, read.kind, read.error) == ("stranger", "GET /", "server", True)
    assert (read.at, read.seconds) == pytest.approx((10**9, 0.25))
    assert read.attributes == {"http.route": "/", "retries": 4, "status.message": "boom"}


def test_a_record_is_read_by_the_protocols_numbers() -> None:
    """Time, severity, body, attributes and the name of the event are where opentelemetry-proto has them."""
    record = (
        fixed(1, 10**18) + whole(2, 13) + field(3, b"WARN") + field(5, field(1, b"slow"))
        + field(6, pair("full", whole(2, 1))) + field(12, b"skerry.outbox_changed")
    )  # fmt: skip
    [read] = records(field(1, RESOURCE + field(2, field(2, record))), PROTOBUF)
    assert (read.service, read.event) == ("stranger", "skerry.outbox_changed")
    assert read.at == pytest.approx(10**9)
    assert (read.level, read.text, read.fields) == ("warn", "slow", {"full": True})
