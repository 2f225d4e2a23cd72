"""Proxies and upstreams as processes, each bound to its core, and what they take of the machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gateway import configurations

CORES = sorted(os.sched_getaffinity(0))
LOAD_CORE, PROXY_CORE = CORES[0], CORES[-1]
TICK = os.sysconf("SC_CLK_TCK")
PATIENCE = 30.0


@dataclass
class Proxy:
    """One that answers on `port`."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    folder: Path

    def processes(self) -> list[int]:
        found, left = [], [self.process.pid]
        while left:
            pid = left.pop()
            found.append(pid)
            with suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    left += [int(child) for child in (task / "children").read_text().split()]
        return found

    def cpu(self) -> float:
        """Seconds of processor time so far, of all its processes."""
        total = 0
        for pid in self.processes():
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total / TICK

    def memory(self) -> float:
        """MiB that are its own (PSS), of all its processes."""
        kib = 0
        for pid in self.processes():
            with suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return kib / 1024


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def bound_to(core: int, command: Sequence[str]) -> list[str]:
    """The command on one core, bound before it begins, so that all its threads and children stay there."""
    return ["taskset", "-c", str(core), *command]


@contextmanager
def started(name: str, command: Sequence[str], port: int, folder: Path, *, core: int = PROXY_CORE) -> Iterator[Proxy]:
    """The process, once its port takes connections."""
    log = folder / "output"
    with log.open("wb") as output:
        process = subprocess.Popen(
            bound_to(core, command), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        end = time.monotonic() + PATIENCE
        while True:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{name} did not come up:\n{log.read_text(errors='replace')[-3000:]}")
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
                break
            time.sleep(0.05)
        yield Proxy(name, port, process, folder)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(5.0)
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def upstream(folder: Path) -> Iterator[Proxy]:
    """nginx where there is one, else our own."""
    folder.mkdir()
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.gateway.upstream", str(port)]
    if shutil.which("nginx"):
        (folder / "nginx.conf").write_text(configurations.upstream_of_nginx(folder, port))
        command = ["nginx", "-c", str(folder / "nginx.conf")]
    with started("upstream", command, port, folder, core=LOAD_CORE) as running:
        yield running


@contextmanager
def proxies(folder: Path, up: int, jwks: Path) -> Iterator[dict[str, Proxy]]:
    """All that are compared, those that this machine has."""
    with ExitStack() as stack:
        found: dict[str, Proxy] = {}
        for name in ("nginx", "envoy", "naive", "ours"):
            place, port = folder / name, free_port()
            place.mkdir()
            command = _command(name, place, port, up, jwks)
            if command is not None:
                found[name] = stack.enter_context(started(name, command, port, place))
        yield found


def _command(name: str, folder: Path, port: int, up: int, jwks: Path) -> list[str] | None:
    if name == "nginx":
        if not shutil.which("nginx"):
            return None
        (folder / "nginx.conf").write_text(configurations.nginx(folder, port, up))
        return ["nginx", "-c", str(folder / "nginx.conf")]
    if name == "envoy":
        (folder / "envoy.json").write_text(configurations.envoy(folder, port, up))
        binary = Path(sys.executable).with_name("envoy")
        return [
            str(binary),
            "-c",
            str(folder / "envoy.json"),
            "--concurrency",
            "1",
            "--log-level",
            "error",
            "--use-dynamic-base-id",
        ]
    if name == "naive":
        return [sys.executable, "-m", "benchmarks.gateway.naive", str(up), str(port)]
    (folder / "gateway.yaml").write_text(configurations.ours(folder, up, jwks=jwks))
    return run_ours(folder / "gateway.yaml", port)


def run_ours(spec: Path, port: int, *, engine: str = "embedded") -> list[str]:
    more = [] if engine == "embedded" else ["--engine", engine]
    return [sys.executable, "-m", "skerry", "gateway", "run", str(spec), "--port", str(port), "--watch", *more]
