"""A NATS server with JetStream, which flushes each write to the disk (`sync_interval: always`)."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path

from servers.process import Server


class NatsServer(Server):
    """`url` carries a random password. With `flush=False` the server flushes every two minutes, as is its default."""

    name = "NATS"

    def __init__(self, folder: Path, *, flush: bool = True) -> None:
        super().__init__(folder)
        self.password = secrets.token_urlsafe(16)
        self._flush = flush

    def url(self, options: str = "") -> str:
        return f"nats://skerry:{self.password}@127.0.0.1:{self.port}{options}"

    def command(self) -> list[str]:
        return [str(Path(sys.executable).parent / "nats-server"), "-c", str(self.folder / "nats.conf")]

    def prepare(self) -> None:
        store = {"store_dir": str(self.folder / "data"), "max_file_store": 2 * 1024**3}
        if self._flush:
            store["sync_interval"] = "always"
        settings = {
            "listen": f"127.0.0.1:{self.port}",
            "max_payload": 8 * 1024 * 1024,
            "jetstream": store,
            "authorization": {"user": "skerry", "password": self.password},
        }
        (self.folder / "nats.conf").write_text(json.dumps(settings))
