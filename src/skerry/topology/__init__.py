"""Services, their calls, topics and databases, read from `skerry.toml`."""

from __future__ import annotations

from skerry.topology.load import FILE_NAME, MAX_FILE_SIZE, find, load
from skerry.topology.model import ENGINES, GATEWAY, Gateway, ServiceSpec, System, Topic

__all__ = [
    "ENGINES",
    "FILE_NAME",
    "GATEWAY",
    "MAX_FILE_SIZE",
    "Gateway",
    "ServiceSpec",
    "System",
    "Topic",
    "find",
    "load",
]
