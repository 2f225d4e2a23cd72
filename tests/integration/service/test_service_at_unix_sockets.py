"""A service that listens at unix sockets, as in a mesh."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from skerry.deploy import probe

APP = "from skerry.service import Service\n\nservice = Service('tiny')\nservice.grpc.add_generic_rpc_handlers([])\n"
BOUND = 30.0


def start(folder: Path, **environ: str) -> subprocess.Popen[bytes]:
    (folder / "tiny_app.py").write_text(APP)
    told = {
        "SKERRY_SOCKET": str(folder / "http"),
        "SKERRY_GRPC_SOCKET": str(folder / "grpc"),
        "PYTHONPATH": str(folder),
    }
    command = [sys.executable, "-m", "skerry.service", "tiny_app:service"]
    return subprocess.Popen(command, env={**os.environ, "SKERRY_DATA": str(folder), **told, **environ}, cwd=folder)


def listening(pid: int) -> set[str]:
    """The inodes of the TCP sockets at which a process listens."""
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()
    ]
    known = {f"socket:[{fields[9]}]" for fields in lines if fields[3] == "0A"}
    return known & {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}


def test_it_answers_there_and_at_no_port(tmp_path: Path) -> None:
    """HTTP and gRPC, also when a killed predecessor has left its socket; no TCP port is opened; a stop is clean."""

    async def ready() -> None:
        async with asyncio.timeout(BOUND):
            while not await probe.ready_at(tmp_path / "http"):
                await asyncio.sleep(0.02)

    async def ask() -> int:
        async with grpc.aio.insecure_channel(f"unix:{tmp_path / 'grpc'}") as channel:
            reply = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=BOUND)
            return int(reply.status)

    for end in (signal.SIGKILL, signal.SIGTERM):
        with start(tmp_path) as process:
            asyncio.run(ready())
            assert asyncio.run(ask()) == health_pb2.HealthCheckResponse.SERVING
            assert not listening(process.pid)
            process.send_signal(end)
            assert process.wait(BOUND) == (-signal.SIGKILL if end == signal.SIGKILL else 0)


@pytest.mark.parametrize("path", ["/nowhere/http", "/" + "x" * 120])
def test_a_socket_that_cannot_be_made_is_one_line(tmp_path: Path, path: str) -> None:
    """It names the path and the variable."""
    (tmp_path / "tiny_app.py").write_text(APP)
    environ = {**os.environ, "SKERRY_SOCKET": path, "SKERRY_DATA": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "skerry.service", "tiny_app:service"]
    done = subprocess.run(
        command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=BOUND, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: cannot listen on {path}: ")
    assert done.stderr.endswith("; set SKERRY_SOCKET\n")
