"""Small values as Envoy's API writes them, in the JSON form of protobuf."""

from __future__ import annotations

from typing import Any

TYPES = "type.googleapis.com/"
Plain = dict[str, Any]


def typed(name: str, **fields: Any) -> Plain:
    """A message of a type that Envoy finds by its name."""
    return {"@type": TYPES + name, **fields}


def extension(name: str, type_name: str, **fields: Any) -> Plain:
    """A named part of Envoy with its configuration."""
    return {"name": name, "typed_config": typed(type_name, **fields)}


def seconds(value: float) -> str:
    """A duration, to the microsecond."""
    return f"{value:.6f}".rstrip("0").rstrip(".") + "s"
