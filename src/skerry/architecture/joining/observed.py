"""What traces add: edges that were really used, how often and how long, and services that only they know."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from skerry.architecture.joining import images
from skerry.architecture.joining.exchanges import Way, exchanges, way_of
from skerry.architecture.joining.names import Names, is_work
from skerry.architecture.joining.opened import Databases
from skerry.architecture.model import Edge, Evidence, Observed, Service, Source
from skerry.architecture.source import Place
from skerry.architecture.traces.fields import UNKNOWN_SERVICE
from skerry.architecture.traces.spans import Span, SpanKind, Traces

_BEFORE: Final = re.compile(
    r"^(?:.*[-_.])?(?:client|browser|mobile(?:[-_]?app)?|ios(?:[-_]app)?|android(?:[-_]app)?|k6|jmeter|curl|postman)$",
    re.IGNORECASE,
)
"""What asks the system and is no part of it."""
MAX_SERVICES: Final = 500
"""Services that only traces know; of more, those that are named first are looked at."""
MAX_LINKS: Final = 200_000
"""Links of all spans that are followed."""
_MAX_PAIRS: Final = 200
"""Senders times takers of one topic; with more of them a topic is a bus, and says nothing of who reaches whom."""


@dataclass(slots=True)
class _Seen:
    times: list[float] = field(default_factory=list)
    traces: set[str] = field(default_factory=set)
    errors: int = 0
    place: Place | None = None
    protocol: str = "http"


class Runtime:
    """Edges, databases and services as traces show them. `known` are the services that manifests and code know."""

    def __init__(self, traces: Traces, known: Mapping[str, Service], hosts: Mapping[str, str]) -> None:
        first = Names(known, hosts.items())
        self._new: dict[str, Place] = {}
        for spans in traces.traces.values():
            for span in spans:
                new = span.service not in self._new and len(self._new) < MAX_SERVICES
                if new and span.service != UNKNOWN_SERVICE and first.known(span.service) is None:
                    self._new.setdefault(span.service, Place(span.file, span.line))
        # a worker that only traces know is the service that it works for, which only they know as well
        alone = {name for name in self._new if not is_work(name)}
        masters = Names({name: Service(name=name) for name in alone})
        self._new = {n: place for n, place in self._new.items() if n in alone or masters.known(n) is None}
        everyone = {**known, **{name: Service(name=name) for name in self._new}}
        self.names: Names = Names(everyone, hosts.items())
        self.databases: Databases = Databases()
        self._services = everyone
        self._edges: dict[tuple[str, str, bool, str], _Seen] = defaultdict(_Seen)
        self._sent: dict[str, set[str]] = defaultdict(set)
        self._taken: dict[str, dict[str, Span]] = defaultdict(dict)
        for spans in traces.traces.values():
            self._trace(spans)
        self._linked(traces)
        self._unanswered(traces)
        self._topics()

    def edges(self, static: tuple[Edge, ...]) -> tuple[Edge, ...]:
        """`static` with what was seen; edges that only traces know are added."""
        left = dict(self._edges)
        found = []
        for edge in static:
            keys = [
                key for key in left if key[:3] == (edge.caller, edge.callee, edge.waits) and key[3] in {edge.topic, ""}
            ]
            if not keys:
                found.append(edge)
                continue
            seen = left.pop(keys[0])
            evidence = (*edge.evidence, _said(edge.caller, edge.callee, seen))
            found.append(replace(edge, observed=_observed(seen), evidence=evidence))
        for (caller, callee, waits, topic), seen in left.items():
            found.append(
                Edge(
                    caller=caller,
                    callee=callee,
                    waits=waits,
                    protocol=seen.protocol,
                    topic=topic,
                    observed=_observed(seen),
                    evidence=(_said(caller, callee, seen),),
                )
            )
        return tuple(sorted(found, key=lambda edge: (edge.caller, edge.callee, edge.waits, edge.topic)))

    def new(self) -> dict[str, Service]:
        """Services that only traces know."""
        return {
            name: Service(
                name=name,
                language="",
                role=_role(name),
                evidence=(Evidence(f"spans of {name}", Source.TRACE, place),),
            )
            for name, place in self._new.items()
        }

    def _trace(self, spans: tuple[Span, ...]) -> None:
        by_id = {span.span: span for span in spans}
        for span in spans:
            service = self.names.service(span.service)
            parent = by_id.get(span.parent)
            caller = self.names.service(parent.service) if parent is not None else ""
            if parent is not None and caller != service and {caller, service} <= self._services.keys():
                waits = span.kind is not SpanKind.CONSUMER and parent.kind is not SpanKind.PRODUCER
                said = span.attributes.get("messaging.destination.name") or parent.attributes.get(
                    "messaging.destination.name"
                )
                topic = "" if waits else str(said or "")
                self._saw((caller, service, waits, topic), parent if waits else span, span)
            topic = str(span.attributes.get("messaging.destination.name", ""))
            if topic and span.kind is SpanKind.PRODUCER:
                self._sent[topic].add(service)
            elif topic and span.kind is SpanKind.CONSUMER and caller in {"", service}:
                self._taken[topic].setdefault(service, span)
            if service in self._services:
                self.databases.saw(service, span)

    def _linked(self, traces: Traces) -> None:
        """Messages that a span names as what it works on, as one for a whole batch does: their senders reached its service."""
        pairs = [(link, span) for spans in traces.traces.values() for span in spans for link in span.links][:MAX_LINKS]
        wanted = {trace: set[str]() for (trace, _), _ in pairs}
        for (trace, identity), _ in pairs:
            wanted[trace].add(identity)
        sent = {
            (trace, span.span): span
            for trace, those in wanted.items()
            for span in traces.traces.get(trace, ())
            if span.span in those
        }
        for link, span in pairs:
            sender = sent.get(link)
            if sender is None or span.kind is SpanKind.SERVER or not (_is_message(sender) or _is_message(span)):
                continue  # a request that begins a trace of its own links to its caller, who waits for it
            caller, service = self.names.service(sender.service), self.names.service(span.service)
            named = sender.attributes.get("messaging.destination.name")
            topic = str(named or span.attributes.get("messaging.destination.name", ""))
            if caller != service and {caller, service} <= self._services.keys():
                self._saw((caller, service, False, topic), span, span)

    def _unanswered(self, traces: Traces) -> None:
        """Calls of a service that shows no spans itself, or whose spans were not kept."""
        for _, calls in exchanges(traces, self.names):
            for each in calls:
                alone = each.inside and not each.answered and each.way not in {Way.DATABASE, Way.MESSAGE}
                if alone and each.peer != each.caller and {each.caller, each.peer} <= self._services.keys():
                    self._saw((each.caller, each.peer, True, ""), each.span, each.span)

    def _topics(self) -> None:
        """Messages whose taker began a trace of its own."""
        for topic, takers in self._taken.items():
            senders = self._sent.get(topic, set())
            if len(senders) * len(takers) > _MAX_PAIRS:
                continue
            for sender in senders:
                for taker, span in takers.items():
                    key = (sender, taker, False, topic)
                    if sender != taker and key not in self._edges and {sender, taker} <= self._services.keys():
                        self._saw(key, span, span)

    def _saw(self, key: tuple[str, str, bool, str], span: Span, other: Span) -> None:
        seen = self._edges[key]
        seen.times.append(max(span.end - span.start, 0.0))
        seen.traces.add(span.trace)
        seen.errors += span.error or other.error
        seen.place = seen.place or Place(other.file, other.line)
        if "rpc.system" in span.attributes or "rpc.system" in other.attributes:
            seen.protocol = "grpc"
        elif not key[2]:
            seen.protocol = str(other.attributes.get("messaging.system", "event"))


def _is_message(span: Span) -> bool:
    return span.kind in {SpanKind.PRODUCER, SpanKind.CONSUMER} or way_of(span.attributes) is Way.MESSAGE


def _role(name: str) -> str:
    if _BEFORE.match(name):
        return "frontend"
    return "job" if images.is_tool(name) else images.role(name, python=True)


def _observed(seen: _Seen) -> Observed:
    times = sorted(seen.times)
    return Observed(
        count=len(times),
        traces=len(seen.traces),
        p50=times[len(times) // 2],
        p99=times[min(len(times) - 1, int(len(times) * 0.99))],
        longest=times[-1],
        errors=seen.errors,
    )


def _said(caller: str, callee: str, seen: _Seen) -> Evidence:
    text = f"{caller} reached {callee} {len(seen.times)} times in {len(seen.traces)} traces"
    return Evidence(text, Source.TRACE, seen.place)
