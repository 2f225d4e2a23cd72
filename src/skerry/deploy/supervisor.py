"""Runs a system on this machine: every service and the gateway as a process, kept alive until told to stop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, closing
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from skerry import signals
from skerry.clock import SYSTEM, Clock
from skerry.deploy import ports, registry
from skerry.deploy.control import ControlServer
from skerry.deploy.keeper import Keeper, ProcessInfo
from skerry.deploy.output import Output
from skerry.deploy.processes import Command, Launch, command_for, environment_for
from skerry.errors import DeployError
from skerry.settings import Settings
from skerry.signals import ProcessChanged
from skerry.topology import GATEWAY, Gateway, ServiceSpec, System

START_TIMEOUT = 60.0
"""Seconds for every process to become ready."""
EARLY_ENDS = 3
"""A process that ends this often before it was ever ready makes the start fail."""
KILL_AFTER = 8.0
"""Seconds on top of a process's own time to drain before it is killed."""
_SHOWN_LINES = 10


class Supervisor:
    """A system running as processes of this machine. One use: start it once, stop it once.

    `data` is the folder for databases, logs and events, created when missing and refused while another supervisor uses it.
    `port` is the gateway's; None or 0 takes a free one. `output` gets every line the processes write and is not closed here.
    `environ` is what the processes inherit (default: our own environment). `command` gives their command lines.

    Promises: a process that ends is started again with back-off for as long as the system runs; its port stays its own
    meanwhile; when the system stops, or fails to start, or `stop` itself is interrupted, no process of it stays behind. Should
    the supervisor be killed, its processes see the end of their standard input, and skerry's services then stop.

        async with Supervisor(load(path), data=Path("var")) as system:
            await system.wait()
    """

    def __init__(
        self,
        system: System,
        *,
        data: Path,
        port: int | None = None,
        environ: Mapping[str, str] | None = None,
        output: Output | None = None,
        clock: Clock = SYSTEM,
        command: Command = command_for,
        emit: Callable[[ProcessChanged], None] = signals.emit,
        start_timeout: float = START_TIMEOUT,
    ) -> None:
        self.system = system
        self.data: Path = data.resolve()
        self._port = port or 0
        self._environ = dict(os.environ if environ is None else environ)
        self._output = output
        self._clock = clock
        self._command = command
        self._emit = emit
        self._start_timeout = start_timeout
        self._keepers: dict[str, Keeper] = {}
        self._resources = AsyncExitStack()
        self._changed = asyncio.Event()
        self._asked_to_stop = asyncio.Event()
        self._aborts: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        """The gateway's address, or an empty text for a system without one or one that has not been started."""
        return self._keepers[GATEWAY].info().url if GATEWAY in self._keepers else ""

    @property
    def is_stopping(self) -> bool:
        """Whether the system was told to stop."""
        return self._asked_to_stop.is_set()

    async def start(self) -> None:
        """Start every process and wait until all are ready, or until `request_stop`.

        Raises `ConfigurationError` when a port or the data folder is in use, `DeployError` when a process does not become
        ready in time or keeps ending; by then everything that was started is stopped.
        """
        try:
            path = registry.runtime_folder() / f"{self._clock.random_bytes(6).hex()}.sock"
            # First in, last out: once the entry is gone, ports and data folder are free again.
            self._resources.callback(registry.remove_entry, path)
            self._resources.enter_context(registry.owned(self.data))
            self._prepare()
            await self._listen(path)
            for keeper in self._keepers.values():
                keeper.begin()
            await self._all_ready()
        except BaseException:
            await self.stop()
            raise

    async def wait(self) -> None:
        """Wait until `request_stop` is called, or `skerry stop` asks for it."""
        await self._asked_to_stop.wait()

    def request_stop(self) -> None:
        """Ask for an orderly stop, ending `start` and `wait`; asked again, kill everything at once. For signal handlers."""
        if self._asked_to_stop.is_set():
            self._aborts += [asyncio.create_task(keeper.abort()) for keeper in self._keepers.values()]
        self._asked_to_stop.set()
        self._changed.set()

    async def stop(self) -> None:
        """Stop the gateway, then all services together; kill what has not drained in time. Nothing is left behind.

        Cancelled, it kills everything at once.
        """
        self._asked_to_stop.set()
        try:
            await self._stop_in_order()
        finally:
            try:
                await asyncio.gather(*self._aborts, *(keeper.abort() for keeper in self._keepers.values()))
            finally:
                await self._resources.aclose()

    async def hold(self, name: str) -> ProcessInfo:
        """Kill the process `name` and keep it down until `release`; returns when it is gone."""
        keeper = self._keeper(name)
        await keeper.hold()
        return keeper.info()

    def release(self, name: str) -> ProcessInfo:
        """Let the process `name` start again."""
        keeper = self._keeper(name)
        keeper.release()
        return keeper.info()

    def kill(self, name: str) -> ProcessInfo:
        """Kill the process `name` with SIGKILL; it is started again as after any crash."""
        keeper = self._keeper(name)
        keeper.kill()
        return keeper.info()

    def ps(self) -> list[ProcessInfo]:
        """Every process as it is now, services in the order of the file, the gateway last."""
        return [keeper.info() for keeper in self._keepers.values()]

    async def __aenter__(self) -> Supervisor:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _prepare(self) -> None:
        specs: dict[str, ServiceSpec | Gateway] = dict(self.system.services)
        if self.system.gateway:
            specs[GATEWAY] = self.system.gateway
        numbers = {name: self._reserve(self._port if name == GATEWAY else 0) for name in specs}
        for name, spec in specs.items():
            environment = environment_for(self.system, name, data=self.data, ports=numbers, environ=self._environ)
            launch = Launch(
                name=name,
                port=numbers[name],
                command=self._command(spec),
                folder=self.system.folder,
                environment=environment,
                grace=Settings.from_environ(environment).drain + KILL_AFTER,
            )
            self._keepers[name] = Keeper(launch, on_line=self._line, on_change=self._on_change, clock=self._clock)

    def _reserve(self, port: int) -> int:
        reserved = ports.reserve(port) if port else ports.reserve_free(self._clock)
        self._resources.enter_context(closing(reserved))
        return int(reserved.getsockname()[1])

    async def _listen(self, path: Path) -> None:
        server = ControlServer(path, self._handle)
        self._resources.push_async_callback(server.close)
        await server.start()
        entry = registry.Entry(
            file=str(self.system.file),
            data=str(self.data),
            pid=os.getpid(),
            url=self.url,
            name=self.system.name,
            socket=str(path),
        )
        registry.write_entry(entry)

    async def _all_ready(self) -> None:
        try:
            async with asyncio.timeout(self._start_timeout):
                while not self._asked_to_stop.is_set() and not all(k.was_ready for k in self._keepers.values()):
                    for keeper in self._keepers.values():
                        if not keeper.was_ready and keeper.early_ends >= EARLY_ENDS:
                            raise _failure(keeper, f"ended {EARLY_ENDS} times before it was ready ({keeper.reason})")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            late = next(keeper for keeper in self._keepers.values() if not keeper.was_ready)
            raise _failure(late, f"did not become ready within {self._start_timeout:g} s") from None

    async def _stop_in_order(self) -> None:
        if gateway := self._keepers.get(GATEWAY):
            await gateway.stop()
        await asyncio.gather(*(keeper.stop() for name, keeper in self._keepers.items() if name != GATEWAY))

    async def _handle(self, op: str, name: str) -> dict[str, Any]:
        match op:
            case "ps":
                return {"system": self.system.name, "processes": [asdict(info) for info in self.ps()]}
            case "hold":
                return {"process": asdict(await self.hold(name))}
            case "release":
                return {"process": asdict(self.release(name))}
            case "kill":
                return {"process": asdict(self.kill(name))}
            case "stop":
                self._asked_to_stop.set()
                self._changed.set()
                return {}
        raise DeployError(f"unknown operation {op[:40]!r}")

    def _keeper(self, name: str) -> Keeper:
        if name not in self._keepers:
            raise DeployError(f"{self.system.name} has no process {name[:60]!r}: it has {', '.join(self._keepers)}")
        return self._keepers[name]

    def _line(self, name: str, text: str) -> None:
        if self._output is not None:
            self._output.line(name, text)

    def _on_change(self, change: ProcessChanged) -> None:
        self._changed.set()
        self._emit(change)


def _failure(keeper: Keeper, what: str) -> DeployError:
    lines = [f"\n  {line}" for line in list(keeper.last_lines)[-_SHOWN_LINES:]]
    return DeployError(f"{keeper.launch.name} {what}; its last lines:{''.join(lines) or ' none'}")
