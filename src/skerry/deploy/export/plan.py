"""What there is to run of a system, wherever it runs: processes with their surroundings, databases, the event broker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from skerry import __version__
from skerry.errors import ConfigurationError
from skerry.gateway import reading
from skerry.settings import Settings, variable_for
from skerry.topology import GATEWAY, Gateway, ServiceSpec, System

PORT: Final = 8080
GRPC_PORT: Final = 50051
DATABASE_PORT: Final = 5432
DATABASES: Final = ("sqlite", "postgresql", "postgres")
"""For which an export's PostgreSQL can stand: with it a service goes on as it is."""
BROKERS: Final = ("sqlite", "nats")
"""Likewise for NATS."""
EVENTS: Final = "events"
"""The broker's name among the processes; no service may have it."""
EVENTS_PORT: Final = 4222
DRAIN: Final = 20
"""Seconds for what is under way when a process is told to stop, where its own variables say nothing else."""
GRACE: Final = 2 * DRAIN
"""Seconds until what is no service, a database or the broker, is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One kind of process. `calls` are those that it may reach, `callers` those that may reach it; `variables` hold no secret."""

    name: str
    command: tuple[str, ...]
    extras: tuple[str, ...]
    grpc: bool = False
    database: bool = False
    events: bool = False
    app: str = ""
    calls: tuple[str, ...] = ()
    callers: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def database_name(self) -> str:
        """What its database's process is called."""
        return f"{self.name}-database"

    @property
    def grace(self) -> int:
        """Seconds from when it is told to stop until it is killed. Raises `ConfigurationError` for variables that cannot be."""
        return int(Settings.from_environ({"SKERRY_DRAIN": str(DRAIN), **self.variables}).drain) + DRAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A whole system. `requirements` says whether its folder has a requirements.txt for its images."""

    system: System
    services: tuple[Workload, ...]
    gateway: Workload | None
    requirements: bool
    version: str = __version__

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """The services, and the gateway last."""
        return (*self.services, *(() if self.gateway is None else (self.gateway,)))

    @property
    def events(self) -> bool:
        """Whether there is a broker."""
        return any(workload.events for workload in self.services)

    def named(self, name: str) -> Workload:
        """The workload of this name."""
        return next(workload for workload in self.workloads if workload.name == name)


def plan_of(system: System) -> Plan:
    """What there is to run of `system`.

    Every service that keeps something gets a PostgreSQL of its own, and events go through NATS: what works within one machine,
    files of SQLite, cannot be shared by several. Raises `ConfigurationError` for names that would meet those of what is added,
    for other engines in the system's file, and for routes of the gateway to services that it does not call.
    """
    _check_names(system)
    _check_engines(system)
    callers: dict[str, list[str]] = {name: [] for name in system.services}
    for name, service in system.services.items():
        for callee in service.calls:
            callers[callee].append(name)
    gateway = system.gateway
    if gateway is not None:
        for callee in gateway.calls:
            callers[callee].append(GATEWAY)
    services = tuple(_service(system, service, tuple(callers[name])) for name, service in system.services.items())
    entry = None
    if gateway is not None:
        spec = gateway.spec
        if not spec.is_relative_to(system.folder):
            raise ConfigurationError(f"{spec} lies outside {system.folder}, so that no image would have it")
        _check_routes(gateway)
        entry = Workload(
            name=GATEWAY,
            command=(
                "python",
                "-m",
                "skerry.gateway",
                str(spec.relative_to(system.folder)),
                "--engine",
                gateway.engine,
            ),
            extras=("envoy", "gateway") if gateway.engine == "envoy" else ("gateway",),
            calls=gateway.calls,
            variables=_addresses(system, gateway.calls),
        )
    return Plan(
        system=system,
        services=services,
        gateway=entry,
        requirements=(system.folder / "requirements.txt").is_file(),
    )


def _service(system: System, service: ServiceSpec, callers: tuple[str, ...]) -> Workload:
    events = system.events is not None and bool(service.publishes or service.subscribes)
    calls_grpc = any(system.services[callee].grpc for callee in service.calls)
    wanted = {
        "service": True,
        "events": True,
        "grpc": service.grpc or calls_grpc,
        "nats": events,
        "postgres": service.database is not None,
    }
    return Workload(
        name=service.name,
        command=("python", "-m", "skerry.service", service.app),
        extras=tuple(sorted(extra for extra, needed in wanted.items() if needed)),
        grpc=service.grpc,
        database=service.database is not None,
        events=events,
        app=service.app,
        calls=service.calls,
        callers=callers,
        variables={**_addresses(system, service.calls), **service.env},
    )


def _addresses(system: System, calls: tuple[str, ...]) -> dict[str, str]:
    """Where those are that a process may call, and only those."""
    found: dict[str, str] = {}
    for callee in calls:
        found[variable_for(callee)] = f"http://{callee}:{PORT}"
        if system.services[callee].grpc:
            found[variable_for(f"{callee}-grpc")] = f"http://{callee}:{GRPC_PORT}"
    return found


def _check_routes(gateway: Gateway) -> None:
    """On one machine the gateway is told where everybody is; elsewhere only of those that it calls, and only they let it in."""
    spec = reading.read(gateway.spec)
    elsewhere = {service.name for service in spec.services if service.urls}
    unsaid = sorted(spec.called - elsewhere - set(gateway.calls))
    if unsaid:
        raise ConfigurationError(
            f"has routes to {', '.join(unsaid)}, whom the gateway could not reach: add them to calls in [gateway] of skerry.toml",
            source=str(gateway.spec),
        )


def _check_names(system: System) -> None:
    added = {EVENTS, *(f"{name}-{what}" for name in system.services for what in ("database", "migrate"))}
    for name in system.services:
        if name in added:
            raise ConfigurationError(
                f"the service {name!r} has the name of a process that an export adds", source=str(system.file)
            )


def _check_engines(system: System) -> None:
    """Whoever names another engine means it: nobody should find out in production that an export has brought its own."""
    for name, service in system.services.items():
        scheme = (service.database or "sqlite:").partition(":")[0]
        if scheme not in DATABASES:
            raise ConfigurationError(
                f"{name} has a {scheme}: database, and an export brings PostgreSQL, which keeps documents too: say postgresql: "
                "or sqlite: here, and for this machine's address use --env",
                source=str(system.file),
            )
    scheme = (system.events or "sqlite:").partition(":")[0]
    if scheme not in BROKERS:
        raise ConfigurationError(
            f"events go through {scheme}:, and an export brings NATS: say nats: or sqlite: here, and for this machine's "
            "address use --env",
            source=str(system.file),
        )
