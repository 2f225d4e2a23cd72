"""What traces add: edges that were really used, how often and how long, and databases that were really opened."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Final

from skerry.architecture.joining import addresses, images
from skerry.architecture.model import Datastore, Edge, Evidence, Observed, Service, Source, Use
from skerry.architecture.source import Place
from skerry.architecture.traces.spans import Span, SpanKind, Traces

_WRITES: Final = frozenset(
    {
        "INSERT",
        "UPDATE",
        "DELETE",
        "MERGE",
        "REPLACE",
        "UPSERT",
        "INSERTONE",
        "INSERTMANY",
        "UPDATEONE",
        "UPDATEMANY",
        "DELETEONE",
        "DELETEMANY",
        "FINDANDMODIFY",
        "COPY",
    }
)


@dataclass(slots=True)
class _Seen:
    times: list[float] = field(default_factory=list)
    traces: set[str] = field(default_factory=set)
    errors: int = 0
    place: Place | None = None
    protocol: str = "http"


@dataclass(slots=True)
class _Data:
    store: Datastore
    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    place: Place | None = None
    count: int = 0


class Runtime:
    """Edges, stores and services as traces show them; `named` finds the service that a trace means by a name."""

    def __init__(self, traces: Traces, spellings: dict[str, str]) -> None:
        self._spellings = spellings
        self.services: dict[str, Place] = {}
        self._edges: dict[tuple[str, str, bool, str], _Seen] = defaultdict(_Seen)
        self._data: dict[tuple[str, str], _Data] = {}
        for spans in traces.traces.values():
            self._trace(spans)

    def name(self, service: str) -> str:
        """The model's name for a trace's service."""
        return self._spellings.get(service) or self._spellings.get(images.bare(service)) or service

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
            found.append(
                replace(
                    edge, observed=_observed(seen), evidence=(*edge.evidence, _said(edge.caller, edge.callee, seen))
                )
            )
        for (caller, callee, waits, topic), seen in left.items():
            evidence = (_said(caller, callee, seen),)
            found.append(
                Edge(
                    caller=caller,
                    callee=callee,
                    waits=waits,
                    protocol=seen.protocol,
                    topic=topic,
                    observed=_observed(seen),
                    evidence=evidence,
                )
            )
        return tuple(sorted(found, key=lambda edge: (edge.caller, edge.callee, edge.waits, edge.topic)))

    def uses(self) -> dict[tuple[str, str], tuple[Datastore, Use]]:
        """By service and identity of the store."""
        found = {}
        for (service, identity), data in self._data.items():
            text = f"{service} opened {identity} in {data.count} spans"
            use = Use(
                service=service,
                store=identity,
                reads=frozenset(data.reads),
                writes=frozenset(data.writes),
                evidence=(Evidence(text, Source.TRACE, data.place),),
            )
            found[service, identity] = (data.store, use)
        return found

    def new(self, known: dict[str, Service]) -> dict[str, Service]:
        """Services that only traces know."""
        return {
            name: Service(name=name, language="", evidence=(Evidence(f"spans of {name}", Source.TRACE, place),))
            for name, place in self.services.items()
            if name not in known
        }

    def _trace(self, spans: tuple[Span, ...]) -> None:
        by_id = {span.span: span for span in spans}
        for span in spans:
            service = self.name(span.service)
            self.services.setdefault(service, Place(span.file, span.line))
            parent = by_id.get(span.parent)
            if parent is not None and self.name(parent.service) != service:
                waits = span.kind is not SpanKind.CONSUMER and parent.kind is not SpanKind.PRODUCER
                topic = "" if waits else str(span.attributes.get("messaging.destination.name", ""))
                self._saw((self.name(parent.service), service, waits, topic), parent if waits else span, span)
            if "db.system.name" in span.attributes or "db.namespace" in span.attributes:
                self._database(service, span)

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

    def _database(self, service: str, span: Span) -> None:
        said = span.attributes
        kind = str(said.get("db.system.name", "database"))
        kind = addresses.SCHEMES.get(kind, kind)
        host, namespace = str(said.get("server.address", "")), str(said.get("db.namespace", ""))
        if not host and not namespace:
            return
        if kind == "sqlite":
            host = ""
        port = said.get("server.port") or addresses.PORTS.get(kind, 0)
        database, _, schema = namespace.partition("|")
        server = f"{host}:{port}" if host and port else host or service
        identity = (
            f"sqlite:{service}/{database}"
            if kind == "sqlite"
            else f"{kind}://{server}/{database}" + (f"/{schema}" if schema else "")
        )
        data = self._data.get((service, identity))
        if data is None:
            store = Datastore(
                identity=identity,
                kind=kind,
                server=server,
                database=database,
                schema=schema,
                broker=kind in images.PASSING,
            )
            data = self._data[service, identity] = _Data(store, place=Place(span.file, span.line))
        data.count += 1
        table = str(said.get("db.collection.name", "")).lower()
        if table:
            operation = str(said.get("db.operation.name", "")).upper()
            (data.writes if operation in _WRITES else data.reads).add(table)


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
