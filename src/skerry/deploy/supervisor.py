"""Runs a system on this machine: every service and the gateway as a process, kept alive until told to stop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from skerry import signals
from skerry.clock import SYSTEM, Clock
from skerry.deploy import ports, probe, registry
from skerry.deploy.control import ControlServer
from skerry.deploy.keeper import Keeper, ProcessInfo
from skerry.deploy.mesh import Mesh, Sidecars
from skerry.deploy.order import waves
from skerry.deploy.output import Output
from skerry.deploy.processes import Command, Launch, command_for, environment_for
from skerry.deploy.readable import readable
from skerry.deploy.servers import Addresses, Server, launch
from skerry.errors import ConfigurationError, DeployError
from skerry.settings import Settings, variable_for
from skerry.signals import ProcessChanged, ProcessReplaced, Signal
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
    `environ` is what the processes inherit (default: our own environment), `env` holds variables of single services, which
    replace those of the system file. `command` gives their command lines. `servers` are run for the services, which are told
    their addresses: ready before the first service starts, stopped after the last. With a `mesh` so are sidecars, one beside
    each service and the gateway.

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
        env: Mapping[str, Mapping[str, str]] | None = None,
        servers: Sequence[Server] = (),
        mesh: Mesh | None = None,
        output: Output | None = None,
        clock: Clock = SYSTEM,
        command: Command = command_for,
        emit: Callable[[Signal], None] = signals.emit,
        start_timeout: float = START_TIMEOUT,
    ) -> None:
        self.system = system
        self.data: Path = data.resolve()
        self._port = port or 0
        self._environ = dict(os.environ if environ is None else environ)
        self._env = {name: dict(variables) for name, variables in (env or {}).items()}
        self._servers = {server.name: server for server in servers}
        self._output = output
        self._clock = clock
        self._command = command
        self._emit = emit
        self._start_timeout = start_timeout
        self._sidecars = Sidecars(mesh, system, data=self.data, clock=clock, emit=emit) if mesh is not None else None
        self._addresses = Addresses()
        self._ports: dict[str, int] = {}
        self._keepers: dict[str, Keeper] = {}
        self._resources = AsyncExitStack()
        self._changed = asyncio.Event()
        self._asked_to_stop = asyncio.Event()
        self._aborts: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        """The gateway's address, or an empty text for a system without one or one that has not been started."""
        return f"http://{ports.HOST}:{self._ports[GATEWAY]}" if GATEWAY in self._ports else ""

    @property
    def names(self) -> list[str]:
        """The names of all processes: servers, sidecars, then services in the order of the file, then the gateway."""
        sidecars = self._sidecars.names if self._sidecars else []
        return [*self._servers, *sidecars, *self.system.services, *([GATEWAY] if self.system.gateway else [])]

    @property
    def addresses(self) -> Addresses:
        """What the servers gave the services, once they are ready. Holds passwords."""
        return self._addresses

    @property
    def is_meshed(self) -> bool:
        """Whether its services call each other through sidecars."""
        return self._sidecars is not None

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
            self._reserve_ports()
            await self._listen(path)
            async with self._in_time():
                await self._start_servers()
                await self._start_sidecars(registry.mesh_folder(path))
                await self._start_services()
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
        """Stop the gateway, then all services together, then their servers; kill what has not drained in time.

        Nothing is left behind.

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

    async def replace(self, name: str) -> str:
        """Have the service `name` go on with its code and its table as they are now; returns why not, or an empty text.

        The new process starts beside the one that serves, at the same port, or in a mesh behind the same sidecar, and takes over
        once it is ready; the old one then finishes what is under way. If the new one does not become ready, the old one stays.
        """
        keeper = self._keeper(name)
        before = keeper.info().pid
        lead = None
        if self._sidecars is not None:
            self._sidecars.elsewhere(name)
            lead = partial(self._sidecars.lead, name)
        try:
            error = await keeper.replace(self._launch(name, self.system.services[name]), lead=lead)
        except ConfigurationError as unusable:  # a setting in its table
            error = str(unusable)
        self._emit(ProcessReplaced(name=name, pid=keeper.info().pid, before=before, error=error))
        return error

    def ps(self) -> list[ProcessInfo]:
        """Every process as it is now, servers first, services in the order of the file, the gateway last."""
        return [self._keepers[name].info() for name in self.names if name in self._keepers]

    async def __aenter__(self) -> Supervisor:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _reserve_ports(self) -> None:
        if taken := [name for name in self._servers if name in self.system.services]:
            raise ConfigurationError(f"a service cannot be named {taken[0]} beside the server of that name")
        sidecars = self._sidecars.ports() if self._sidecars else ()
        gateway = [GATEWAY] if self.system.gateway else []
        names = [*self._servers, *self.system.services, *gateway, *self._grpc_names(), *sidecars]
        for name in sorted(names, key=lambda name: not self._wanted(name)):  # the chosen ones before others take them
            wanted, instead = self._wanted(name), "--port" if name == GATEWAY else f"port in [services.{name}]"
            reserved = ports.reserve(wanted, instead=instead) if wanted else ports.reserve_free(self._clock)
            self._resources.enter_context(closing(reserved))
            self._ports[name] = int(reserved.getsockname()[1])
            if name in self._servers:
                ports.lend(reserved)

    def _wanted(self, name: str) -> int:
        """The port that was chosen for a process, 0 for any."""
        if name == GATEWAY:
            return self._port
        return self.system.services[name].port if name in self.system.services else 0

    def _grpc_names(self) -> list[str]:
        if self._sidecars is not None:  # they have a socket instead
            return []
        return [f"{name}-grpc" for name, service in self.system.services.items() if service.grpc]

    async def _start_servers(self) -> None:
        """Start the servers and have each make what the services need."""
        for name, server in self._servers.items():
            program = await asyncio.to_thread(server.prepare, self.data, self._ports[name], self._clock)
            self._keep(launch(server, program, port=self._ports[name], data=self.data, environ=self._environ))
        await self._all_ready()
        for name, server in self._servers.items():
            if not self._asked_to_stop.is_set():
                self._addresses |= await server.provide(self.system, self.data, self._ports[name], self._clock)

    async def _start_sidecars(self, folder: Path) -> None:
        if self._sidecars is None or self._asked_to_stop.is_set():
            return
        self._resources.push_async_callback(self._sidecars.close)
        await self._sidecars.open(self._ports, folder=folder)
        for sidecar in self._sidecars.launches(self._environ):
            self._keep(sidecar)
        await self._all_ready()

    async def _start_services(self) -> None:
        """Start each service once those that it calls are ready, and the gateway once whatever it calls is.

        They would survive any order; in this one a start says what it is that does not come up.
        """
        specs: dict[str, ServiceSpec | Gateway] = dict(self.system.services)
        if self.system.gateway:
            specs[GATEWAY] = self.system.gateway
        for wave in waves({name: spec.calls for name, spec in specs.items()}):
            if self._asked_to_stop.is_set():
                return
            for name in wave:
                self._keep(self._launch(name, specs[name]))
            await self._all_ready()

    def _numbers(self) -> dict[str, int]:
        """The ports of services and the gateway, and those for gRPC."""
        gateway = [GATEWAY] if self.system.gateway else []
        return {name: self._ports[name] for name in [*self.system.services, *gateway, *self._grpc_names()]}

    def _launch(self, name: str, spec: ServiceSpec | Gateway) -> Launch:
        own = {**self._env.get(name, {}), **self._addresses.variables(name)}
        where: str | None = None
        ready: probe.Ready = probe.ready
        who: probe.Who = probe.process_at
        numbers = self._numbers()
        if self._sidecars is not None:
            # It is not told where the others are, but where its sidecar takes calls for those that it may call.
            own |= self._sidecars.variables(name)
            numbers = {name: numbers[name]}
            if name != GATEWAY:
                where, ready, who = self._sidecars.listens(name)
        environment = environment_for(self.system, name, data=self.data, ports=numbers, environ=self._environ, own=own)
        if where is not None:
            environment.pop(variable_for(name))  # it would lead to its own sidecar, which it may not call
        return Launch(
            name=name,
            port=numbers[name],
            command=self._command(spec),
            folder=self.system.folder,
            environment=environment,
            grace=Settings.from_environ(environment).drain + KILL_AFTER,
            where=where,
            ready=ready,
            who=who,
        )

    def _keep(self, launch: Launch) -> None:
        keeper = Keeper(launch, on_line=self._line, on_change=self._on_change, clock=self._clock)
        self._keepers[launch.name] = keeper
        keeper.begin()

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

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._start_timeout) as limit:
                yield
        except TimeoutError:
            late = next((keeper for keeper in self._keepers.values() if not keeper.was_ready), None)
            if not limit.expired():
                raise
            if late is None:
                raise DeployError(f"the servers were not set up within {self._start_timeout:g} s") from None
            raise _failure(late, f"did not become ready within {self._start_timeout:g} s") from None

    async def _all_ready(self) -> None:
        """Wait until every process that was started so far is ready."""
        while not self._asked_to_stop.is_set() and not all(k.was_ready for k in self._keepers.values()):
            for keeper in self._keepers.values():
                if not keeper.was_ready and keeper.early_ends >= EARLY_ENDS:
                    raise _failure(keeper, f"ended {EARLY_ENDS} times before it was ready ({keeper.reason})")
            self._changed.clear()
            await self._changed.wait()

    async def _stop_in_order(self) -> None:
        if gateway := self._keepers.get(GATEWAY):
            await gateway.stop()
        sidecars = self._sidecars.names if self._sidecars else ()
        for names in (self.system.services, sidecars, self._servers):
            await asyncio.gather(*(keeper.stop() for name, keeper in self._keepers.items() if name in names))

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
            case "mesh" | "renew" | "replace-authority":
                return await self._meshed(op, name)
            case "stop":
                self._asked_to_stop.set()
                self._changed.set()
                return {}
        raise DeployError(f"unknown operation {op[:40]!r}")

    async def _meshed(self, op: str, name: str) -> dict[str, Any]:
        if self._sidecars is None:
            raise DeployError(f"{self.system.name} runs without a mesh: start it with `skerry run --mesh`")
        if op == "renew":
            await self._sidecars.renew(name)
        elif op == "replace-authority":
            await self._sidecars.replace_authority()
        return self._sidecars.status()

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
    lines = [f"\n  {line}" for text in keeper.last_lines for line in readable(text, styled=False)]
    return DeployError(f"{keeper.launch.name} {what}; its last lines:{''.join(lines[-_SHOWN_LINES:]) or ' none'}")
