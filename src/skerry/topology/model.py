"""What a system is made of: the one picture that running, exporting, the console and the checks share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ENGINES = ("embedded", "envoy")
"""Who can serve a gateway's routes: a process of ours, or Envoy."""
GATEWAY = "gateway"
"""The gateway's name among the processes of a system; no service may take it."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One kind of event. Only its `owner` publishes it; anybody may subscribe."""

    name: str
    owner: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """One service: where its code is, what it owns and what it talks to.

    `app` is `module:attribute`. `database` is a URL, relative to the data folder; None for a service that keeps nothing.
    `port` is where it answers on this machine, 0 for any free one. `grpc`: it answers gRPC too, on a port of its own. `env` holds
    further environment variables for its process.
    """

    name: str
    app: str
    database: str | None = None
    port: int = 0
    grpc: bool = False
    calls: tuple[str, ...] = ()
    publishes: tuple[str, ...] = ()
    subscribes: tuple[str, ...] = ()
    description: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The one way in from outside. `spec` is the absolute path of its route file, `engine` who serves it."""

    spec: Path
    port: int = 8080
    engine: str = "embedded"
    calls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A whole system as its file describes it. `file` is absolute; mappings keep the order of the file.

    `events` is the URL of the event log, relative to the data folder; None when nobody publishes.
    """

    name: str
    file: Path
    services: Mapping[str, ServiceSpec]
    topics: Mapping[str, Topic] = field(default_factory=dict)
    gateway: Gateway | None = None
    events: str | None = None

    @property
    def folder(self) -> Path:
        """The folder of the system's file; its services are imported from here."""
        return self.file.parent
