"""Resources as the messages of Envoy's API, by the package `xds-protos`, which is imported when it is needed."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any

from skerry.envoy.resources import KINDS, Kind
from skerry.errors import ConfigurationRefused, MissingExtra

_WHAT = "The server of Envoy's configuration"


class Messages:
    """Makes and reads the messages of the discovery service. Raises `MissingExtra` where its packages are missing."""

    def __init__(self) -> None:
        try:
            self._discovery = importlib.import_module("envoy.service.discovery.v3.discovery_pb2")
            self._json = importlib.import_module("google.protobuf.json_format")
            self._any = importlib.import_module("google.protobuf.any_pb2")
            for type_url in KINDS.values():
                _load(type_url)
        except ImportError as error:
            raise MissingExtra(_WHAT, "envoy") from error
        self._loaded: set[str] = set()

    def request(self, data: bytes) -> Any:
        """What an Envoy sent."""
        return self._discovery.DiscoveryRequest.FromString(data)

    def packed(self, kind: Kind, resources: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Each resource as a message. Raises `ConfigurationRefused` that names the resource when the API has no such field."""
        found = {}
        for name, resource in resources.items():
            message = self._any.Any()
            try:
                for type_url in set(_types(resource)) - self._loaded:
                    _load(type_url)
                    self._loaded.add(type_url)
                self._json.ParseDict({"@type": KINDS[kind], **resource}, message)
            except (self._json.ParseError, ImportError) as error:
                raise ConfigurationRefused(f"{name!r} of {kind} is nothing that Envoy knows: {error}") from error
            found[name] = message
        return found

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
