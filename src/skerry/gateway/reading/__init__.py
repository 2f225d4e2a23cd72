"""Reading a gateway's specification from YAML: every mistake with its file, line and field.

The tables in `tables` and `route_tables` say what there is; the reader and the JSON Schema are both made of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from skerry.gateway.model import Addresses, GatewaySpec
from skerry.gateway.reading import building, checking
from skerry.gateway.reading.checking import check, check_addresses
from skerry.gateway.reading.document import Document, compose, load, uncollected
from skerry.gateway.reading.kinds import Definitions
from skerry.gateway.reading.memory import Memory
from skerry.gateway.reading.preflights import with_preflights
from skerry.gateway.reading.route_tables import GATEWAY

__all__ = ["Reader", "check", "check_addresses", "parse", "places", "read", "schema"]


class Reader:
    """Reads the same file again and again, as a gateway does whose specification changes under it.

    Routes that stand where they stood, as they were, are the same objects afterwards: neither read nor checked again, and known
    to those that compile them. Errors are those of `read`. Not for several threads at once.
    """

    def __init__(self) -> None:
        self._memory = Memory()
        self._last: tuple[Path, str, GatewaySpec] | None = None

    def read(self, path: Path) -> GatewaySpec:
        """The specification that is in the file now."""
        with uncollected():
            text = load(path)
            if self._last is not None and self._last[:2] == (path, text):
                return self._last[2]
            self._memory.begin(text)
            spec = _made(compose(text, str(path), memory=self._memory), path.parent)
            self._memory.end()
            self._last = path, text, spec
            return spec


def read(path: Path) -> GatewaySpec:
    """The specification in a file. Files that it names are beside it, unless absolute.

    Raises `ConfigurationError` with file, line and field; `Mistakes`, which has all of them, when there is more than one.
    """
    return Reader().read(path)


def parse(text: str, *, source: str = "<spec>") -> GatewaySpec:
    """The same for a text at hand; `source` is what errors call it. Files that it names are in the current folder."""
    with uncollected():
        return _made(compose(text, source), Path())


def places(urls: Mapping[str, str]) -> Addresses:
    """The base addresses of services from their `SKERRY_URL_NAME`: `http://a:1,b:2` is two.

    Other schemes lead to a discovery, and stay whole.
    """
    return {name: _places(url) for name, url in urls.items()}


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the file. What it takes may still contradict itself; `read` and `parse` see that too."""
    definitions: Definitions = {}
    top = GATEWAY.schema(definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "gateway.yaml",
        "description": "What a skerry gateway serves.",
        **top,
        "$defs": dict(sorted(definitions.items())),
    }


def _made(document: Document, folder: Path) -> GatewaySpec:
    values = GATEWAY.read(document.root, (), document)
    document.stop()
    spec = building.gateway(values, source=document.source, folder=folder, memory=document.memory)
    for steps, message in checking.mistakes(spec, memory=document.memory):
        document.refuse(message, steps)
    document.stop()
    return replace(spec, routes=with_preflights(spec.routes))


def _places(url: str) -> tuple[str, ...]:
    scheme, divider, rest = url.partition("://")
    if scheme not in {"http", "https"}:
        return (url,)
    return tuple(f"{scheme}{divider}{place.strip().rstrip('/')}" for place in rest.split(","))
