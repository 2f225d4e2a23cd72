"""`skerry config`: what a system is made of, and what each process is told, with where each value comes from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click

from skerry.cli import options
from skerry.cli.text import columns
from skerry.deploy.dotenv import DOTENV, read_dotenv
from skerry.deploy.processes import NOT_INHERITED
from skerry.errors import ConfigurationError
from skerry.settings import URL_PREFIX, Settings
from skerry.telemetry.logs import redact
from skerry.topology import FILE_NAME, GATEWAY, System, load

_BY_SUPERVISOR: Final = {"SKERRY_HOST", "SKERRY_PORT", "SKERRY_GRPC_PORT", "SKERRY_DATA", "SKERRY_SUPERVISED"}
_SECRET: Final = ("TOKEN", "PASSWORD", "SECRET", "KEY")
FIELDS: Final = {
    "SKERRY_DATA": "data",
    "SKERRY_HOST": "host",
    "SKERRY_PORT": "port",
    "SKERRY_GRPC_PORT": "grpc_port",
    "SKERRY_GRPC_CERTIFICATE": "grpc_certificate",
    "SKERRY_GRPC_KEY": "grpc_key",
    "SKERRY_GRPC_CLIENT_CA": "grpc_client_ca",
    "SKERRY_LOG_LEVEL": "log_level",
    "SKERRY_DRAIN": "drain",
    "SKERRY_DATABASE": "database",
    "SKERRY_EVENTS": "events",
    "SKERRY_ANALYTICS": "analytics",
    "SKERRY_MIGRATE": "migrate",
    "SKERRY_METRICS": "metrics",
    "SKERRY_TRACES": "traces",
    "SKERRY_OTLP": "otlp",
    "SKERRY_OTEL": "otel",
    "SKERRY_ZONE": "zone",
}
"""The settings of a process by their variables; see `Settings`."""


@dataclass(frozen=True, slots=True)
class Value:
    """One setting: what it is, and whether the system file, the environment, the file `.env` beside the system file, the
    supervisor or nobody (`default`) says so.
    """

    name: str
    value: str
    origin: str


@click.command(epilog="Example: skerry config order")
@click.argument("process", required=False)
@click.option(
    "--file", type=click.Path(path_type=Path), help=f"The system file. [default: {FILE_NAME} here or further up]"
)
@options.output
def config(process: str | None, file: Path | None, output: str) -> None:
    """Show the services of a system and what they say of each other; or what PROCESS would be told by `skerry run`, and by whom.

    Passwords, tokens and keys are never shown.
    """
    system = load(file or options.system_file(""))
    if process is None:
        _show_system(system, output)
        return
    if process not in system.services and not (process == GATEWAY and system.gateway is not None):
        known = ", ".join([*system.services, *([GATEWAY] if system.gateway else [])])
        raise ConfigurationError(f"there is no {process!r} in this system; there are: {known}", source=str(system.file))
    values = list(settings(system, process, os.environ, dotenv=read_dotenv(system.folder)))
    if output == "json":
        click.echo(json.dumps({"process": process, "settings": [asdict(value) for value in values]}))
    else:
        click.echo(
            columns(("setting", "value", "from"), [(each.name, each.value or "-", each.origin) for each in values])
        )


def settings(
    system: System, process: str, environ: Mapping[str, str], *, dotenv: Mapping[str, str] | None = None
) -> Iterator[Value]:
    """What `process` would be told, where `dotenv` is what the file `.env` has.

    Raises `ConfigurationError` for a variable of the environment, or of that file, that is wrong.
    """
    spec = system.services.get(process)
    kept = {name: value for name, value in (dotenv or {}).items() if _is_handed_on(name) and name not in environ}
    passed_on = {name: value for name, value in environ.items() if name not in NOT_INHERITED} | kept
    own = dict(spec.env) if spec is not None else {}
    if spec is not None and spec.database is not None:
        own.setdefault("SKERRY_DATABASE", spec.database)
    if system.events is not None:
        own.setdefault("SKERRY_EVENTS", system.events)
    effective = Settings.from_environ({**passed_on, **own})
    for name, field in FIELDS.items():
        value = str(getattr(effective, field))
        if name in _BY_SUPERVISOR:
            yield Value(name, "-", "the supervisor, at its start")
            continue
        places = (("the system file", own), (DOTENV, kept), ("the environment", passed_on))
        yield Value(name, redact(value), next((place for place, said in places if name in said), "default"))
    for name in sorted(set(own) - set(FIELDS)):
        secret = any(word in name.upper() for word in _SECRET)
        yield Value(name, "***" if secret else redact(own[name]), "the system file")
    # whatever they are called: who keeps a value in that file may have meant it as a secret
    yield from (Value(name, "***", DOTENV) for name in sorted(set(kept) - set(own) - set(FIELDS)))
    others = [*system.services, *(f"{name}-grpc" for name, each in system.services.items() if each.grpc)]
    for other in sorted(others):
        yield Value(f"{URL_PREFIX}{other.upper().replace('-', '_')}", "-", "the supervisor, at its start")


def _is_handed_on(name: str) -> bool:
    return name not in NOT_INHERITED and not name.startswith(URL_PREFIX)  # addresses are the supervisor's


def _show_system(system: System, output: str) -> None:
    services = [_told(system, name) for name in system.services]
    gateway = system.gateway
    if output == "json":
        found: dict[str, Any] = {
            "name": system.name,
            "file": str(system.file),
            "events": None if system.events is None else redact(system.events),
            "services": services,
            "gateway": None
            if gateway is None
            else {
                "spec": str(gateway.spec),
                "port": gateway.port,
                "engine": gateway.engine,
                "calls": list(gateway.calls),
            },
            "topics": [
                {"name": name, "owner": topic.owner, "description": topic.description}
                for name, topic in system.topics.items()
            ],
        }
        click.echo(json.dumps(found, indent=2))
        return
    rows = [
        (
            each["name"],
            each["app"],
            each["database"] or "-",
            *(", ".join(each[key]) or "-" for key in ("calls", "callers")),
        )
        for each in services
    ]
    if gateway is not None:
        rows.append((GATEWAY, f"{gateway.spec.name} on {gateway.engine}", "-", ", ".join(gateway.calls) or "-", "-"))
    click.echo(f"{system.name}, from {system.file}")
    click.echo()
    click.echo(columns(("name", "is", "database", "calls", "called by"), rows))


def _told(system: System, name: str) -> dict[str, Any]:
    service = system.services[name]
    callers = [other for other, each in system.services.items() if name in each.calls]
    if system.gateway is not None and name in system.gateway.calls:
        callers.append(GATEWAY)
    return {
        "name": name,
        "app": service.app,
        "description": service.description,
        "database": None if service.database is None else redact(service.database),
        "grpc": service.grpc,
        "calls": list(service.calls),
        "callers": callers,
        "publishes": list(service.publishes),
        "subscribes": list(service.subscribes),
    }
