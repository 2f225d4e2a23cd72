"""The files of an export: written below one folder, each replaced whole; passwords are made once and then stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml

from skerry.clock import SYSTEM, Clock
from skerry.deploy.export.plan import DATABASE_PORT, EVENTS, EVENTS_PORT, Plan
from skerry.deploy.secrets import SecretFolder, password
from skerry.errors import ConfigurationError

SECRETS: Final = "secrets"
EVENTS_USER: Final = "skerry"


@dataclass(frozen=True, slots=True)
class Written:
    """The paths that were written, and those of files with passwords that were new."""

    files: tuple[Path, ...]
    secrets: tuple[Path, ...]


def document(*objects: Mapping[str, Any]) -> str:
    """One YAML file; the same objects always give the same text."""
    return yaml.dump_all(objects, Dumper=_Plain, sort_keys=False, explicit_start=len(objects) > 1, width=120)


class _Plain(yaml.SafeDumper):
    """Without anchors: a reader of manifests should see each value where it counts."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def write(folder: Path, files: Mapping[str, str], plan: Plan | None, *, clock: Clock = SYSTEM) -> Written:
    """Write `files`, by their paths below `folder`, and beside them a file of passwords for each who needs any.

    What is there of passwords stays (without a `plan` there are none), so that an export can be repeated. Raises
    `ConfigurationError` where it cannot write, and for the folder of the system itself.
    """
    if plan is not None and folder.resolve() == plan.system.folder:
        raise ConfigurationError(
            f"{folder} is the system's own folder, where `skerry run` has files of the same names, such as .env: "
            "name one for the export alone with --out"
        )
    written: list[Path] = []
    try:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f".{path.name}.new")
            beside.write_text(text)
            beside.replace(path)
            written.append(path)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written: {error.strerror}") from error
    if plan is None:
        return Written(tuple(written), ())
    secrets = SecretFolder(folder / SECRETS)
    new = [
        secrets.file(name)
        for name, variables in _secrets(plan, secrets, clock).items()
        if _keep(secrets, name, variables)
    ]
    return Written(tuple(written), tuple(new))


def names_of_secrets(plan: Plan) -> tuple[str, ...]:
    """Who has a file of passwords: each service with a database or events, each database, and the broker."""
    services = [workload.name for workload in plan.services if workload.database or workload.events]
    stores = [workload.database_name for workload in plan.services if workload.database]
    return (*services, *stores, *((EVENTS,) if plan.events else ()))


def _secrets(plan: Plan, secrets: SecretFolder, clock: Clock) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    # the broker takes a word that begins like a number for one
    broker = secrets.read(EVENTS).get("NATS_PASSWORD") or f"p{password(clock)}"
    events = f"nats://{EVENTS_USER}:{quote(broker, safe='')}@{EVENTS}:{EVENTS_PORT}?durability=flushed"
    for workload in plan.services:
        variables: dict[str, str] = {}
        if workload.database:
            own = secrets.read(workload.database_name).get("POSTGRES_PASSWORD") or password(clock)
            role = role_of(workload.name)
            place = f"{workload.database_name}:{DATABASE_PORT}/{role}"
            found[workload.database_name] = {"POSTGRES_PASSWORD": own}
            variables["SKERRY_DATABASE"] = f"postgresql://{role}:{quote(own, safe='')}@{place}"
        if workload.events:
            variables["SKERRY_EVENTS"] = events
        if variables:
            found[workload.name] = variables
    if plan.events:
        found[EVENTS] = {"NATS_PASSWORD": broker}
    return found


def role_of(service: str) -> str:
    """The role, and the database, of a service: a name that needs no quoting in SQL."""
    return service.replace("-", "_")


def _keep(secrets: SecretFolder, name: str, variables: Mapping[str, str]) -> bool:
    """Write what is not there yet; whether there was something."""
    there = secrets.read(name)
    if variables.items() <= there.items():
        return False
    secrets.write(name, {**there, **variables})
    return True
