"""A Compose file: each call a network of its own, so that nobody reaches whom the topology does not have it call.

Source: the Compose Specification (compose-spec.io).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from skerry.deploy.export import images
from skerry.deploy.export.plan import EVENTS, EVENTS_PORT, GRACE, PORT, Plan, Workload
from skerry.deploy.export.writing import EVENTS_USER, SECRETS, document, role_of
from skerry.topology import GATEWAY

BROKER_FILE: Final = "nats.conf"
_CHECKED: Final = {"interval": "5s", "timeout": "3s", "retries": 12, "start_period": "30s"}


@dataclass(frozen=True, slots=True)
class Place:
    """How an export's folder and the system's see each other: relative paths, with two dollar signs for one."""

    context: str
    back: str

    @classmethod
    def of(cls, folder: Path, system: Path) -> Place:
        """Of an export in `folder`."""
        context, back = os.path.relpath(system, folder), os.path.relpath(folder, system)
        return cls(context.replace("$", "$$"), back.replace("$", "$$"))


def files(plan: Plan, place: Place, *, tag: str) -> dict[str, str]:
    """By path: `compose.yaml`, what it mounts, and the Dockerfiles."""
    services: dict[str, Any] = {}
    for workload in plan.services:
        if workload.database:
            services[workload.database_name] = _database(workload)
            services[f"{workload.name}-migrate"] = _migration(plan, workload, place, tag)
    if plan.events:
        services[EVENTS] = _broker()
    for workload in plan.workloads:
        services[workload.name] = _service(plan, workload, place, tag)
    networks = {name: {"internal": True} for service in services.values() for name in service["networks"]}
    networks["outside"] = {}
    volumes: dict[str, Any] = {f"{name}-data": {} for name in services if name == EVENTS or name.endswith("-database")}
    whole = {
        "services": services,
        "networks": dict(sorted(networks.items())),
        "volumes": dict(sorted(volumes.items())),
    }
    mounted = {BROKER_FILE: broker_settings()} if plan.events else {}
    name = f"COMPOSE_PROJECT_NAME={plan.system.name}\n"  # not `name` in the file, which Compose 1 refuses
    return {"compose.yaml": document(whole), ".env": name, **mounted, **images.files(plan)}


def _image(plan: Plan, workload: Workload, place: Place, tag: str) -> dict[str, Any]:
    return {
        "image": f"{plan.system.name}-{workload.name}:{tag}",
        "build": {"context": place.context, "dockerfile": f"{place.back}/images/{workload.name}.Dockerfile"},
    }


def _service(plan: Plan, workload: Workload, place: Place, tag: str) -> dict[str, Any]:
    waits: dict[str, Any] = {}
    if workload.database:
        waits[f"{workload.name}-migrate"] = {"condition": "service_completed_successfully"}
        waits[workload.database_name] = {"condition": "service_healthy"}
    if workload.events:
        waits[EVENTS] = {"condition": "service_healthy"}
    ports = {}
    if workload.name == GATEWAY:
        assert plan.system.gateway is not None
        ports = {"ports": [f"{plan.system.gateway.port}:{PORT}"]}
    return {
        **_image(plan, workload, place, tag),
        "environment": images.surroundings(workload),
        **_secret(workload),
        **ports,
        **({"depends_on": waits} if waits else {}),
        "healthcheck": {"test": ["CMD", *images.probe("/health/ready")], **_CHECKED},
        "stop_grace_period": f"{workload.grace}s",
        "restart": "unless-stopped",
        **_confined(),
        "networks": _networks(workload),
    }


def _networks(workload: Workload) -> list[str]:
    """Those of calls have a dot, which no name has: else `a-b` calling `c` would be in that of `a` calling `b-c`."""
    found = [f"{workload.name}.{callee}" for callee in workload.calls]
    found += [f"{caller}.{workload.name}" for caller in workload.callers]
    if workload.database:
        found.append(workload.database_name)
    if workload.events:
        found.append(EVENTS)
    if workload.name == GATEWAY:
        found.append("outside")
    return sorted(found) or [f"{workload.name}.alone"]


def _secret(workload: Workload) -> dict[str, Any]:
    return {"env_file": [f"{SECRETS}/{workload.name}.env"]} if workload.database or workload.events else {}


def _confined() -> dict[str, Any]:
    """A process writes nowhere but to its data folder, gains no rights, and has none to begin with."""
    return {
        "read_only": True,
        "tmpfs": ["/tmp", f"{images.DATA}:uid={images.USER}"],  # noqa: S108 - the container's own
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": 512,
        "mem_limit": "512m",
    }


def _migration(plan: Plan, workload: Workload, place: Place, tag: str) -> dict[str, Any]:
    return {
        **_image(plan, workload, place, tag),
        "command": ["skerry", "db", "migrate", workload.app],
        "environment": images.surroundings(workload),
        **_secret(workload),
        "depends_on": {workload.database_name: {"condition": "service_healthy"}},
        "restart": "on-failure",
        **_confined(),
        "networks": [workload.database_name],
    }


def _database(workload: Workload) -> dict[str, Any]:
    role = role_of(workload.name)
    return {
        "image": images.POSTGRESQL,
        "environment": {"POSTGRES_USER": role, "POSTGRES_DB": role},
        "env_file": [f"{SECRETS}/{workload.database_name}.env"],
        "volumes": [f"{workload.database_name}-data:/var/lib/postgresql/data"],
        "healthcheck": {"test": ["CMD", "pg_isready", "-U", role, "-d", role], **_CHECKED},
        "stop_signal": "SIGINT",
        "stop_grace_period": f"{GRACE}s",
        "restart": "unless-stopped",
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": "512m",
        "networks": [workload.database_name],
    }


def _broker() -> dict[str, Any]:
    return {
        "image": images.NATS,
        "command": ["-c", "/etc/nats/nats.conf"],
        "env_file": [f"{SECRETS}/{EVENTS}.env"],
        "volumes": [f"{EVENTS}-data:/data", f"./{BROKER_FILE}:/etc/nats/{BROKER_FILE}:ro"],
        "healthcheck": {
            "test": ["CMD", "wget", "-q", "-O", "-", "http://127.0.0.1:8222/healthz?js-server-only=true"],
            **_CHECKED,
        },
        "stop_grace_period": f"{GRACE}s",
        "restart": "unless-stopped",
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": "512m",
        "networks": [EVENTS],
    }


def broker_settings() -> str:
    """Settings of the broker: every acknowledged message is on the disk, and nobody comes in without the password."""
    return f"""\
listen: "0.0.0.0:{EVENTS_PORT}"
http: "0.0.0.0:8222"
max_payload: 8MB
jetstream {{ store_dir: "/data", max_file_store: 8GB, sync_interval: always }}
authorization {{ user: {EVENTS_USER}, password: $NATS_PASSWORD }}
"""
