"""Traces as programs would leave them: told once, written in each format and by each generation of conventions."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

OLD = {
    "http.request.method": "http.method",
    "url.full": "http.url",
    "http.response.status_code": "http.status_code",
    "server.address": "net.peer.name",
    "server.port": "net.peer.port",
    "db.system.name": "db.system",
    "db.namespace": "db.name",
    "db.query.text": "db.statement",
    "db.operation.name": "db.operation",
    "db.collection.name": "db.sql.table",
    "messaging.destination.name": "messaging.destination",
}
KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
BEGIN = 1_780_000_000.0


@dataclass
class Told:
    """One span, in seconds after `BEGIN`."""

    trace: str
    span: str
    parent: str
    service: str
    name: str
    kind: str
    start: float
    length: float
    error: bool
    tags: dict[str, Any]
    links: list[Told] = field(default_factory=list)


@dataclass
class Story:
    """Spans of some traces; every number comes from the seed."""

    seed: int = 1
    spans: list[Told] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)

    def span(
        self,
        service: str,
        name: str,
        kind: str = "server",
        *,
        below: Told | None = None,
        at: float = 0.0,
        length: float = 0.05,
        error: bool = False,
        **tags: Any,
    ) -> Told:
        """A span; `at` is after the start of the one that it is below. `__` in a tag's name stands for a dot."""
        told = Told(
            trace=below.trace if below else f"{self.random.getrandbits(128) | 1 << 127:032x}",
            span=f"{self.random.getrandbits(64) | 1 << 63:016x}",
            parent=below.span if below else "",
            service=service,
            name=name,
            kind=kind,
            start=(below.start if below else 0.0) + at,
            length=length,
            error=error,
            tags={key.replace("__", "."): value for key, value in tags.items()},
        )
        self.spans.append(told)
        return told

    def call(self, caller: Told, callee: str, what: str = "GET /a", *, answered: bool = True, **more: Any) -> Told:
        """A call by HTTP and its answer; the answering span, or the asking one where nobody answers."""
        method, _, path = what.partition(" ")
        tags = {"http__request__method": method, "server__address": callee, "url__full": f"http://{callee}:8000{path}"}
        status = 503 if more.get("error") else 200
        asked = self.span(
            caller.service, method, "client", below=caller, **{"http__response__status_code": status, **tags, **more}
        )
        if not answered:
            return asked
        route = "/".join("{id}" if any(map(str.isdigit, part)) else part for part in path.partition("?")[0].split("/"))
        return self.span(
            callee,
            f"{method} {route}",
            below=asked,
            at=0.001,
            length=max(asked.length - 0.002, 0.0),
            error=bool(more.get("error")),
            http__request__method=method,
            http__route=route,
        )

    def data(self, caller: Told, host: str, database: str, statement: str, **more: Any) -> Told:
        """A statement of SQL."""
        tags = {"db__system__name": "postgresql", "server__address": host, "db__namespace": database}
        return self.span(
            caller.service,
            statement.split(" ", maxsplit=1)[0],
            "client",
            below=caller,
            **tags,
            db__query__text=statement,
            **more,
        )


def _named(tags: dict[str, Any], *, old: bool) -> dict[str, Any]:
    return {OLD.get(key, key) if old else key: value for key, value in tags.items()}


