"""Which listeners an HTTPRoute is attached to, and on which hosts: parentRefs, allowedRoutes and host names that meet.

Listeners of one port become one listener; the routes carry the host names. They stay apart all the same: a host belongs to
the narrowest listener that takes it, and routes that hang on another one never answer there (the Gateway API's isolation).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from skerry.gateway.kubernetes.manifests import GROUP, Manifests, Object
from skerry.gateway.model import Listener
from skerry.gateway.reading.syntax import meets

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """One listener of one Gateway."""

    gateway: Object
    name: str
    port: int
    hostname: str
    allowed: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Attached:
    """Where a route is served: `listeners` by their names in the model, on `hostnames`."""

    listeners: tuple[str, ...]
    hostnames: tuple[str, ...]


def places(manifests: Manifests) -> list[Place]:
    """All listeners of all Gateways."""
    return [
        Place(gateway, each["name"], each["port"], each.get("hostname") or "", each.get("allowedRoutes", {}))
        for gateway in manifests.gateways
        for each in gateway.spec.get("listeners", ())
    ]


def listeners(found: Iterable[Place]) -> dict[int, Listener]:
    """One listener of the model for each port."""
    names: dict[int, list[str]] = {}
    for place in found:
        names.setdefault(place.port, []).append(place.name)
    alone = [own[0] for own in names.values() if len(own) == 1]
    return {
        port: Listener(own[0] if len(own) == 1 and alone.count(own[0]) == 1 else f"port-{port}", port=port)
        for port, own in names.items()
    }


def apart(found: list[Place]) -> list[Attached]:
    """The hosts at which a request must not go on to the routes of a wider listener when none of its own listener fits."""
    known = listeners(found)
    narrow = {(inner.port, inner.hostname): None for place in found for inner in _inside(place, found)}
    return [Attached((known[port].name,), (hostname,)) for port, hostname in narrow]


def _inside(place: Place, found: list[Place]) -> list[Place]:
    """Listeners of the same port that take some of the hosts of this one."""
    return [
        other
        for other in found
        if other.port == place.port and other.hostname != place.hostname and _within(other.hostname, place.hostname)
    ]


def _within(host: str, bound: str) -> bool:
    """Whether all hosts of `host` are hosts of `bound`; `` is any."""
    return not bound or (bool(host) and meets(host, bound) == host)


def attach(route: Object, found: list[Place], manifests: Manifests) -> list[Attached]:
    """Where a route is served. A parentRef whose Gateway is not there at all is a mistake; one that its Gateway turns down
    attaches nothing, as in a cluster, and is told in the log.
    """
    hosts: dict[int, dict[str, None]] = {}
    known = False
    for index, ref in enumerate(route.spec.get("parentRefs", ())):
        at = ("spec", "parentRefs", index)
        if ref.get("kind", "Gateway") != "Gateway" or ref.get("group", GROUP) != GROUP:
            known = True  # one mistake is enough
            route.document.refuse("only a Gateway is read as a parent", at)
            continue
        for place in found:
            if (place.gateway.name, place.gateway.namespace) != (ref["name"], ref.get("namespace", route.namespace)):
                continue
            known = True
            if _fits(ref, place) and _allows(place, route, manifests):
                for host in _meeting(route.spec.get("hostnames", ()), place.hostname):
                    if not any(_within(host, other.hostname) for other in _inside(place, found)):
                        hosts.setdefault(place.port, {})[host] = None
    if not known:
        route.document.refuse("none of its parentRefs names a Gateway of these manifests", ("spec", "parentRefs"))
    elif not hosts:
        _LOG.warning("%s is attached to no listener: none takes it", route.document.label)
    return _grouped(hosts, listeners(found))


def _grouped(hosts: Mapping[int, Mapping[str, None]], known: Mapping[int, Listener]) -> list[Attached]:
    alike: dict[tuple[str, ...], list[str]] = {}
    for port, own in hosts.items():
        alike.setdefault(() if "" in own else tuple(own), []).append(known[port].name)
    return [Attached(() if len(names) == len(known) else tuple(names), own) for own, names in alike.items()]


def _fits(ref: Mapping[str, Any], place: Place) -> bool:
    named, port = ref.get("sectionName", place.name), ref.get("port", place.port)
    return (named, port) == (place.name, place.port)


def _allows(place: Place, route: Object, manifests: Manifests) -> bool:
    kinds = place.allowed.get("kinds", ())
    if kinds and not any(each.get("kind") == "HTTPRoute" and each.get("group", GROUP) == GROUP for each in kinds):
        return False
    namespaces = place.allowed.get("namespaces", {})
    match namespaces.get("from", "Same"):
        case "All":
            return True
        case "Selector":
            labels = {"kubernetes.io/metadata.name": route.namespace, **manifests.labels.get(route.namespace, {})}
            wanted = dict(namespaces.get("selector", {}).get("matchLabels", ()))
            return all(labels.get(name) == value for name, value in wanted.items())
        case "None":
            return False
    return place.gateway.namespace == route.namespace


def _meeting(own: tuple[str, ...], bound: str) -> list[str]:
    """The host names that both take; `` is any."""
    if not own:
        return [bound]
    if not bound:
        return list(own)
    return [host for host in (meets(each, bound) for each in own) if host is not None]
