"""The console, run for a system: services and the gateway are told to send it what they do."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Final

from skerry.clock import Clock
from skerry.deploy import probe
from skerry.deploy.ports import HOST
from skerry.deploy.secrets import FOLDER, SecretFolder, password
from skerry.deploy.servers.port import Addresses, Program
from skerry.topology import System

TOKEN: Final = "console.token"  # noqa: S105 - the name of its file
"""In DATA/secrets: what opens the console, and what services send along."""
HOME: Final = "console"
"""Below the data folder: the record of what people did."""


def token(data: Path, clock: Clock) -> str:
    """The console's token for this data folder, made when there is none. It stays, so that pages that are open go on to work."""
    secrets = SecretFolder(data / FOLDER)
    found = secrets.text(TOKEN).strip() or password(clock)
    secrets.keep(TOKEN, found + "\n")
    return found


class ConsoleServer:
    """See `Server`. Its token is in DATA/secrets, its record of acts in DATA/console. `file` is the system's."""

    name = "console"
    scheme = "http"

    def __init__(self, file: Path) -> None:
        self._file = file
        self.url: str = ""
        """Where it is, once it is ready."""
        self.token: str = ""
        self.folder: Path = Path()
        """What is its own of the data folder, once it is prepared."""

    @property
    def opening(self) -> str:
        """The address that opens it. It holds the token."""
        return f"{self.url}/?token={self.token}"

    def prepare(self, data: Path, port: int, clock: Clock) -> Program:
        """See `Server.prepare`."""
        self.folder = folder = data / HOME
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.token = token(data, clock)
        asked = ("--quiet", "--port", str(port), "--data", str(data), "--file", str(self._file))
        return Program(
            command=[sys.executable, "-P", "-m", "skerry", "console", *asked], folder=folder, stop=signal.SIGTERM
        )

    async def ready(self, host: str, port: int) -> bool:
        """See `Server.ready`: it answers, be it that it wants a token."""
        return await probe.answers(host, port)

    async def provide(self, system: System, data: Path, port: int, clock: Clock) -> Addresses:  # noqa: ARG002 - the port's
        """See `Server.provide`: where to send."""
        self.url = f"http://{HOST}:{port}"
        return Addresses(otlp=self.url, otlp_token=self.token)
