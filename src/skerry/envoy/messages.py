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
_HOST = "type.googleapis.com/envoy.config.route.v3.VirtualHost"
_MOST_TEXTS = 20_000
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
        self._read: dict[int, tuple[Any, bytes]] = {}
        self._older: dict[int, tuple[Any, bytes]] = {}
        """Routes as they were read the last two times, by their identity; each is held, so that nothing else gets its own."""
        self._texts: dict[str, bytes] = {}
        """The same by their text, for those that were made anew."""
        self._routes_field: int = self._components.VirtualHost.DESCRIPTOR.fields_by_name["routes"].number
        self._hosts_field: int = self._route.RouteConfiguration.DESCRIPTOR.fields_by_name["virtual_hosts"].number

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
        if kind == "routes":
            self._older, self._read = self._read, {}
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
        """Routes one by one: of a hundred, mostly one has changed, and to read them all takes twenty times as long.

        Each is kept as bytes, and so is put into its host: in protobuf a repeated field is its elements one after the other.
        """
        hosts = b""
        for host in resource.get("virtual_hosts", ()):
            known = (self._of_route(route) for route in host.get("routes", ()))
            routes = b"".join(_element(self._routes_field, encoded) for encoded in known)
            bare = self._message(_HOST, self._components.VirtualHost(), {**host, "routes": []})
            hosts += _element(self._hosts_field, bare.SerializeToString() + routes)
        bare = self._message(KINDS["routes"], self._route.RouteConfiguration(), {**resource, "virtual_hosts": []})
        return self._any.Any(type_url=KINDS["routes"], value=bare.SerializeToString() + hosts)

    def _of_route(self, route: Mapping[str, Any]) -> bytes:
        """As it was read before, when it is the same object, or else the same text."""
        found = self._read.get(id(route)) or self._older.get(id(route))
        if found is None:
            text = json.dumps(route)
            encoded = self._texts.get(text)
            if encoded is None:
                encoded = self._message(_ROUTE, self._components.Route(), route).SerializeToString()
                if len(self._texts) >= _MOST_TEXTS:
                    self._texts.clear()
                self._texts[text] = encoded
            found = route, encoded
        self._read[id(route)] = found
        return found[1]

    def _message(self, type_url: str, message: Any, plain: Mapping[str, Any]) -> Any:
        self._parsed(type_url, plain).Unpack(message)
        return message

    def answer(self, kind: Kind, resources: list[Any], *, version: str, nonce: str) -> Any:
        """What an Envoy is answered."""
        return self._discovery.DiscoveryResponse(
            version_info=version, nonce=nonce, type_url=KINDS[kind], resources=resources
        )


def _element(field: int, encoded: bytes) -> bytes:
    """One element of a repeated field of messages: its number and kind, its length, itself (Protocol Buffers, encoding)."""
    return _varint(field << 3 | 2) + _varint(len(encoded)) + encoded


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


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
