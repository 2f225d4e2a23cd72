"""etcd, from the system's package."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from servers.process import Server, free_port

PROGRAM = Path("/usr/bin/etcd")


class EtcdServer(Server):
    """One member, on loopback."""

    name = "etcd"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._between = free_port()

    def url(self, user: str = "") -> str:
        return f"etcd://{user}{'@' * bool(user)}127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        here, between = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self._between}"
        return [
            str(PROGRAM),
            *("--data-dir", str(self.folder / "data")),
            *("--listen-client-urls", here, "--advertise-client-urls", here),
            *("--listen-peer-urls", between, "--initial-advertise-peer-urls", between),
            *("--initial-cluster", f"default={between}", "--logger", "zap"),
        ]

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=1.0) as reply:
                return bool(json.load(reply)["health"] == "true")
        except OSError:
            return False

    def ask(self, what: str, **asked: Any) -> Any:
        """One question to its API, as an operator's tool would ask it."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v3/{what}", json.dumps(asked).encode())
        with urllib.request.urlopen(request, timeout=10.0) as reply:
            return json.load(reply)
