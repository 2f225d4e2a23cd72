"""Network policies: nobody reaches anybody, but for the calls of the topology, each service's own database, the broker and names.

A policy allows at both ends: the caller may go out, the callee lets it in. They count only where the cluster's network
plug-in obeys them. Source: Kubernetes, NetworkPolicy v1.
"""

from __future__ import annotations

from typing import Any, Final

from skerry.deploy.export.plan import DATABASE_PORT, EVENTS, EVENTS_PORT, GRPC_PORT, PORT, Plan, Workload
from skerry.topology import GATEWAY

_NAMES: Final = {
    "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
    "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
}


def policies(plan: Plan) -> list[dict[str, Any]]:
    """One that refuses everything, then one for each process."""
    found: list[dict[str, Any]] = [_policy("nobody", {}, ingress=[], egress=[])]
    for workload in plan.workloads:
        found.append(_process(plan, workload))
        if workload.database:
            found.append(_own_database(workload))
            found.append(_migration(workload))
    if plan.events:
        users = [workload.name for workload in plan.services if workload.events]
        found.append(_policy(EVENTS, _of(EVENTS), ingress=[_from(users, EVENTS_PORT)], egress=[]))
    return found


def _process(plan: Plan, workload: Workload) -> dict[str, Any]:
    ports = [PORT, *([GRPC_PORT] if workload.grpc else [])]
    ingress = [_from(list(workload.callers), *ports)] if workload.callers else []
    if workload.name == GATEWAY:
        ingress = [{"ports": [_tcp(PORT)]}]  # from outside: whoever may, is the way in's business
    called = [(callee, [GRPC_PORT] if plan.named(callee).grpc else []) for callee in workload.calls]
    egress: list[dict[str, Any]] = [_NAMES, *(_to(callee, PORT, *more) for callee, more in called)]
    if workload.database:
        egress.append(_to(workload.database_name, DATABASE_PORT))
    if workload.events:
        egress.append(_to(EVENTS, EVENTS_PORT))
    return _policy(workload.name, _of(workload.name), ingress=ingress, egress=egress)


def _own_database(workload: Workload) -> dict[str, Any]:
    mine = [workload.name, f"{workload.name}-migrate"]
    ingress = [_from(mine, DATABASE_PORT)]
    return _policy(workload.database_name, _of(workload.database_name), ingress=ingress, egress=[])


def _migration(workload: Workload) -> dict[str, Any]:
    name = f"{workload.name}-migrate"
    return _policy(name, _of(name), ingress=[], egress=[_NAMES, _to(workload.database_name, DATABASE_PORT)])


def _policy(
    name: str, pods: dict[str, Any], *, ingress: list[dict[str, Any]], egress: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": pods, "policyTypes": ["Ingress", "Egress"], "ingress": ingress, "egress": egress},
    }


def _of(name: str) -> dict[str, Any]:
    return {"matchLabels": {"app.kubernetes.io/name": name}}


def _from(names: list[str], *ports: int) -> dict[str, Any]:
    return {"from": [{"podSelector": _of(name)} for name in names], "ports": [_tcp(port) for port in ports]}


def _to(name: str, *ports: int) -> dict[str, Any]:
    return {"to": [{"podSelector": _of(name)}], "ports": [_tcp(port) for port in ports]}


def _tcp(port: int) -> dict[str, Any]:
    return {"protocol": "TCP", "port": port}
