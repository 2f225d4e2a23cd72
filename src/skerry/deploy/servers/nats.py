"""NATS with JetStream, run for the services: every acknowledged message is on the disk (`sync_interval: always`)."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Final

from skerry.clock import Clock
from skerry.deploy.ports import HOST
from skerry.deploy.secrets import FOLDER, SecretFolder, password
from skerry.deploy.servers import binaries
from skerry.deploy.servers.port import Addresses, Program
from skerry.topology import System

USER: Final = "skerry"
MAX_PAYLOAD: Final = 8 * 1024 * 1024
MAX_STORE: Final = 8 * 1024**3
PROBE_TIMEOUT: Final = 2.0
_KEPT_IN: Final = "nats.password"
_CONFIGURATION: Final = "nats.conf"


class NatsServer:
    """See `Server`. Its streams are in DATA/nats, its password and settings in DATA/secrets."""

    name = "nats"
    scheme = "nats"

    def prepare(self, data: Path, port: int, clock: Clock) -> Program:
        """See `Server.prepare`."""
        program = binaries.nats_server()
        folder = data / "nats"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        secrets = SecretFolder(data / FOLDER)
        secret = secrets.text(_KEPT_IN).strip() or password(clock)
        secrets.keep(_KEPT_IN, secret + "\n")
        settings = {
            "listen": f"{HOST}:{port}",
            "max_payload": MAX_PAYLOAD,
            "jetstream": {"store_dir": str(folder), "max_file_store": MAX_STORE, "sync_interval": "always"},
            "authorization": {"user": USER, "password": secret},
        }
        secrets.keep(_CONFIGURATION, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")
        return Program(
            command=[str(program), "-c", str(secrets.path / _CONFIGURATION)], folder=folder, stop=signal.SIGTERM
        )

    async def ready(self, host: str, port: int) -> bool:
        """See `Server.ready`: it greets with what it can do, JetStream among it."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                reader, writer = await asyncio.open_connection(host, port, limit=64 * 1024)
                try:
                    greeting = await reader.readline()
                    return greeting.startswith(b"INFO ") and b'"jetstream":true' in greeting
                finally:
                    writer.transport.abort()
        except (OSError, EOFError, ValueError):
            return False

    async def provide(self, system: System, data: Path, port: int, clock: Clock) -> Addresses:  # noqa: ARG002 - the port's
        """See `Server.provide`: the one address there is."""
        secret = SecretFolder(data / FOLDER).text(_KEPT_IN).strip()
        return Addresses(events=f"nats://{USER}:{secret}@{HOST}:{port}?durability=flushed")
