"""Answers made smaller on their way: gzip, piece by piece, where it helps and does no harm.

An answer that mixes a secret with words of the request tells the secret by its length when compressed (BREACH), so a route
has to ask for it. Source: RFC 9110, sections 8.4, 8.8.1 and 12.5.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

Pairs = list[tuple[bytes, bytes]]

LEAST = 860
"""Bytes. Below, an answer fits one packet anyway, and the headers that say so eat the gain."""
LEVEL = 4
_WINDOW = 16 + 14  # gzip, 16 KiB to look back: with this memory a stream costs about 100 KiB instead of 256
_MEMORY = 7
_TYPES = frozenset(
    b"application/json application/javascript application/xml application/x-ndjson application/x-javascript"
    b" application/wasm application/graphql-response+json application/vnd.ms-fontobject application/manifest+json"
    b" image/svg+xml image/bmp image/x-icon font/ttf font/otf".split()
)
_BODILESS = frozenset([204, 205, 206, 304])
# what described the bytes of the answer as they were
_STALE = frozenset([b"content-length", b"accept-ranges", b"content-md5", b"digest", b"content-digest", b"repr-digest"])


class Encoder:
    """One answer's body on its way through gzip. With `flush` nothing is held back: each piece can be read when it arrives.

    Example: `first = encoder.feed(piece)`, and at the end `last = encoder.finish()`.
    """

    __slots__ = ("_deflate", "flush")

    name = b"gzip"

    def __init__(self, *, flush: bool) -> None:
        self.flush: bool = flush
        self._deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY)

    def feed(self, piece: bytes | memoryview) -> bytes:
        """What can be sent on after `piece`; may be empty without `flush`."""
        done = self._deflate.compress(piece)
        return done + self._deflate.flush(zlib.Z_SYNC_FLUSH) if self.flush else done

    def finish(self) -> bytes:
        """The rest, once."""
        return self._deflate.flush(zlib.Z_FINISH)


def choose(
    accept_encoding: bytes | None,
    content_type: bytes | None,
    *,
    status: int,
    length: int | None,
    method: bytes = b"GET",
    content_encoding: bytes | None = None,
    cache_control: bytes | None = None,
) -> Encoder | None:
    """How to encode this answer for this client, or None to send it as it is.

    `length` is its length in bytes, None when it is not known: then each piece is flushed, for the service that sends in pieces
    means each to arrive. Nothing is encoded that is short, encoded already, of a type that does not get smaller, a part of
    something (206), without a body (HEAD, 204, 304), or marked `no-transform`.
    """
    if not _gains(content_type, status, length, method, content_encoding, cache_control):
        return None
    return Encoder(flush=length is None) if accepts_gzip(accept_encoding) else None


def apply(
    method: bytes, accept_encoding: bytes | None, status: int, headers: Iterable[tuple[bytes, bytes]]
) -> tuple[Encoder | None, Pairs]:
    """The encoder for this answer, if any, and the headers to send with it. Names are in lower case.

    An answer that would be encoded for another client says `Vary` to this one too. Encoded, it has no length beforehand and its
    entity tag is weak: it stands for the same, but not for the same bytes.
    """
    pairs = list(headers)
    found = dict(pairs)
    declared = found.get(b"content-length")
    length = int(declared) if declared is not None and declared.isdigit() else None
    about = (
        found.get(b"content-type"),
        status,
        length,
        method,
        found.get(b"content-encoding"),
        found.get(b"cache-control"),
    )
    if not _gains(*about) or any(_forbids(name, value) for name, value in pairs):
        return None, pairs
    vary = (b"vary", b"Accept-Encoding")
    if not accepts_gzip(accept_encoding):
        return None, [*pairs, vary]
    kept = [(n, b"W/" + v if n == b"etag" and v[:2] != b"W/" else v) for n, v in pairs if n not in _STALE]
    return Encoder(flush=length is None), [*kept, (b"content-encoding", b"gzip"), vary]


def accepts_gzip(accept_encoding: bytes | None) -> bool:
    """Whether a client that sent this takes gzip, and would not rather have the answer as it is.

    Without the header, which allows all, the answer stays as it is: such clients are simple ones.
    """
    if accept_encoding is None:
        return False
    if b";" not in accept_encoding and b"," not in accept_encoding:
        return accept_encoding.strip().lower() in {b"gzip", b"x-gzip", b"*"}
    wanted: dict[bytes, float] = {}
    for item in accept_encoding.lower().split(b",", 32)[:32]:
        coding, _, parameter = item.partition(b";")
        wanted[coding.strip()] = _quality(parameter)
    others = wanted.get(b"*", 0.0)
    gzip = wanted.get(b"gzip", wanted.get(b"x-gzip", others))
    return gzip > 0.0 and gzip >= wanted.get(b"identity", 0.0)


def compressible(content_type: bytes | None) -> bool:
    """Whether bodies of this type get smaller by more than it costs."""
    if content_type is None:
        return False
    kind = content_type.partition(b";")[0].strip().lower()
    return kind in _TYPES or kind.startswith(b"text/") or kind.endswith((b"+json", b"+xml"))


def _gains(
    content_type: bytes | None,
    status: int,
    length: int | None,
    method: bytes,
    content_encoding: bytes | None,
    cache_control: bytes | None,
) -> bool:
    if length is not None and length < LEAST:
        return False
    if method == b"HEAD" or status < 200 or status in _BODILESS:
        return False
    if content_encoding is not None and content_encoding.strip().lower() != b"identity":
        return False
    if cache_control is not None and b"no-transform" in cache_control.lower():
        return False
    return compressible(content_type)


def _forbids(name: bytes, value: bytes) -> bool:
    """Of repeated headers a mapping keeps the last only; each of these binds."""
    return (name == b"cache-control" and b"no-transform" in value.lower()) or (
        name == b"content-encoding" and value.strip().lower() != b"identity"
    )


def _quality(parameter: bytes) -> float:
    """The weight in `;q=0.5`; 1 without one, 0 for one that cannot be read."""
    name, _, value = parameter.strip().partition(b"=")
    if not name:
        return 1.0
    text = value.strip()
    if name.strip() != b"q" or len(text) > 5 or not text.replace(b".", b"", 1).isdigit():
        return 0.0
    return min(float(text), 1.0)
