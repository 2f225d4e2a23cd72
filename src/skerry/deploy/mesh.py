"""The sidecars of a system: an Envoy beside each service, all told what to do by the process that supervises."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from skerry.clock import Clock
from skerry.deploy import ports, probe
from skerry.deploy.processes import Launch
from skerry.deploy.servers.port import ENVIRONMENT
from skerry.envoy import Admin, AdsServer, binary, bootstrap, envoy_command
from skerry.envoy.mesh import LEAF_LIFETIME, Authority, Callee, CertificateFolder, Rotation, Sidecar
from skerry.envoy.process import LONGEST_SOCKET
from skerry.errors import ConfigurationError, DeployError, EnvoyError
from skerry.settings import variable_for
from skerry.signals import Signal
from skerry.topology import GATEWAY, System

SUFFIX: Final = "-sidecar"
FOLDER: Final = "mesh"
"""Below the data folder, for the authority."""
GRACE: Final = 5.0
"""Seconds for a sidecar to end; its service has drained by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """That the services of a system call each other by mutual TLS only.

    Certificates are those in the folder `certificates`, see `skerry.envoy.mesh.CertificateFolder`; without one they come from
    an authority that is made in the data folder, and live for `lifetime` seconds.
    """

    certificates: Path | None = None
    lifetime: float = LEAF_LIFETIME


