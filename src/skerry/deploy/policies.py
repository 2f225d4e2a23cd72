"""Who may call whom, for the meshes of Kubernetes: what our sidecars demand, in the words of Istio and of Linkerd.

They prove who somebody is by a service account, and find pods by a label. Both are what `skerry export kubernetes` gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from skerry.topology import GATEWAY, System

Manifest = dict[str, Any]
TRUST_DOMAIN: Final = "cluster.local"
LABEL: Final = "app.kubernetes.io/name"
_ISTIO: Final = "security.istio.io/v1"
_LINKERD: Final = "policy.linkerd.io"


def istio(system: System, *, namespace: str, trust_domain: str = TRUST_DOMAIN) -> list[Manifest]:
    """Mutual TLS as a must, and for each service a policy that allows its callers. With none, nobody may.

    A caller is `TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE`, which Istio has in its certificates behind `spiffe://`.
    """
    strict = _manifest(_ISTIO, "PeerAuthentication", "default", namespace, {"mtls": {"mode": "STRICT"}})
    found = [strict]
    for service, callers in _callers(system):
        spec: Manifest = {"selector": {"matchLabels": {LABEL: service}}, "action": "ALLOW"}
        if callers:
            names = [f"{trust_domain}/ns/{namespace}/sa/{caller}" for caller in callers]
            spec["rules"] = [{"from": [{"source": {"principals": names}}]}]
        found.append(_manifest(_ISTIO, "AuthorizationPolicy", service, namespace, spec))
    return found


def linkerd(system: System, *, namespace: str, trust_domain: str = TRUST_DOMAIN) -> list[Manifest]:  # noqa: ARG001 - names accounts
    """For each service a server at its port `http` (and `grpc`), which lets nobody in but its callers."""
    found: list[Manifest] = []
    for service, callers in _callers(system):
        ports = ["http", *(["grpc"] if system.services[service].grpc else [])]
        if callers:
            accounts = [{"kind": "ServiceAccount", "name": caller} for caller in callers]
            spec = {"identityRefs": accounts}
            found.append(
                _manifest(f"{_LINKERD}/v1alpha1", "MeshTLSAuthentication", f"callers-of-{service}", namespace, spec)
            )
        for port in ports:
            name = f"{service}-{port}"
            server = {"podSelector": {"matchLabels": {LABEL: service}}, "port": port}
            found.append(_manifest(f"{_LINKERD}/v1beta3", "Server", name, namespace, server))
            if callers:
                policy = {
                    "targetRef": {"group": _LINKERD, "kind": "Server", "name": name},
                    "requiredAuthenticationRefs": [
                        {"group": _LINKERD, "kind": "MeshTLSAuthentication", "name": f"callers-of-{service}"}
                    ],
                }
                found.append(_manifest(f"{_LINKERD}/v1alpha1", "AuthorizationPolicy", name, namespace, policy))
    return found


MESHES: Final[Mapping[str, Callable[..., list[Manifest]]]] = {"istio": istio, "linkerd": linkerd}
"""By the word on the command line."""


def _callers(system: System) -> Iterator[tuple[str, Sequence[str]]]:
    """Each service with those that may call it, as the topology says."""
    entry = system.gateway.calls if system.gateway else ()
    for service in system.services:
        callers = [name for name, other in system.services.items() if service in other.calls]
        yield service, [*callers, *([GATEWAY] if service in entry else [])]


def _manifest(version: str, kind: str, name: str, namespace: str, spec: Manifest) -> Manifest:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}
