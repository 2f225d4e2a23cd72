"""What the supervisor asks of a server that it runs for the services."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from skerry.clock import Clock
from skerry.deploy.processes import Launch
from skerry.topology import System

_GUARD = Path(__file__).with_name("guard.py")
GRACE = 20.0
"""Seconds a server gets to end in order."""
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "TZ", "XDG_RUNTIME_DIR")
"""What a server inherits: nothing of ours that it might take for a setting of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """What services are told instead of the addresses of the system file. They hold passwords."""

    databases: Mapping[str, str] = field(default_factory=dict)
    """By the name of the service."""
    events: str | None = None
    otlp: str | None = None
    otlp_token: str | None = None

    def __or__(self, other: Addresses) -> Addresses:
        """These, and the other ones where they say something."""
        return Addresses(
            databases={**self.databases, **other.databases},
            events=other.events or self.events,
            otlp=other.otlp or self.otlp,
            otlp_token=other.otlp_token or self.otlp_token,
        )

    def variables(self, service: str) -> dict[str, str]:
        """The environment variables that tell a service."""
        found = {
            "SKERRY_DATABASE": self.databases.get(service),
            "SKERRY_EVENTS": self.events,
            "SKERRY_OTLP": self.otlp,
            "SKERRY_OTLP_TOKEN": self.otlp_token,
        }
        return {name: value for name, value in found.items() if value is not None}

    def __repr__(self) -> str:
        """Without the passwords."""
        return f"Addresses(databases of {', '.join(self.databases) or 'nobody'}, events: {self.events is not None})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """How a server is run: `stop` is the signal that ends it in order, `user` whom it runs as when not ourselves."""

    command: Sequence[str]
    folder: Path
    stop: int
    user: str = ""


class Server(Protocol):
    """One server, its files in a folder of its own below the data folder, where they stay for the next run."""

    name: str
    """Of its process."""
    scheme: str
    """Of its address as `ps` shows it."""

    def prepare(self, data: Path, port: int, clock: Clock) -> Program:
        """Make its files ready, for the first time or again, and say how to run it. Blocks.

        Raises `ConfigurationError` when it is not installed or cannot run here.
        """
        ...

    async def ready(self, host: str, port: int) -> bool:
        """Whether it takes work. Any failure is a no, never an error."""
        ...

    async def provide(self, system: System, data: Path, port: int, clock: Clock) -> Addresses:
        """Make what the services need, on the server that is ready; their addresses. Raises `DeployError`."""
        ...


def launch(server: Server, program: Program, *, port: int, data: Path, environ: Mapping[str, str]) -> Launch:
    """How its keeper starts the server: through a guard, so that it ends when the supervisor does."""
    how = "become" if sys.platform == "linux" else "watch"
    lock = program.folder.with_name(f".{server.name}.lock")
    words = (how, str(os.getpid()), str(int(program.stop)), program.user, str(lock))
    inherited = {name: environ[name] for name in ENVIRONMENT if name in environ}
    return Launch(
        name=server.name,
        port=port,
        command=(sys.executable, "-I", str(_GUARD), *words, *program.command),
        folder=program.folder,
        environment={"PATH": os.defpath, **inherited, "LC_ALL": "C", "SKERRY_DATA": str(data)},
        grace=GRACE,
        stop=program.stop,
        scheme=server.scheme,
        ready=server.ready,
    )
