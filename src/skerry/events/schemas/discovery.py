"""Which events the code of a system declares: each service's module is imported in a process of its own and asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skerry.errors import ConfigurationError
from skerry.events.schemas.model import EventClass
from skerry.topology import ServiceSpec, System
from skerry.topology.inquiry import AT_ONCE, TIMEOUT, inquire, surroundings

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ServiceEvents:
    """The event classes of one service: those it publishes, and those it reads from others.

    `undeclared` are the types that the system file says it publishes or subscribes to, but no class has.
    """

    service: str
    publishes: tuple[EventClass, ...] = ()
    reads: tuple[EventClass, ...] = ()
    undeclared: tuple[str, ...] = ()


def discover(system: System, *, timeout: float = TIMEOUT, tell: Tell = lambda _: None) -> list[ServiceEvents]:
    """The events of every service of a system that publishes or subscribes, in the order of its file.

    Nothing is started, and the modules see an empty data folder; but they run, as with `skerry run`. `tell` is given a
    sentence for each service that is done. Raises `ConfigurationError` that names each service which could not be imported
    within `timeout` seconds, and why.
    """
    services = [each for each in system.services.values() if each.publishes or each.subscribes]

    def ask(spec: ServiceSpec) -> tuple[list[dict[str, Any]], list[str]]:
        answer = _import(system.folder, [spec.app.partition(":")[0]], surroundings(system, spec), timeout)
        tell(f"imported {spec.name}")
        return answer

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(ask, services))
    _raise_if_any(
        [f"{spec.name}: {error}" for spec, (_, errors) in zip(services, answers, strict=True) for error in errors]
    )
    return [_of_service(spec, found) for spec, (found, _) in zip(services, answers, strict=True)]


def discover_modules(
    folder: Path, modules: Sequence[str], *, owners: Mapping[str, str], timeout: float = TIMEOUT
) -> list[ServiceEvents]:
    """The events that `modules`, or modules below them, define, as published by `owners[type]`, or by nobody known.

    Raises `ConfigurationError` when one cannot be imported from `folder`, or none of them defines an event.
    """
    found, errors = _import(folder, list(modules), {}, timeout)
    _raise_if_any(errors)
    grouped: dict[str, list[EventClass]] = {}
    for body in found:
        if any(f"{body['module']}.".startswith(f"{module}.") for module in modules):
            owner = owners.get(body["type"], "")
            grouped.setdefault(owner, []).append(EventClass.from_json(body, owner))
    if not grouped:
        raise ConfigurationError(f"no event is defined in {', '.join(modules)}")
    return [ServiceEvents(owner, tuple(events)) for owner, events in grouped.items()]


def _of_service(spec: ServiceSpec, found: list[dict[str, Any]]) -> ServiceEvents:
    published = [EventClass.from_json(body, spec.name) for body in found if body["type"] in spec.publishes]
    read = [EventClass.from_json(body, "") for body in found if body["type"] in spec.subscribes]
    known = {each.schema.type for each in (*published, *read)}
    missing = [name for name in (*spec.publishes, *spec.subscribes) if name not in known]
    return ServiceEvents(spec.name, tuple(published), tuple(read), tuple(missing))


def _raise_if_any(errors: list[str]) -> None:
    if errors:
        raise ConfigurationError("\n  ".join(["the events of the code cannot be listed:", *errors]))


def _import(
    folder: Path, modules: list[str], environ: Mapping[str, str], timeout: float
) -> tuple[list[dict[str, Any]], list[str]]:
    try:
        body = inquire(
            "skerry.events.schemas.collect",
            modules,
            folder=folder,
            environ=environ,
            timeout=timeout,
            what=", ".join(modules),
        )
    except ConfigurationError as error:
        return [], [str(error)]
    return list(body["events"]), list(body["errors"])
