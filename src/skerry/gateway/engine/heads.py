"""The heads that the engine writes: to a service from the parsed parts of a request, to a client from those of an answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from skerry.gateway.matching import cookies
from skerry.gateway.model import IDEMPOTENT

if TYPE_CHECKING:
    from skerry.gateway.engine.exchange import Exchange
    from skerry.gateway.engine.plan import Edit, Fields, Target
    from skerry.gateway.engine.upstream import Pool
    from skerry.gateway.matching import Found
    from skerry.gateway.model import Redirect, Sticky
    from skerry.gateway.wire import ReplyHead, RequestHead

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_LINES: Final = {
    status: f"HTTP/1.1 {status} {_PHRASES.get(status, 'Unknown')}\r\n".encode("ascii") for status in range(100, 600)
}
_FIELD: Final = b": ".join
CHUNKED: Final = b"transfer-encoding: chunked\r\n"
CLOSE: Final = b"connection: close\r\n"
KEEP_ALIVE: Final = b"connection: keep-alive\r\n"
_UPGRADE: Final = b"connection: upgrade\r\nupgrade: websocket\r\n"
_BODILESS: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


def lines(fields: Fields) -> bytes:
    """Header lines. Nothing in `fields` can hold a line end: what was read was checked, and so was what is configured."""
    return b"\r\n".join(map(_FIELD, fields)) + b"\r\n" if fields else b""


def reply(status: int, fields: Fields, framing: bytes) -> bytes:
    """The head of an answer to the client; `framing` holds whole lines."""
    return b"%b%b%b\r\n" % (_LINES[status], lines(fields), framing)


def edited(fields: Fields, edits: tuple[Edit, ...]) -> Fields:
    """`fields` after some edits."""
    for edit in edits:
        fields = edit.apply(fields)
    return fields


def rewritten(path: str, prefix: str, replacement: str) -> str:
    """`path` with its matched `prefix` replaced. Both are canonical; slashes never double and the root is never empty."""
    rest = path[len(prefix) :] if prefix != "/" else path
    return (replacement.rstrip("/") + (rest if rest.startswith("/") or not rest else "/" + rest)) or "/"


def towards(exchange: Exchange, target: Target, pool: Pool, left: float, *, mark: bytes = b"") -> bytes:
    """The head of a request to one instance of a service, `left` seconds before its deadline; `mark` holds more whole lines."""
    head, plan = exchange.head, exchange.plan
    assert plan is not None
    path, host = head.path, head.authority or pool.authority
    rewrite = plan.rewrite
    if rewrite is not None:
        assert exchange.found is not None
        if rewrite.full is not None:
            path = rewrite.full
        elif rewrite.prefix is not None:
            path = rewritten(path, exchange.found.prefix, rewrite.prefix)
        host = rewrite.host or host
    fields = head.headers
    again = plan.policy.retry.attempts > 1 and (head.method in IDEMPOTENT or exchange.repeatable)
    if not again and plan.strangled is not None:
        again = plan.strangled.spares(target, head.method)
    said = exchange.worker.said(exchange, left, retries=again)
    if plan.request:
        fields = edited(fields, plan.request)
    if target.request:
        fields = edited(fields, target.request)
    if head.length == 0:
        framing = b"" if head.method in _BODILESS else b"content-length: 0\r\n"
    elif head.length > 0:
        framing = b"content-length: %d\r\n" % head.length
    else:
        framing = CHUNKED
    if head.upgrade == "websocket":
        framing = _UPGRADE
    target_of = path if head.query is None else f"{path}?{head.query}"
    line = f"{head.method} {target_of} HTTP/1.1\r\nhost: ".encode("ascii")
    return b"%b%b\r\n%b%b%b%b\r\n" % (line, host, lines(fields) if fields else b"", said, mark, framing)


def path_towards(exchange: Exchange) -> str:
    """The path that a request has on its way to a service."""
    plan, found, path = exchange.plan, exchange.found, exchange.head.path
    if plan is None or found is None or plan.rewrite is None:
        return path
    rewrite = plan.rewrite
    if rewrite.full is not None:
        return rewrite.full
    return path if rewrite.prefix is None else rewritten(path, found.prefix, rewrite.prefix)


def for_parts(exchange: Exchange) -> list[tuple[str, str]]:
    """A request's headers for the parts of an aggregate."""
    head = exchange.head
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]


def sticky_key(sticky: Sticky, head: RequestHead) -> str | None:
    """What keeps a request with others like it; None when it brings nothing of the kind."""
    if sticky.source == "header":
        return head.header(sticky.name.lower().encode("latin-1"))
    return cookies(head.header(b"cookie") or "").get(sticky.name)


def location(redirect: Redirect, head: RequestHead, found: Found, *, secure: bool) -> bytes:
    """Where a redirect leads."""
    own = "https" if secure else "http"
    scheme = redirect.scheme or own
    host = redirect.host or head.host
    port = redirect.port
    if port is None and redirect.scheme is None:
        port = head.port
    path = head.path
    if redirect.full is not None:
        path = redirect.full
    elif redirect.prefix is not None:
        path = rewritten(path, found.prefix, redirect.prefix)
    shown = "" if port is None or port == {"http": 80, "https": 443}[scheme] else f":{port}"
    query = "" if head.query is None else f"?{head.query}"
    return f"{scheme}://{host}{shown}{path}{query}".encode("ascii", "replace")


def public_location(exchange: Exchange, head: ReplyHead, pool: Pool | None) -> bytes | None:
    """An answer's `Location` in the client's terms: below the rewritten prefix becomes below the matched one. None: it stays."""
    plan, found = exchange.plan, exchange.found
    if plan is None or found is None or plan.rewrite is None or plan.rewrite.prefix is None:
        return None
    told = next((value for name, value in head.headers if name == b"location"), None)
    if told is None:
        return None
    place = told.decode("latin-1")
    if pool is not None and place.startswith(pool.url + "/"):
        place = place[len(pool.url) :]
    prefix = plan.rewrite.prefix.rstrip("/")
    inside = place == prefix or place.startswith((prefix + "/", prefix + "?"))
    if not inside or place.startswith("//"):
        return None
    return (found.prefix.rstrip("/") + place[len(prefix) :]).encode("latin-1") or b"/"
