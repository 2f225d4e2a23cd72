"""The shop as one application, in a process of its own: afterwards nothing of it may be left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "shop"))

from running import Shop

FOLDER = Path(__file__).parents[3] / "examples" / "monolith"


class Monolith(Shop):
    """What the tests of the shop's contract use, in front of one process."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.servers = []
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            command = [sys.executable, "-m", "uvicorn", "--app-dir", str(FOLDER), "--fd", str(listening.fileno())]
            self.process = subprocess.Popen(
                [*command, "--log-level", "warning", "shop.app:app"],
                env=os.environ | {"SKERRY_DATA": str(data)},
                pass_fds=[listening.fileno()],
            )
        self.http = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=15.0, trust_env=False)

    def close(self) -> int:
        self.http.close()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture(scope="package")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monolith]:
    running = Monolith(tmp_path_factory.mktemp("monolith"))
    try:
        yield running
    finally:
        code = running.close()
    assert code in {0, -signal.SIGTERM}
