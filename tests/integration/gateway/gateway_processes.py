"""Gateways as users start them: by the command line, in a process of their own, with either engine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.integration.gateway.raw_client import Answer, Broken, Connection, ask, request

Engine = Literal["embedded", "envoy"]
ENGINES: tuple[Engine, ...] = ("embedded", "envoy")
PATIENCE = 30.0
"""Seconds for a gateway to come up: on a busy machine Envoy takes some of them."""


class NotUp(Exception):
    """The gateway ended, or never answered; what it wrote is in the message."""


@dataclass
class Running:
    """A gateway that answers."""

    port: int
    process: subprocess.Popen[bytes]
    output: Path

    def ask(self, target: str, **more: object) -> Answer:
        return ask(self.port, target, **more)  # type: ignore[arg-type]

    def connect(self) -> Connection:
        return Connection(self.port)

    @property
    def said(self) -> str:
        """All that it wrote, as far as a person would read it."""
        text = self.output.read_text(errors="replace")
        return text if len(text) < 8000 else f"{text[:2000]}\n[...]\n{text[-6000:]}"

    def processes(self) -> list[int]:
        """The process and all its children: workers, and Envoy."""
        found, left = [], [self.process.pid]
        while left:
            pid = left.pop()
            found.append(pid)
            with suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    left += [int(child) for child in (task / "children").read_text().split()]
        return found

    def sockets(self) -> int:
        """How many files and sockets it has open, of all its processes."""
        total = 0
        for pid in self.processes():
            with suppress(OSError):
                total += sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return total

    def memory(self) -> int:
        """Bytes of memory that are its own, of all its processes."""
        total = 0
        for pid in self.processes():
            with suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        return total


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def running(
    arguments: Sequence[str | Path], *, engine: Engine = "embedded", port: int | None = None
) -> Iterator[Running]:
    """`skerry gateway run` with these arguments. What it wrote goes into the report of whatever fails inside."""
    port = port or free_port()
    command = [sys.executable, "-m", "skerry", "gateway", "run", *map(str, arguments), "--port", str(port)]
    if engine != "embedded":
        command += ["--engine", engine]
    with tempfile.TemporaryDirectory(prefix="skerry-gateway-") as folder:
        output = Path(folder) / "output"
        with output.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        gateway = Running(port, process, output)
        try:
            _await_ready(gateway, command)
            yield gateway
        except NotUp:
            raise
        except BaseException as error:
            error.add_note(f"the gateway ({engine}) wrote:\n{gateway.said or '(nothing)'}")
            raise
        finally:
            _stop(process)


def _await_ready(gateway: Running, command: list[str]) -> None:
    end = time.monotonic() + PATIENCE
    last = "it takes no connections"
    while time.monotonic() < end:
        if gateway.process.poll() is not None:
            status = gateway.process.returncode
            raise NotUp(f"{' '.join(command)} ended with status {status}:\n{gateway.said or '(it wrote nothing)'}")
        try:
            with Connection(gateway.port, patience=2.0) as connection:
                connection.send(request("GET", "/health/ready", []))
                answer = connection.read()
        except (OSError, Broken) as error:
            last = str(error)
        else:
            # 404 is a gateway whose listeners have no such host: it routes, so it is up
            if answer.status in {200, 404}:
                return
            last = f"/health/ready answers {answer.status}"
        time.sleep(0.05)
    raise NotUp(
        f"{' '.join(command)} was not ready after {PATIENCE:g} s: {last}\n{gateway.said or '(it wrote nothing)'}"
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Asked first, then by force: with all that it started, for it is the leader of a session."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10.0)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
