"""What services asked each other in traces: one record for each call, with both of its ends."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from skerry.architecture.joining import images
from skerry.architecture.joining.names import Names
from skerry.architecture.traces.spans import Span, SpanKind, Traces

_VARIES: Final = re.compile(
    r"/(?!v\d+(?:/|$))(?:\{[^}/]*\}|<[^>/]*>|:\w+|\*|\d+|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-fA-F]{16,}|[^/]*\d[^/]*)(?=/|$)"
)
_HOST: Final = re.compile(r"^\w[\w+.-]*://[^/]*")
_NUMBER: Final = re.compile(r"\d+")
_FAULTLESS: Final = frozenset({"1", "3", "5", "6", "7", "9", "11", "16"})
"""gRPC: what the caller did wrong, or the answer no; the peer is up."""
_FAULTLESS_NAMES: Final = frozenset(
    {
        "ALREADY_EXISTS",
        "CANCELLED",
        "FAILED_PRECONDITION",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "OUT_OF_RANGE",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
    }
)
MAX_HEIGHT: Final = 200
"""Spans between a call and the request that it is made for."""


class Way(StrEnum):
    """By what a call goes."""

    HTTP = "http"
    RPC = "rpc"
    DATABASE = "database"
    MESSAGE = "message"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One call of one service. `span` is the caller's own, or the peer's where the caller's was not kept."""

    caller: str
    peer: str
    inside: bool
    """Whether the peer is a service that shows spans or that the model knows."""
    way: Way
    what: str
    """`GET /items/{}`, `Stock/Count`."""
    url: str
    """As far as it was kept, to tell equal questions from different ones."""
    span: Span
    entry: Span | None
    """The request or message that the caller was at work on; None where the trace does not show it."""
    answered: bool
    """Whether the peer's own span is there."""
    failed: bool
    """The peer's fault: an error that is no refusal of this one question."""

    @property
    def seconds(self) -> float:
        """How long the caller waited."""
        return max(self.span.end - self.span.start, 0.0)


def exchanges(traces: Traces, names: Names) -> Iterator[tuple[str, list[Exchange]]]:
    """The calls of each trace, in the order of their start."""
    for trace, spans in traces.traces.items():
        yield trace, list(_Trace(spans, names).exchanges())


class _Trace:
    def __init__(self, spans: tuple[Span, ...], names: Names) -> None:
        self._spans = spans
        self._names = names
        self._by_id = {span.span: span for span in spans}
        self._answers: dict[str, Span] = {}
        for span in spans:
            if span.kind is SpanKind.SERVER and span.parent in self._by_id:
                self._answers.setdefault(span.parent, span)
        self._inner = {span.parent: span for span in spans if span.span in self._answers and self._doubled(span)}

    def exchanges(self) -> Iterator[Exchange]:
        for span in self._spans:
            parent = self._by_id.get(span.parent)
            if span.kind is SpanKind.CLIENT:
                if not self._doubled(span):
                    yield self._exchange(span, span.service, self._answer(span), span)
            elif parent is not None and span.kind is SpanKind.SERVER and self._bare(span, parent):
                yield self._exchange(span, parent.service, span, parent)

    def _doubled(self, span: Span) -> bool:
        """Whether it tells once more of the call it stands below, as a library within a library does; a further try does not."""
        parent = self._by_id.get(span.parent)
        if parent is None or parent.service != span.service:
            return False
        both = parent.kind is SpanKind.CLIENT and span.kind is SpanKind.CLIENT
        return both and span.start <= parent.end and not span.attributes.get("http.request.resend_count")

    def _bare(self, span: Span, parent: Span) -> bool:
        """Whether the caller's own span of a call was not kept."""
        apart = self._names.service(parent.service) != self._names.service(span.service)
        return apart and parent.kind in {SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CONSUMER}

    def _answer(self, span: Span) -> Span | None:
        """The peer's span; below a second span of the same call, where a library tells of it twice."""
        found = self._answers.get(span.span)
        if found is None:
            inner = self._inner.get(span.span)
            found = self._answers.get(inner.span) if inner is not None and inner.service == span.service else None
        return found

    def _exchange(self, span: Span, caller: str, answer: Span | None, below: Span) -> Exchange:
        said = span.attributes
        way = way_of(said)
        peer, inside = self._peer(said, answer)
        if way is Way.OTHER and not inside and images.store_kind(peer):
            way = Way.DATABASE  # an old driver says whom it asks and no more
        return Exchange(
            caller=self._names.service(caller),
            peer=peer,
            inside=inside,
            way=way,
            what=_what(span, answer, way),
            url=_url(said),
            span=span,
            entry=self._entry(below),
            answered=answer is not None,
            failed=span.error and not _refused(said),
        )

    def _peer(self, said: Mapping[str, str | int | float | bool], answer: Span | None) -> tuple[str, bool]:
        if answer is not None:
            return self._names.service(answer.service), True
        for name in ("peer.service", "server.address", "rpc.service"):
            given = str(said.get(name, ""))
            if given:
                found = self._names.known(given) if name == "peer.service" else self._names.host(given)
                return (found, True) if found else (given, False)
        host = _HOST.match(str(said.get("url.full", "")))
        address = host[0].partition("://")[2] if host else ""
        found = self._names.host(address)
        return (found, True) if found else (address, False)

    def _entry(self, span: Span) -> Span | None:
        current: Span | None = span
        for _ in range(MAX_HEIGHT):
            if current is None or current.service != span.service:
                return None
            if current.kind in {SpanKind.SERVER, SpanKind.CONSUMER}:
                return current
            current = self._by_id.get(current.parent)
        return None


