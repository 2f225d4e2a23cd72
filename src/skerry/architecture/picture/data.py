"""The model as plain data for JSON. Values of variables are never in it: they may be secrets."""

from __future__ import annotations

from typing import Any

from skerry.architecture.model import Edge, Evidence, Service, SystemModel
from skerry.architecture.source import Place


def as_data(model: SystemModel, *, unparsed: int = 0) -> dict[str, Any]:
    """`unparsed` is the number of files of which something could not be understood."""
    return {
        "services": [_service(each) for each in model.services.values()],
        "stores": [
            {
                "identity": each.identity,
                "kind": each.kind,
                "server": each.server,
                "database": each.database,
                "schema": each.schema,
                "broker": each.broker,
            }
            for each in model.stores.values()
        ],
        "uses": [
            {
                "service": each.service,
                "store": each.store,
                "reads": sorted(each.reads),
                "writes": sorted(each.writes),
                "evidence": evidence(each.evidence),
            }
            for each in model.uses
        ],
        "edges": [_edge(each) for each in model.edges],
        "topics": sorted({each.topic for each in model.edges if each.topic}),
        "externals": list(model.externals),
        "guarded": {name: evidence(each) for name, each in sorted(model.guarded.items())},
        "unknown": evidence(model.unknown),
        "unparsed": unparsed,
    }


def _service(each: Service) -> dict[str, Any]:
    return {
        "name": each.name,
        "role": each.role,
        "language": each.language,
        "lines": each.lines,
        "roots": list(each.roots),
        "workloads": [
            {
                "name": work.name,
                "image": work.image,
                "hosts": list(work.hosts),
                "ports": list(work.ports),
                **_at(work.place),
            }
            for work in each.workloads
        ],
        "evidence": evidence(each.evidence),
    }


def _edge(each: Edge) -> dict[str, Any]:
    seen = each.observed
    return {
        "caller": each.caller,
        "callee": each.callee,
        "waits": each.waits,
        "protocol": each.protocol,
        "topic": each.topic,
        "calls": [
            {
                "operation": call.operation,
                "path": call.path,
                "function": call.function,
                "library": call.library,
                "timeout": call.timeout.seconds,
                "bound": call.timeout.bound.value,
                "breaker": call.breaker.name if call.breaker else None,
                **_at(call.place),
            }
            for call in each.calls
        ],
        "observed": None
        if seen is None
        else {
            "count": seen.count,
            "traces": seen.traces,
            "p50": seen.p50,
            "p99": seen.p99,
            "longest": seen.longest,
            "errors": seen.errors,
        },
        "evidence": evidence(each.evidence),
    }


def evidence(found: tuple[Evidence, ...]) -> list[dict[str, Any]]:
    """Observations with their places."""
    return [{"text": each.text, "source": each.source.value, **_at(each.place)} for each in found]


def _at(place: Place | None) -> dict[str, Any]:
    return {"file": place.file if place else None, "line": place.line or None if place else None}
