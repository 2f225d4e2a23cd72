"""HTTP/1.1 as the embedded engine reads it (RFC 9110, RFC 9112): what two parsers could read differently is refused."""

from __future__ import annotations

from skerry.gateway.wire.chunks import Chunks, chunk
from skerry.gateway.wire.crossing import HOP_BY_HOP, Crossing, crossing
from skerry.gateway.wire.faults import BadMessage
from skerry.gateway.wire.paths import canonical, canonical_query, template
from skerry.gateway.wire.reply import ReplyHead, read_reply
from skerry.gateway.wire.request import RequestHead, read_request

__all__ = [
    "HOP_BY_HOP",
    "BadMessage",
    "Chunks",
    "Crossing",
    "ReplyHead",
    "RequestHead",
    "canonical",
    "canonical_query",
    "chunk",
    "crossing",
    "read_reply",
    "read_request",
    "template",
]
