"""One operating system process of a system: its command, its environment, its start and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from skerry.deploy import probe
from skerry.deploy.output import LineSplitter
from skerry.deploy.ports import HOST
from skerry.settings import variable_for
from skerry.topology import GATEWAY, Gateway, ServiceSpec, System

NOT_INHERITED = {
    "SKERRY_EVENTS",
    "SKERRY_DATABASE",
    "SKERRY_ADMIN_URL",
    "SKERRY_GRPC_PORT",
    "SKERRY_SOCKET",
    "SKERRY_GRPC_SOCKET",
    "SKERRY_GRPC_CERTIFICATE",
    "SKERRY_GRPC_KEY",
    "SKERRY_GRPC_CLIENT_CA",
}
"""Variables of whoever starts a system that its processes are never told."""
_LAST_OUTPUT = 1.0
"""Seconds to wait for the rest of a dead process's output, which a stray grandchild may hold open."""

Command = Callable[[ServiceSpec | Gateway], Sequence[str]]
"""Gives the command line that runs a service or the gateway."""


def command_for(spec: ServiceSpec | Gateway) -> Sequence[str]:
    """The command line that runs `spec` with the Python interpreter that runs this."""
    if isinstance(spec, Gateway):
        return (sys.executable, "-m", "skerry.gateway", str(spec.spec), "--engine", spec.engine)
    return (sys.executable, "-m", "skerry.service", spec.app)


def environment_for(
    system: System,
    name: str,
    *,
    data: Path,
    ports: Mapping[str, int],
    environ: Mapping[str, str],
    own: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The environment of the process `name`: what it is called, where it listens, and where the others are.

    The port at which a service answers gRPC stands in `ports` under its name with `-grpc`.
    `own` are variables of this process alone; they replace those of the system file, `SKERRY_EVENTS` and `SKERRY_DATABASE`
    among them.
    """
    own = own or {}
    spec = system.services.get(name)
    paths = [str(system.folder), *filter(None, [environ.get("PYTHONPATH")])]
    environment = {
        **{key: value for key, value in environ.items() if key not in NOT_INHERITED},
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        **{variable_for(other): f"http://{HOST}:{port}" for other, port in ports.items() if other != GATEWAY},
        **(spec.env if spec else {}),
        **own,
        "SKERRY_SERVICE": name,
        "SKERRY_HOST": HOST,
        "SKERRY_PORT": str(ports[name]),
        "SKERRY_DATA": str(data),
        "SKERRY_SUPERVISED": "1",
    }
    if (grpc := ports.get(f"{name}-grpc")) is not None:
        environment["SKERRY_GRPC_PORT"] = str(grpc)
    if system.events is not None:
        environment.setdefault("SKERRY_EVENTS", system.events)
    if spec is not None and spec.database is not None:
        environment.setdefault("SKERRY_DATABASE", spec.database)
    return environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """All that is needed to start a process, again and again."""

    name: str
    port: int
    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    grace: float
    """Seconds between asking it to stop and killing it."""
    stop: int = signal.SIGTERM
    scheme: str = "http"
    where: str | None = None
    """Its address as `ps` shows it, where that is not its scheme, our host and its port; empty for one that nobody calls."""
    ready: probe.Ready = probe.ready
    who: probe.Who = probe.process_at


class Process:
    """A running child in a session of its own, its output handed on line by line.

    Its standard input is a pipe that only this process holds the other end of: should we die, the child sees its end and stops.
    """

    def __init__(self, child: asyncio.subprocess.Process, stdin: int, output: _OutputPipe, stop: int) -> None:
        self._child = child
        self._stop = stop
        self._stdin = stdin
        self._output = output
        self._ended = False
        self.pid: int = child.pid

    @classmethod
    async def start(cls, launch: Launch, on_line: Callable[[str], None]) -> Process:
        """Start a child; raises `OSError` when that is not possible. Call `wait` in any case to clean up after it."""
        stdin_read, stdin_write = os.pipe()
        output_read, output_write = os.pipe()
        output: _OutputPipe | None = None
        try:
            _, output = await asyncio.get_running_loop().connect_read_pipe(
                lambda: _OutputPipe(on_line), os.fdopen(output_read, "rb", buffering=0)
            )
            child = await asyncio.create_subprocess_exec(
                *launch.command,
                stdin=stdin_read,
                stdout=output_write,
                stderr=output_write,
                cwd=launch.folder,
                env=launch.environment,
                start_new_session=True,
            )
        except BaseException:
            os.close(stdin_write)
            if output is not None:
                output.close()
            raise
        finally:
            os.close(stdin_read)
            os.close(output_write)
        return cls(child, stdin_write, output, launch.stop)

    def terminate(self) -> None:
        """Ask the child to stop."""
        if self._child.returncode is None:
            # not by `send_signal`, which first looks whether it has ended, and takes that away from asyncio
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, self._stop)

    def kill(self) -> None:
        """Kill the child and every process it started, unless it has left its session."""
        if self._child.returncode is None:
            self._kill_group()

    async def wait(self) -> int:
        """Wait until the child has ended and is reaped; then end what is left of its group. The code is negative for a signal."""
        code = await self._child.wait()
        if not self._ended:
            self._ended = True
            self._kill_group()
            os.close(self._stdin)
        await self._output.end(_LAST_OUTPUT)
        return code

    def _kill_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # the group is empty already; macOS says so in another way
            return


def describe_exit(code: int) -> str:
    """`exit code 1` or `signal SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


class _OutputPipe(asyncio.Protocol):
    """Reads as fast as the child writes, so that the child never waits for us."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._splitter = LineSplitter()
        self._ended = asyncio.Event()
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for line in self._splitter.feed(data):
            self._on_line(line)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio passes it
        for line in self._splitter.finish():
            self._on_line(line)
        self._ended.set()

    async def end(self, seconds: float) -> None:
        """Read what is left, for at most `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            self.close()
            await self._ended.wait()

    def close(self) -> None:
        assert self._transport is not None, "connect_read_pipe has called connection_made"
        self._transport.close()
