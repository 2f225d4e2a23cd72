"""What traces show of workflows: a change elsewhere that went well, an error after it, and nothing that took it back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from skerry.architecture.joining import images
from skerry.architecture.model import Evidence, Source
from skerry.architecture.rules.finding import Finding, Severity, Verdict
from skerry.architecture.source import Place
from skerry.architecture.traces.spans import Span, SpanKind, Traces

_WRITES: Final = frozenset(("POST", "PUT", "PATCH"))
_UNDO: Final = re.compile(
    r"cancel|compensat|rollback|refund|release|revert|undo|restore|void|unreserve|revers|abort|delete|remove",
    re.IGNORECASE,
)
_ASKS: Final = re.compile(
    r"(?:^|[/._ -])(?:login|auth\w*|token|search|query|graphql|validate|verify|check|quote|get|list|find|read|health|batch_?get)"
    r"(?:$|[/._? -])",
    re.IGNORECASE,
)
_ASK_METHODS: Final = re.compile(
    r"^(?:Get|List|Find|Search|Query|Check|Validate|Verify|Quote|Read|Fetch)", re.IGNORECASE
)
_SPANS: Final = 2_000
"""Spans of one trace that are looked at."""
_EXAMPLES: Final = 3


def losses(traces: Traces | None, rule: str) -> Iterator[Finding]:
    """One finding for each pair of calls of a service of which the first stayed done when the second failed."""
    if traces is None:
        return
    found: dict[tuple[str, str, str], list[tuple[Span, Span]]] = {}
    undone = _undone_by_key(traces)
    for spans in traces.traces.values():
        for first, failed in _pairs(spans[:_SPANS], undone):
            found.setdefault((first.service, _what(first), _what(failed)), []).append((first, failed))
    for (service, did, failed_at), pairs in sorted(found.items()):
        first, failed = pairs[0]
        shown = tuple(
            Evidence(
                f"trace {each.trace}: {did} went well, then {failed_at} failed",
                Source.TRACE,
                Place(each.file, each.line),
            )
            for each, _ in pairs[:_EXAMPLES]
        )
        yield Finding(
            rule=rule,
            verdict=Verdict.VIOLATION,
            severity=Severity.ERROR,
            message=(
                f"{service}: {did} stayed done when {failed_at} failed, in {len(pairs)} of {len(traces.traces)} traces; no later "
                "call took it back."
            ),
            services=(service,),
            place=Place(failed.file, failed.line),
            evidence=shown,
            key=f"trace:{service}:{did}:{failed_at}",
        )


def _pairs(spans: Sequence[Span], undone: set[str]) -> Iterator[tuple[Span, Span]]:
    by_id = {span.span: span for span in spans}
    spans = [_asked(span, by_id.get(span.parent)) for span in spans]
    calls: dict[str, list[Span]] = {}
    for span in spans:
        if span.kind in {SpanKind.CLIENT, SpanKind.PRODUCER} and not _is_database(span):
            calls.setdefault(_entry(span, by_id), []).append(span)
    undoing = [span for span in spans if _UNDO.search(_words(span)) and not span.error]
    for entry, those in calls.items():
        done = [span for span in those if _changes(span) and not span.error]
        for failed in (span for span in those if span.error):
            if any(_what(each) == _what(failed) and not each.error and each.start > failed.start for each in those):
                continue
            before = [each for each in done if each.end <= failed.start and _what(each) != _what(failed)]
            first = next((each for each in before if not _taken_back(each, failed, undoing, undone)), None)
            if first is not None and _lost(by_id.get(entry), failed):
                yield first, failed
                break


def _asked(span: Span, parent: Span | None) -> Span:
    """A call of which only the answering side was kept, as its caller would have told of it."""
    if (
        span.kind is not SpanKind.SERVER
        or parent is None
        or parent.service == span.service
        or parent.kind is SpanKind.CLIENT
    ):
        return span
    attributes = {**span.attributes, "peer.service": span.service}
    return replace(span, kind=SpanKind.CLIENT, service=parent.service, attributes=attributes)


def _lost(entry: Span | None, failed: Span) -> bool:
    """Whether the request failed with it. Where no span says how it ended, a change that failed is taken for its end."""
    if entry is None or entry.error:
        return True
    told = any(name in entry.attributes for name in ("http.response.status_code", "rpc.grpc.status_code"))
    return not told and _changes(failed)


def _taken_back(first: Span, failed: Span, undoing: Sequence[Span], undone: set[str]) -> bool:
    """Whether a later call undoes it, in this trace or, by the same key, in another one."""
    if any(_after(each, failed) and _same_peer(each, first) for each in undoing):
        return True
    return bool(_keys(first) & undone)


def _after(undo: Span, failed: Span) -> bool:
    """Clocks of two services are not compared."""
    return undo.service != failed.service or undo.start >= failed.start


def _same_peer(undo: Span, first: Span) -> bool:
    peer, other = _peer(first), _peer(undo)
    alike = {images.bare(each.partition(".")[0]) for each in (other, undo.service) if each}
    return not peer or not other or images.bare(peer.partition(".")[0]) in alike


def _undone_by_key(traces: Traces) -> set[str]:
    found: set[str] = set()
    for spans in traces.traces.values():
        for span in spans[:_SPANS]:
            if _UNDO.search(_words(span)) and not span.error:
                found |= _keys(span)
    return found


def _keys(span: Span) -> set[str]:
    """Values that name one thing: keys of sagas and orders, ids in a path."""
    found = {
        str(value)
        for name, value in span.attributes.items()
        if re.search(r"(?:^|[._])(?:key|id)$", name)
        and not name.startswith(("messaging.message", "thread", "process", "service"))
    }
    path = str(span.attributes.get("url.path") or span.attributes.get("url.full") or "")
    found.update(re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}|(?<=/)\d{3,}(?=/|$)", path))
    return {each for each in found if len(each) > 2}


def _entry(span: Span, by_id: dict[str, Span]) -> str:
    """The span by which the service was entered that makes this call."""
    for _ in range(50):
        parent = by_id.get(span.parent)
        if parent is None or parent.service != span.service:
            return span.parent if parent is None else span.span
        if parent.kind in {SpanKind.SERVER, SpanKind.CONSUMER}:
            return parent.span
        span = parent
    return span.span


def _is_database(span: Span) -> bool:
    return any(name.startswith("db.") for name in span.attributes)


def _changes(span: Span) -> bool:
    if span.kind is SpanKind.PRODUCER or _UNDO.search(_words(span)):
        return False
    method = str(span.attributes.get("http.request.method", "")).upper()
    rpc = str(span.attributes.get("rpc.method", ""))
    if method and not rpc:
        return method in _WRITES and not _ASKS.search(_route(span))
    return bool(rpc) and not _ASK_METHODS.match(rpc.rpartition("/")[2])


def _route(span: Span) -> str:
    given = span.attributes.get("url.template") or span.attributes.get("http.route") or span.attributes.get("url.path")
    full = str(given or span.attributes.get("url.full") or "")
    path = re.sub(r"^\w+://[^/]*", "", full).partition("?")[0]
    return re.sub(r"/(?:\d+|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16,}|[^/]*\d[^/]*)(?=/|$)", "/{}", path)


def _words(span: Span) -> str:
    return f"{span.name} {span.attributes.get('rpc.method', '')} {_route(span)} {span.attributes.get('http.request.method', '')}"


def _peer(span: Span) -> str:
    for name in ("peer.service", "server.address", "rpc.service"):
        if span.attributes.get(name):
            return str(span.attributes[name])
    return ""


def _what(span: Span) -> str:
    rpc = span.attributes.get("rpc.method")
    method = span.attributes.get("http.request.method")
    said = f"{method} {_route(span)}".strip() if method and not rpc else str(rpc or span.name)
    return f"{said} on {_peer(span)}" if _peer(span) else said
