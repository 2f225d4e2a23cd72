"""The objects in a file of manifests: those that matter here, each with its document for mistakes. Others are mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from skerry.errors import ConfigurationError
from skerry.gateway.kubernetes import tables
from skerry.gateway.reading.document import Document, compose, compose_all, fail, load
from skerry.gateway.reading.kinds import MapOf, Record, Text

GROUP: Final = "gateway.networking.k8s.io"
_VERSIONS: Final = {
    "Gateway": {"v1", "v1beta1"},
    "HTTPRoute": {"v1", "v1beta1"},
    "ReferenceGrant": {"v1", "v1beta1"},
    "GatewayClass": {"v1", "v1beta1"},
}
_TABLES: Final[Mapping[str, Record]] = {
    "Gateway": tables.GATEWAY,
    "HTTPRoute": tables.HTTP_ROUTE,
    "ReferenceGrant": tables.GRANT,
}
_BESIDE: Final = frozenset(
    {"ConfigMap", "Deployment", "EndpointSlice", "Pod", "Secret", "Service", "ServiceAccount", "StatefulSet"}
)
"""Kinds that stand in the same files and say nothing about routes: where services are is told by the backends' file."""
_BACKENDS: Final = MapOf(
    Text(r"(?:https?://)?(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}", "HOST:PORT"),
    10_000,
    r"(?:[a-z0-9.-]+/)?[a-z0-9.-]+(?::[0-9]{1,5})?",
    "NAME, NAME:PORT or NAMESPACE/NAME:PORT",
    least=0,
)


@dataclass(frozen=True, slots=True)
class Object:
    """One object of a kind that is read."""

    namespace: str
    name: str
    created: str
    spec: Mapping[str, Any]
    document: Document


@dataclass(frozen=True, slots=True)
class Manifests:
    """All of a file. Routes come in the Gateway API's order: the oldest first, then by namespace and name."""

    gateways: list[Object] = field(default_factory=list)
    routes: list[Object] = field(default_factory=list)
    grants: list[Object] = field(default_factory=list)
    labels: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Of each namespace."""


def read(path: Path) -> Manifests:
    """The objects in a file, also those in lists. Raises `ConfigurationError` for what is not read."""
    found = Manifests()
    mistakes: list[ConfigurationError] = []
    for document in compose_all(load(path), str(path)):
        for each in _objects(document):
            _add(each, found)
            mistakes += each.mistakes
    if mistakes:
        fail(mistakes)
    # an object that was never in a cluster has no time: it counts as the newest
    found.routes.sort(key=lambda each: (each.created or "~", f"{each.namespace}/{each.name}"))
    return found


def backends(path: Path) -> dict[str, str]:
    """Base addresses by `name`, `name:port`, `namespace/name` or `namespace/name:port`. Raises `ConfigurationError`."""
    document = compose(load(path), str(path))
    found = dict(_BACKENDS.read(document.root, (), document))
    document.stop()
    return {name: place if "://" in place else f"http://{place}" for name, place in found.items()}


def _objects(document: Document) -> Iterator[Document]:
    root = document.root
    if isinstance(root, yaml.MappingNode):
        told = {str(key.value): value for key, value in root.value}
        kind = str(told["kind"].value) if "kind" in told else ""
        items = told.get("items")
        if kind.endswith("List") and isinstance(items, yaml.SequenceNode):
            for node in items.value:
                yield from _objects(Document(node, document.source))
            return
    yield document


def _add(document: Document, found: Manifests) -> None:
    head = tables.HEAD.read(document.root, (), document)
    kind = str(head.get("kind") or "")
    group, _, version = str(head.get("apiVersion") or "").rpartition("/")
    if group == GROUP and kind in _VERSIONS:
        if version not in _VERSIONS[kind]:
            document.refuse(f"{kind} is read in the versions {' and '.join(sorted(_VERSIONS[kind]))}", ("apiVersion",))
        elif kind in _TABLES:
            _read(kind, document, found)
    elif kind == "Namespace" and not group:
        meta = tables.NAMESPACE.read(document.root, (), document).get("metadata", {})
        found.labels[meta.get("name", "")] = dict(meta.get("labels", ()))
    elif kind not in _BESIDE or group == GROUP:
        document.label = _label(kind, document.root)
        document.refuse("is not read: Gateway, HTTPRoute and ReferenceGrant are", ())


def _read(kind: str, document: Document, found: Manifests) -> None:
    document.label = _label(kind, document.root)
    values = _TABLES[kind].read(document.root, (), document)
    meta = values.get("metadata", {})
    each = Object(
        namespace=meta.get("namespace") or "default",
        name=meta.get("name") or "",
        created=_time(meta.get("creationTimestamp")),
        spec=values.get("spec", {}),
        document=document,
    )
    {"Gateway": found.gateways, "HTTPRoute": found.routes, "ReferenceGrant": found.grants}[kind].append(each)


def _time(text: str | None) -> str:
    return text if text and re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) else ""


def _label(kind: str, root: yaml.Node) -> str:
    """`HTTPRoute shop/orders`, as far as it can be read."""
    told: dict[str, str] = {}
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == "metadata" and isinstance(value, yaml.MappingNode):
            told = {str(name.value): str(each.value) for name, each in value.value}
    return f"{kind[:60] or 'an object without a kind'} {told.get('namespace', 'default')}/{told.get('name', '')}"
