"""The chains of services that requests really waited for."""

from __future__ import annotations

from collections import Counter
from typing import Final

from skerry.architecture.joining.exchanges import Way, way_of
from skerry.architecture.joining.names import Names
from skerry.architecture.model import SystemModel
from skerry.architecture.traces.spans import Span, SpanKind, Traces

PASSING: Final = frozenset({"gateway", "job", "frontend"})
"""Roles of what is before the services and does not count as a hop."""
MAX_CHAINS: Final = 300
"""Different chains that are compared; of more, the longest of one trace and those that most traces took."""
_MAX_HOPS: Final = 64


def chains(traces: Traces, model: SystemModel) -> tuple[Counter[tuple[str, ...]], int]:
    """How many traces went through each chain of services to its end, and how many traces there are."""
    names = Names(model.services)
    found: Counter[tuple[str, ...]] = Counter()
    for spans in traces.traces.values():
        ways = sorted(_ways(spans, model, names), key=lambda way: (-len(way), way))[:MAX_CHAINS]
        found.update(way for way in ways if not any(way != other and part(way, other) for other in ways))
    return Counter(dict(found.most_common(MAX_CHAINS))), len(traces.traces)


def part(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    """Whether `inner` stands in `outer` as it is."""
    return any(outer[i : i + len(inner)] == inner for i in range(len(outer) - len(inner) + 1))


def _ways(spans: tuple[Span, ...], model: SystemModel, names: Names) -> set[tuple[str, ...]]:
    """For each span the services that wait for it, the outermost first."""
    by_id = {span.span: span for span in spans}
    answered = {span.parent for span in spans if span.kind is SpanKind.SERVER}
    known: dict[str, tuple[str, ...]] = {}
    for span in spans:
        line: list[Span] = []
        current: Span | None = span
        while current is not None and current.span not in known and len(line) <= len(spans):
            line.append(current)
            known[current.span] = ()  # a circle of parents ends here
            current = by_id.get(current.parent)
        for each in reversed(line):
            known[each.span] = _onward(known.get(each.parent, ()), each, model, names)
            if each.kind is SpanKind.CLIENT and each.span not in answered:
                known[each.span] = _asked(known[each.span], each, model, names)
    return set(known.values())


def _onward(above: tuple[str, ...], span: Span, model: SystemModel, names: Names) -> tuple[str, ...]:
    """`above` with the service of `span`; a message ends the waiting, a gateway does not count."""
    way = () if span.kind in {SpanKind.CONSUMER, SpanKind.PRODUCER} else above
    return _with(way, names.service(span.service), model)


def _asked(way: tuple[str, ...], span: Span, model: SystemModel, names: Names) -> tuple[str, ...]:
    """`way` with whom a call goes to, where that one shows no spans of its own."""
    if way_of(span.attributes) not in {Way.HTTP, Way.RPC}:
        return way
    peer = names.host(str(span.attributes.get("peer.service") or span.attributes.get("server.address") or ""))
    return way if peer is None or peer in way else _with(way, peer, model)


def _with(way: tuple[str, ...], name: str, model: SystemModel) -> tuple[str, ...]:
    service = model.services.get(name)
    if (way and way[-1] == name) or (service is not None and service.role in PASSING) or len(way) > _MAX_HOPS:
        return way
    return (*way, name)