def otlp(spans: list[Told], *, old: bool = False, base: bool = False) -> str:
    """A request a line, a line for each service and trace. `base`: as protobuf's own mapping has it."""

    def identity(text: str) -> str:
        return base64.b64encode(bytes.fromhex(text)).decode() if base and text else text

    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in spans:
        start, end = int((BEGIN + each.start) * 1e9), int((BEGIN + each.start + each.length) * 1e9)
        groups.setdefault((each.trace, each.service), []).append(
            {
                "traceId": identity(each.trace),
                "spanId": identity(each.span),
                **({"parentSpanId": identity(each.parent)} if each.parent else {}),
                "name": each.name,
                "kind": f"SPAN_KIND_{each.kind.upper()}" if base else KINDS[each.kind],
                "startTimeUnixNano": str(start) if not base else start,
                "endTimeUnixNano": str(end) if not base else end,
                "attributes": _pairs(_named(each.tags, old=old)),
                "status": ({"code": "STATUS_CODE_ERROR"} if base else {"code": 2}) if each.error else {},
                "links": [{"traceId": identity(one.trace), "spanId": identity(one.span)} for one in each.links],
            }
        )
    lines = []
    for (_, service), those in groups.items():
        resource = {"attributes": _pairs({"service.name": service})}
        lines.append(json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": those}]}]}))
    return "\n".join(lines) + "\n"


def _pairs(tags: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in tags.items()
    ]


def jaeger(spans: list[Told], *, old: bool = True, indent: int | None = None) -> str:
    """As its API answers."""
    data: dict[str, dict[str, Any]] = {}
    for each in spans:
        trace = data.setdefault(each.trace, {"traceID": each.trace, "spans": [], "processes": {}})
        trace["processes"][f"p-{each.service}"] = {"serviceName": each.service, "tags": []}
        tags = {**_named(each.tags, old=old), "span.kind": each.kind, **({"error": True} if each.error else {})}
        trace["spans"].append(
            {
                "traceID": each.trace,
                "spanID": each.span,
                "operationName": each.name,
                "references": [{"refType": "CHILD_OF", "traceID": each.trace, "spanID": each.parent}]
                * bool(each.parent)
                + [{"refType": "FOLLOWS_FROM", "traceID": one.trace, "spanID": one.span} for one in each.links],
                "startTime": round((BEGIN + each.start) * 1e6),
                "duration": round(each.length * 1e6),
                "tags": [
                    {"key": key, "type": "int64" if isinstance(value, int) else "string", "value": value}
                    for key, value in tags.items()
                ],
                "logs": [],
                "processID": f"p-{each.service}",
            }
        )
    return json.dumps({"data": list(data.values()), "total": 0, "errors": None}, indent=indent)


def zipkin(spans: list[Told], *, old: bool = True, shared: bool = False) -> str:
    """A list of spans. `shared`: the answering side has the id of the asking one."""
    by_id = {each.span: each for each in spans}
    one: dict[str, str] = {}
    for each in spans:
        above = by_id.get(each.parent)
        if shared and each.kind == "server" and above is not None and above.kind == "client":
            one[each.span] = above.span
    found = []
    for each in spans:
        above = by_id.get(each.parent)
        parent = above.parent if each.span in one and above is not None else each.parent
        value: dict[str, Any] = {
            "traceId": each.trace,
            "id": one.get(each.span, each.span),
            "name": each.name,
            "timestamp": round((BEGIN + each.start) * 1e6),
            "duration": round(each.length * 1e6),
            "localEndpoint": {"serviceName": each.service},
            "tags": {key: str(tag) for key, tag in _named(each.tags, old=old).items()},
        }
        if parent:
            value["parentId"] = one.get(parent, parent)
        if each.kind != "internal":
            value["kind"] = each.kind.upper()
        if each.span in one:
            value["shared"] = True
        if each.error:
            value["tags"]["error"] = "503 Service Unavailable"
        found.append(value)
    return json.dumps(found)


_MARKS = {"CLIENT": ("cs", "cr"), "SERVER": ("sr", "ss"), "PRODUCER": ("ms", ""), "CONSUMER": ("mr", "")}


def zipkin_first(spans: list[Told], *, joined: bool = False) -> str:
    """Version 1. `joined`: both sides of a call in one span, which then has no times of its own."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for each in json.loads(zipkin(spans, shared=joined)):
        new = {
            name: each[name] for name in ("traceId", "id", "parentId", "name", "timestamp", "duration") if name in each
        }
        one = found.setdefault((each["traceId"], each["id"]), {**new, "annotations": [], "binaryAnnotations": []})
        times = (each["timestamp"], each["timestamp"] + each["duration"])
        for time, mark in zip(times, _MARKS.get(each.get("kind", ""), ()), strict=False):
            if mark:
                one["annotations"].append({"timestamp": time, "value": mark, "endpoint": each["localEndpoint"]})
        one["binaryAnnotations"] += [
            {"key": key, "value": value, "endpoint": each["localEndpoint"]} for key, value in each["tags"].items()
        ]
        if not each["tags"] and "kind" not in each:
            one["binaryAnnotations"].append({"key": "lc", "value": "", "endpoint": each["localEndpoint"]})
    return json.dumps(list(found.values()))


FORMATS: dict[str, Callable[[list[Told]], str]] = {
    "otlp": otlp,
    "otlp-old-names": lambda spans: otlp(spans, old=True),
    "otlp-protobuf": lambda spans: otlp(spans, base=True),
    "jaeger": jaeger,
    "jaeger-laid-out": lambda spans: jaeger(spans, old=False, indent=2),
    "zipkin": zipkin,
    "zipkin-shared": lambda spans: zipkin(spans, old=False, shared=True),
    "zipkin-1": zipkin_first,
    "zipkin-1-joined": lambda spans: zipkin_first(spans, joined=True),
}
