"""OTLP as protobuf: one message as it is sent, or what a collector's file exporter writes with `format: proto`.

Read with the messages of the package opentelemetry-proto where that is installed, as exporters bring it along, and made into
OTLP's JSON, so that everything else is as for JSON. The file exporter writes each message behind its length, four bytes with
the highest first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Final

from skerry.architecture.source.files import MiB
from skerry.architecture.traces.opened import Unusable

MAX_SIZE: Final = 32 * MiB
"""Bytes of one file: as plain values a message takes some ten times that."""
_FIRST_FIELD: Final = 0x0A
_PREFIX: Final = 4
_BLANK: Final = frozenset(b"\t\n\x0b\x0c\r\x1b")


def is_binary(head: bytes) -> bool:
    """Whether a file is no text: it has bytes that JSON cannot have."""
    return any(byte < 0x20 and byte not in _BLANK for byte in head[:4096])


def requests(content: bytes) -> Iterator[Mapping[str, object]]:
    """Each request with spans, as OTLP's JSON has it. Raises `Unusable` for anything else, and where the package is missing."""
    try:
        message: Any = import_module("opentelemetry.proto.trace.v1.trace_pb2").TracesData
        plain: Any = import_module("google.protobuf.json_format").MessageToDict
        wrong: Any = import_module("google.protobuf.message").DecodeError
    except (ImportError, AttributeError):  # the old copy that Envoy's messages bring along has no such message
        raise Unusable(
            "binary, maybe OTLP as protobuf, which needs the package `opentelemetry-proto`, installed last; "
            "or let the file exporter write `format: json`"
        ) from None
    for each in _messages(content):
        try:
            found = plain(message.FromString(each))
        except (wrong, ValueError, RecursionError):
            raise Unusable("binary: no JSON, and no OTLP as protobuf") from None
        if "resourceSpans" in found:
            yield found


def _messages(content: bytes) -> Iterator[bytes]:
    if content[:1] == bytes((_FIRST_FIELD,)):
        yield content
        return
    at = 0
    while at < len(content):
        size = int.from_bytes(content[at : at + _PREFIX], "big")
        each = content[at + _PREFIX : at + _PREFIX + size]
        if not size or len(each) < size:
            raise Unusable("binary: no JSON, and no OTLP as protobuf, or cut off")
        yield each
        at += _PREFIX + size
