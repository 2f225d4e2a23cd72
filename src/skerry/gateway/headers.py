"""Which headers cross the gateway, in both directions.

A client can say nothing that a service would take for the gateway's word: who the user is, where the request came from, and
what travels between services.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import urlsplit

from skerry import context
from skerry.clock import SYSTEM, Clock
from skerry.context import CallContext

RawHeaders = Iterable[tuple[bytes, bytes]]

SHORTEST_WAIT = 1.0
"""Seconds. Calls cut short count against the service behind a route: a stranger must not be able to open its circuit."""
HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade"
    b" expect".split()
)
_OURS_TO_SET = frozenset(
    [b"host", b"content-length", b"accept-encoding", b"forwarded", b"via", b"traceparent", b"tracestate"]
)
_TRUSTED_INSIDE = frozenset(
    [b"x-real-ip", b"x-user", b"x-remote-user", b"remote-user", b"x-client-cert", b"x-original-url"]
)
_TRUSTED_INSIDE_PREFIXES = (
    b"skerry-",
    b"x-forwarded-",
    b"x-user-",
    b"x-authenticated-",
    b"x-internal-",
    b"x-envoy-",
    b"x-rewrite-",
)
_OF_ONE_DOCUMENT = frozenset(["accept", "accept-encoding", "range"])


def incoming(headers: RawHeaders, *, scheme: str, client: str) -> list[tuple[str, str]]:
    """The headers to send on. `client` is the peer's address."""
    pairs = list(headers)
    named = _named_by_connection(pairs)
    kept = [(name, value) for name, value in pairs if name not in named and _may_enter(name)]
    host = next((value for name, value in pairs if name == b"host"), b"")
    kept += [
        (b"accept-encoding", b"identity"),  # the reply is buffered: decoding it here would only cost time
        (b"x-forwarded-for", client.encode("latin-1", "replace")),
        (b"x-forwarded-proto", scheme.encode()),
        (b"x-forwarded-host", host),
    ]
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in kept]


def for_part(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of these, the ones that make sense for a part of an aggregate, whose own answer is another document."""
    kept = [(n, v) for n, v in headers if n not in _OF_ONE_DOCUMENT and not n.startswith(("if-", "content-"))]
    return [*kept, ("accept", "application/json"), ("accept-encoding", "identity")]


def outgoing(headers: Iterable[tuple[str, str]], *, keep_length: bool = False) -> list[tuple[bytes, bytes]]:
    """The headers of a service's reply that go to the client; `keep_length` for a reply to HEAD."""
    pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    dropped = HOP_BY_HOP | _named_by_connection(pairs) | {b"server", b"date"}
    if not keep_length:
        dropped |= {b"content-length"}
    return [(name, value) for name, value in pairs if name not in dropped and not name.startswith(b"skerry-")]


def arriving_context(headers: RawHeaders, *, clock: Clock = SYSTEM) -> CallContext:
    """What of a client's context is believed: its trace, and how long it waits, from `SHORTEST_WAIT` seconds to a maximum."""
    believed = {context.TIMEOUT_HEADER, "traceparent", "tracestate"}
    told = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    believable = {name: value for name, value in told.items() if name in believed}
    arriving = context.extract(believable, clock=clock)
    if arriving.deadline is not None:
        arriving = replace(arriving, deadline=max(arriving.deadline, clock.monotonic() + SHORTEST_WAIT))
    return arriving


def public_location(location: str, *, upstream: str, rewrite: str, path: str) -> str:
    """A reply's `Location` in the client's terms: below `rewrite` becomes below `path`; other places stay as they are.

    `upstream` is the service's base address; a location that begins with it is taken as a path of the service.
    """
    if location.startswith(upstream + "/"):
        location = location[len(upstream) :]
    parts = urlsplit(location)
    prefix = rewrite.rstrip("/")
    inside = parts.path == prefix or parts.path.startswith(prefix + "/")
    if parts.scheme or parts.netloc or not inside:
        return location
    return path.rstrip("/") + location[len(prefix) :]


def _named_by_connection(pairs: RawHeaders) -> frozenset[bytes]:
    """Headers that `Connection` declares to be for this hop only (RFC 9110, section 7.6.1)."""
    values = [value for name, value in pairs if name == b"connection"]
    return frozenset(token.strip().lower() for value in values for token in value.split(b","))


def _may_enter(name: bytes) -> bool:
    # An underscore turns into a dash in CGI and WSGI, so `x_user_id` would pass for `x-user-id` there.
    forbidden = name in HOP_BY_HOP or name in _OURS_TO_SET or name in _TRUSTED_INSIDE
    return not forbidden and b"_" not in name and not name.startswith(_TRUSTED_INSIDE_PREFIXES)
