"""Resources as the messages of Envoy's API, by the package `xds-protos`, which is imported when it is needed."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any

from skerry.envoy.resources import KINDS, Kind
from skerry.errors import ConfigurationRefused, MissingExtra

_ROUTE = "type.googleapis.com/envoy.config.route.v3.Route"
_WHAT = "The server of Envoy's configuration"


class Messages:
    """Makes and reads the messages of the discovery service. Raises `MissingExtra` where its packages are missing."""

    def __init__(self) -> None:
        try:
            self._discovery = importlib.import_module("envoy.service.discovery.v3.discovery_pb2")
            self._json = importlib.import_module("google.protobuf.json_format")
            self._any = importlib.import_module("google.protobuf.any_pb2")
            self._route = importlib.import_module("envoy.config.route.v3.route_pb2")
            self._components = importlib.import_module("envoy.config.route.v3.route_components_pb2")
            for type_url in KINDS.values():
                _load(type_url)
        except ImportError as error:
            raise MissingExtra(_WHAT, "envoy") from error
        self._loaded: set[str] = set()
        self._read: dict[str, Any] = {}
        """Routes as they were read last, by their text."""

    def request(self, data: bytes) -> Any:
        """What an Envoy sent."""
        return self._discovery.DiscoveryRequest.FromString(data)

    def packed(
        self,
        kind: Kind,
        resources: Mapping[str, Mapping[str, Any]],
        *,
        known: Mapping[str, tuple[Any, Any]] | None = None,
    ) -> dict[str, Any]:
        """Each resource as a message; of those that are in `known` as they are, beside their message, that message. Raises
        `ConfigurationRefused` that names the resource when the API has no such field.
        """
        found = {}
        for name, resource in resources.items():
            plain, message = (known or {}).get(name, (None, None))
            if plain == resource:
                found[name] = message
                continue
            try:
                found[name] = self._routes(resource) if kind == "routes" else self._parsed(KINDS[kind], resource)
            except (self._json.ParseError, ImportError) as error:
                raise ConfigurationRefused(f"{name!r} of {kind} is nothing that Envoy knows: {error}") from error
        return found

    def _parsed(self, type_url: str, resource: Mapping[str, Any]) -> Any:
        for needed in set(_types(resource)) - self._loaded:
            _load(needed)
            self._loaded.add(needed)
        message = self._any.Any()
        self._json.ParseDict({"@type": type_url, **resource}, message)
        return message

    def _routes(self, resource: Mapping[str, Any]) -> Any:
        """Routes one by one: of a hundred, mostly one has changed, and to read them all takes twenty times as long."""
        whole = self._route.RouteConfiguration()
        bare = [{**host, "routes": []} for host in resource.get("virtual_hosts", ())]
        self._parsed(KINDS["routes"], {**resource, "virtual_hosts": bare}).Unpack(whole)
        read: dict[str, Any] = {}
        for host, made in zip(resource.get("virtual_hosts", ()), whole.virtual_hosts, strict=True):
            for route in host.get("routes", ()):
                text = json.dumps(route)
                if (message := read.get(text) or self._read.get(text)) is None:
                    message = self._components.Route()
                    self._parsed(_ROUTE, route).Unpack(message)
                read[text] = message
                made.routes.append(message)
        self._read = read
        packed = self._any.Any()
        packed.Pack(whole)
        return packed

    def answer(self, kind: Kind, resources: list[Any], *, version: str, nonce: str) -> Any:
        """What an Envoy is answered."""
        return self._discovery.DiscoveryResponse(
            version_info=version, nonce=nonce, type_url=KINDS[kind], resources=resources
        )


def _types(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(found := value.get("@type"), str):
            yield found
        for inner in value.values():
            yield from _types(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _types(inner)


def _load(type_url: str) -> None:
    """Import the modules of a type's package, which is what makes the type known."""
    package_name = type_url.partition("/")[2].rpartition(".")[0]
    if package_name == "google.protobuf":
        importlib.import_module("google.protobuf.wrappers_pb2")
        return
    package = importlib.import_module(package_name)
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.endswith("_pb2"):
            importlib.import_module(f"{package_name}.{module.name}")