class Sidecars:
    """What a supervisor needs of them: ports to reserve, processes to keep, variables for the services."""

    def __init__(self, mesh: Mesh, system: System, *, data: Path, clock: Clock, emit: Callable[[Signal], None]) -> None:
        self._mesh = mesh
        self._system = system
        self._data = data
        self._clock = clock
        self._emit = emit
        self._ports: Mapping[str, int] = {}
        self._resources = AsyncExitStack()
        self._rotation: Rotation | None = None
        self._folder = data / FOLDER
        self._turns: dict[str, int] = {}
        """How often a service was launched at other sockets than those before."""

    @property
    def names(self) -> list[str]:
        """Of their processes, in the order of the services."""
        return [sidecar_name(service) for service in self._services()]

    def ports(self) -> Iterator[str]:
        """The names of all ports that they need beside one for each service: one for each call of the topology."""
        for service in self._services():
            for callee in self._calls(service):
                yield _call(service, callee)

    async def open(self, numbers: Mapping[str, int], *, folder: Path) -> None:
        """Prepare all, with these ports and a `folder` for sockets, which is taken away at the end.

        Raises `ConfigurationError` for certificates that are not in order, and `MissingExtra`.
        """
        if taken := [name for name in self.names if name in self._system.services]:
            raise ConfigurationError(f"a service cannot be named {taken[0]} beside the sidecar of that name")
        self._ports = numbers
        self._folder = folder
        self._folder.mkdir(mode=0o700)
        self._resources.callback(shutil.rmtree, self._folder, ignore_errors=True)
        ads = await self._resources.enter_async_context(AdsServer(self._folder / "ads.sock"))
        self._rotation = Rotation(
            [self._sidecar(name) for name in self._services()], self._source(), ads, clock=self._clock, emit=self._emit
        )
        self._rotation.begin()
        task = asyncio.create_task(self._rotation.run(), name="rotate certificates")
        self._resources.push_async_callback(_end, task)

    async def close(self) -> None:
        """End what gives them their configuration, and take their files away."""
        await self._resources.aclose()

    def launches(self, environ: Mapping[str, str]) -> Iterator[Launch]:
        """How their keepers start them."""
        program = binary.find()
        inherited = {name: environ[name] for name in ENVIRONMENT if name in environ}
        for service in self._services():
            admin, file = self._file(service, "admin"), self._file(service, "json")
            written = bootstrap.by_ads(node=service, admin=admin, ads=self._folder / "ads.sock")
            file.write_text(json.dumps(written))
            yield Launch(
                name=sidecar_name(service),
                port=self._ports[service],
                command=envoy_command(program, file),
                folder=self._folder,
                environment={"PATH": os.defpath, **inherited, "SKERRY_DATA": str(self._data)},
                grace=GRACE,
                where=f"https://{ports.HOST}:{self._ports[service]}" if service != GATEWAY else "",
                ready=partial(_live, Admin(admin)),
            )

    def variables(self, service: str) -> dict[str, str]:
        """Where the service listens, and where it calls others: at its own sidecar."""
        found = {}
        for callee in self._calls(service):
            url = f"http://{ports.HOST}:{self._ports[_call(service, callee)]}"
            found[variable_for(callee)] = url
            if self._system.services[callee].grpc:
                found[variable_for(f"{callee}-grpc")] = url
        if service != GATEWAY:
            found["SKERRY_SOCKET"] = str(self._socket(service, "http"))
            if self._system.services[service].grpc:
                found["SKERRY_GRPC_SOCKET"] = str(self._socket(service, "grpc"))
        return found

    def listens(self, service: str) -> tuple[str, probe.Ready, probe.Who]:
        """Where the service itself answers, and how to ask it there whether it is ready, and who it is."""
        socket = self._socket(service, "http")
        return f"unix:{socket}", partial(_ready_at, socket), partial(_process_at, socket)

    def elsewhere(self, service: str) -> None:
        """From now on `variables` and `listens` are for a successor of the service, which has sockets of its own."""
        self._turns[service] = self._turns.get(service, 0) + 1

    async def lead(self, service: str) -> str:
        """Have the service's sidecar call whoever listens where `listens` says now; returns why it does not, or an empty text.

        Requests under way stay with the process that has them. A sidecar that is down is told when it comes.
        """
        try:
            await self._rotating().change(self._sidecar(service))
        except EnvoyError as error:
            return str(error)
        return ""

    async def renew(self, service: str) -> None:
        """New certificates, for one service or, without a name, for all; see `Rotation.renew`."""
        await self._rotating().renew([service] if service else [])

    async def replace_authority(self) -> None:
        """A new authority for all; see `Rotation.replace_authority`."""
        await self._rotating().replace_authority()

    def status(self) -> dict[str, Any]:
        """Every sidecar, for the control socket."""
        now = self._clock.now()
        return {
            "sidecars": [{**asdict(info), "remaining": info.ends - now} for info in self._rotating().status()],
            "system": self._system.name,
        }

    def _rotating(self) -> Rotation:
        if self._rotation is None:
            raise DeployError("the mesh is not up yet")
        return self._rotation

    def _services(self) -> list[str]:
        return [*self._system.services, *([GATEWAY] if self._system.gateway else [])]

    def _calls(self, service: str) -> tuple[str, ...]:
        if service == GATEWAY:
            return self._system.gateway.calls if self._system.gateway else ()
        return self._system.services[service].calls

    def _sidecar(self, service: str) -> Sidecar:
        spec = self._system.services.get(service)
        calls = (
            Callee(service=callee, listen=self._ports[_call(service, callee)], port=self._ports[callee])
            for callee in self._calls(service)
        )
        return Sidecar(
            system=self._system.name,
            service=service,
            port=self._ports[service] if spec else None,
            socket=self._socket(service, "http") if spec else None,
            grpc=self._socket(service, "grpc") if spec and spec.grpc else None,
            callers=tuple(other for other in self._services() if service in self._calls(other)),
            calls=tuple(calls),
            longest=max(30.0, self._mesh.lifetime / 2),
        )

    def _source(self) -> Authority | CertificateFolder:
        if self._mesh.certificates is not None:
            return CertificateFolder(self._mesh.certificates.resolve(), system=self._system.name, clock=self._clock)
        return development_authority(self._data, self._system, lifetime=self._mesh.lifetime, clock=self._clock)

    def _socket(self, service: str, kind: str) -> Path:
        turn = self._turns.get(service, 0)
        return self._file(service, f"{kind}{turn}" if turn else kind)

    def _file(self, service: str, kind: str) -> Path:
        path = self._folder / f"{service}.{kind}"
        if len(os.fsencode(path)) > LONGEST_SOCKET:
            raise ConfigurationError(
                f"{path} is too long a path for a socket: use a shorter folder for temporary files"
            )
        return path


def development_authority(data: Path, system: System, *, lifetime: float, clock: Clock) -> Authority:
    """The authority of a system in its data folder, made the first time."""
    return Authority(data / FOLDER, system=system.name, lifetime=lifetime, clock=clock)


def sidecar_name(service: str) -> str:
    """The name of the process beside a service."""
    return f"{service}{SUFFIX}"


def _call(caller: str, callee: str) -> str:
    return f"{caller}>{callee}"  # no name of a service has such a character


async def _live(admin: Admin, host: str, port: int) -> bool:  # noqa: ARG001 - it is asked over its own socket
    return await admin.live()


async def _ready_at(path: Path, host: str, port: int) -> bool:  # noqa: ARG001 - likewise
    return await probe.ready_at(path)


async def _process_at(path: Path, host: str, port: int) -> int | None:  # noqa: ARG001 - likewise
    return await probe.process_at_socket(path)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