def way_of(said: Mapping[str, str | int | float | bool]) -> Way:
    """By what a span's call goes, as its attributes say."""
    for start, way in (("db.", Way.DATABASE), ("messaging.", Way.MESSAGE), ("rpc.", Way.RPC)):
        if any(name.startswith(start) for name in said):
            return way
    return Way.HTTP if any(name.startswith(("http.", "url.")) for name in said) else Way.OTHER


def _url(said: Mapping[str, str | int | float | bool]) -> str:
    given = said.get("url.full")
    if given:
        return str(given)
    query = str(said.get("url.query", ""))
    path = str(said.get("url.path", ""))
    return f"{path}?{query}" if query and "?" not in path else path


def route_of(said: Mapping[str, str | int | float | bool]) -> str:
    """The path that was asked for, with `{}` for what varies."""
    given = said.get("url.template") or said.get("http.route") or said.get("url.path") or said.get("url.full") or ""
    path = _HOST.sub("", str(given)).partition("?")[0].partition("#")[0]
    return _VARIES.sub("/{}", path.rstrip("/") if len(path) > 1 else path)


def _what(span: Span, answer: Span | None, way: Way) -> str:
    said = span.attributes
    if way is Way.RPC:
        method = str(said.get("rpc.method", ""))
        service = str(said.get("rpc.service", "")).rpartition(".")[2]
        return (f"{service}/{method}" if service and method else method) or span.name
    if way is Way.DATABASE:
        operation = str(said.get("db.operation.name", ""))
        return f"{operation} {said.get('db.collection.name', '')}".strip() or span.name.partition(" ")[0]
    if way is Way.HTTP:
        method = str(said.get("http.request.method", "")).upper() or (
            str(answer.attributes.get("http.request.method", "")).upper() if answer else ""
        )
        answered = answer.attributes.get("http.route") if answer else None
        route = route_of({"http.route": answered} if answered else said)
        return f"{method} {route}".strip() or _NUMBER.sub("{}", span.name)
    return _NUMBER.sub("{}", span.name)


def _refused(said: Mapping[str, str | int | float | bool]) -> bool:
    """An error that says no to this one question; the peer is up."""
    status = str(said.get("http.response.status_code", ""))
    if re.fullmatch(r"[0-9]{3}", status):
        return 400 <= int(status) < 500 and int(status) not in {408, 429}
    grpc = str(said.get("rpc.grpc.status_code") or said.get("rpc.response.status_code") or "")
    return grpc in _FAULTLESS or grpc.upper() in _FAULTLESS_NAMES
