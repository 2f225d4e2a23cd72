"""Makes a system in a new folder, and a service inside a system. What is there already is never overwritten."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from skerry.deploy.templates.answers import check_description, check_port, check_route
from skerry.deploy.templates.names import check_service, check_system, package_of
from skerry.deploy.templates.placing import files_in, place, read_text
from skerry.deploy.templates.source import SERVICE, SYSTEM, render
from skerry.deploy.templates.toml_text import add_call, add_tables
from skerry.deploy.templates.yaml_text import add_route
from skerry.errors import ConfigurationError
from skerry.topology import FILE_NAME, System, load

RECORD: Final = ".skerry/system.yml"
"""What a system was made from, in its folder."""
RECORDS: Final = ".skerry/services"
"""The folder of what its services were made from."""


@dataclass(frozen=True, slots=True)
class Made:
    """What was made: in the folder of a system, the files that are new and those that were there and have changed."""

    folder: Path
    files: tuple[Path, ...]
    changed: tuple[Path, ...] = ()


def new_system(parent: Path, name: str, data: Mapping[str, Any], *, defaults: bool) -> Made:
    """Make a system in the folder `name` of `parent`, with one service.

    What `data` lacks is asked on the terminal, or, with `defaults`, taken from the template. All or nothing: it is made beside
    its place and moved there. Raises `ConfigurationError`, also when there is something at its place.
    """
    folder = parent.resolve() / check_system(name)
    if os.path.lexists(folder):
        raise ConfigurationError(f"there is something called {name} in {folder.parent} already; nothing is overwritten")
    told = _checked(data) | {"name": name}
    with tempfile.TemporaryDirectory(prefix=".skerry-new-", dir=folder.parent) as workshop:
        made = Path(workshop) / name
        made.mkdir()
        answers = _checked(render(SYSTEM, made, told, defaults=defaults, record=RECORD))
        service = answers["service"]
        about = {"route": f"/api/{service}", "description": f"What {service} keeps", "system": name}
        _add(made / FILE_NAME, made / "gateway.yaml", service, about, defaults=True)
        load(made / FILE_NAME)
        made.rename(folder)
    return Made(folder, files_in(folder))


def new_service(file: Path, name: str, data: Mapping[str, Any], *, defaults: bool) -> Made:
    """Add a service to the system in `file`: its code, its tests, its tables there, and a route when one is answered.

    What `data` lacks is asked on the terminal, or, with `defaults`, taken from the template. When something is refused, nothing
    has changed. Raises `ConfigurationError`, also when one of the files is there.
    """
    system = load(file)
    check_service(name, tuple(system.services))
    told = _checked(data) | {"system": system.name}
    return _add(system.file, _gateway(system), name, told, defaults=defaults)


def _add(file: Path, gateway: Path | None, name: str, told: Mapping[str, Any], *, defaults: bool) -> Made:
    folder, package = file.parent, package_of(name)
    record = f"{RECORDS}/{name}.yml"
    for path in (package, f"{package}.py", f"tests/test_{package}.py", record):
        if os.path.lexists(folder / path):
            raise ConfigurationError(f"there is {path} in {folder} already; nothing is overwritten")
    with tempfile.TemporaryDirectory(prefix="skerry-new-") as workshop:
        made = Path(workshop)
        answers = _checked(render(SERVICE, made, {**told, "name": name}, defaults=defaults, record=record))
        changes = _changes(file, gateway, name, answers)
        fresh = place(made, folder, changes)
    return Made(folder, fresh, tuple(path.relative_to(folder) for path in changes if path.is_relative_to(folder)))


def _checked(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Looked at before something is made of them, and again after what was asked on the terminal."""
    checks = {"description": check_description, "port": check_port, "route": check_route, "service": check_service}
    return {name: checks[name](value) if name in checks else value for name, value in answers.items()}


def _gateway(system: System) -> Path | None:
    return system.gateway.spec if system.gateway else None


def _changes(file: Path, gateway: Path | None, name: str, answers: Mapping[str, Any]) -> dict[Path, str]:
    """The new texts of the gateway's file, with a route, and of the system's file."""
    topic = f"{answers['system']}.{name}.added"
    tables: dict[tuple[str, str], dict[str, Any]] = {
        ("topics", topic): {"owner": name, "description": "an entry was added"},
        ("services", name): {
            "app": f"{package_of(name)}.app:service",
            "description": answers["description"],
            "database": f"sqlite:///{name}.db",
            "publishes": [topic],
            "subscribes": [topic],
        },
    }
    changes: dict[Path, str] = {}
    route = answers["route"]
    at = file
    try:
        text = add_tables(read_text(file), tables)
        if route:
            text = add_call(text, name)
        if route and gateway is not None:
            at = gateway
            changes[gateway] = add_route(read_text(gateway), path=route, service=name, rewrite=f"/{name}")
    except ConfigurationError as error:
        raise ConfigurationError(str(error), source=str(at)) from None
    return {**changes, file: text}
