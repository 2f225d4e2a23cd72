"""Whether the parts of a system fit together: names, references, and that nothing is shared that must not be."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from skerry.settings import URL_PREFIX
from skerry.topology.model import GATEWAY, ServiceSpec, System
from skerry.topology.positions import Path
from skerry.topology.tables import Problems, quoted, suggestion

NAME_RULE = "use at most 40 lower-case letters, digits and hyphens, a letter first"
DATABASE_SCHEMES = ("sqlite", "postgresql", "postgres", "mongodb", "mongodb+srv")
ANALYTICS_SCHEMES = ("chdb", "clickhouse", "clickhouses")
EVENT_SCHEMES = ("sqlite", "nats", "kafka", "amqp", "amqps", "redis", "rediss")
"""`memory:` is not among them: it does not reach from one process to another."""

_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?")
_TOPIC = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"
_APP = re.compile(rf"{_IDENTIFIER}(?:\.{_IDENTIFIER})*:{_IDENTIFIER}(?:\.{_IDENTIFIER})*")
_VARIABLE = re.compile(_IDENTIFIER)
_SUPERVISED = {
    "SKERRY_DATA",
    "SKERRY_DATABASE",
    "SKERRY_EVENTS",
    "SKERRY_GRPC_PORT",
    "SKERRY_HOST",
    "SKERRY_PORT",
    "SKERRY_SERVICE",
    "SKERRY_SUPERVISED",
}


def is_name(name: str) -> bool:
    """Whether `name` is fit for a service or a system."""
    return _NAME.fullmatch(name) is not None


def check(system: System, problems: Problems) -> None:
    """Report everything in `system` that does not fit together."""
    if system.events is not None:
        _url(system.events, EVENT_SCHEMES, ("system", "events"), problems)
    if not system.services:
        problems.add(("services",), "the system has no services: add a table [services.NAME]")
    _topics(system, problems)
    if system.gateway is not None:
        _calls(system, ("gateway",), system.gateway.calls, "the gateway", problems)
    for service in system.services.values():
        _service(system, service, problems)
    _ports(system, problems)
    _unshared(system, "database", lambda s: _same_database(s.database or ""), problems)
    _unshared(system, "app", lambda s: s.app, problems)


def _topics(system: System, problems: Problems) -> None:
    for topic in system.topics.values():
        path: Path = ("topics", topic.name)
        if not _TOPIC.fullmatch(topic.name) or len(topic.name) > 120:
            problems.add(path, f"{quoted(topic.name)} is no name for a topic: use a name like shop.order.placed")
        if topic.owner and topic.owner not in system.services:
            what = f"topic {quoted(topic.name)} is owned by {quoted(topic.owner)}, which is no service of this system"
            problems.add((*path, "owner"), what + suggestion(topic.owner, system.services))
    if system.topics and system.events is None:
        problems.add(("system",), "the system has topics but no event log: add events to [system]")


def _service(system: System, service: ServiceSpec, problems: Problems) -> None:
    path: Path = ("services", service.name)
    if not is_name(service.name):
        problems.add(path, f"{quoted(service.name)} is no name for a service: {NAME_RULE}")
    if service.name == GATEWAY:
        problems.add(path, f"a service cannot be named {GATEWAY}: that is the name of the gateway's own process")
    if service.grpc and f"{service.name}-grpc" in system.services:
        problems.add((*path, "grpc"), f"its address for gRPC would be that of the service {service.name}-grpc")
    if service.app and not _APP.fullmatch(service.app):
        problems.add((*path, "app"), f"app {quoted(service.app)} must be module:attribute, as in order.app:service")
    if service.database is not None and (scheme := service.database.partition(":")[0]) in ANALYTICS_SCHEMES:
        what = f"{quoted(scheme + ':')} holds facts for analysis and is no service's database: it goes to analytics= in the code"
        problems.add((*path, "database"), f"{what}, or to SKERRY_ANALYTICS in [services.{service.name}.env]")
    elif service.database is not None:
        _url(service.database, DATABASE_SCHEMES, (*path, "database"), problems)
    _calls(system, path, service.calls, service.name, problems)
    _events(system, service, "publishes", service.publishes, problems)
    _events(system, service, "subscribes", service.subscribes, problems)
    for name in service.env:
        if not _VARIABLE.fullmatch(name):
            problems.add((*path, "env", name), f"{quoted(name)} is no name for an environment variable")
        elif name in _SUPERVISED or name.startswith(URL_PREFIX):
            problems.add((*path, "env", name), f"{name} is set by the supervisor and cannot be chosen")


def _calls(system: System, path: Path, calls: tuple[str, ...], caller: str, problems: Problems) -> None:
    for index, callee in enumerate(calls):
        if callee == caller:
            problems.add((*path, "calls", index), f"{caller} calls itself")
        elif callee and callee not in system.services:
            what = f"{caller} calls {quoted(callee)}, which is no service of this system"
            problems.add((*path, "calls", index), what + suggestion(callee, system.services))


def _events(system: System, service: ServiceSpec, key: str, topics: tuple[str, ...], problems: Problems) -> None:
    for index, name in enumerate(topics):
        path: Path = ("services", service.name, key, index)
        topic = system.topics.get(name)
        if name and topic is None:
            what = f"{service.name} {key} {quoted(name)}, which is not declared under [topics]"
            problems.add(path, what + suggestion(name, system.topics))
        elif topic and key == "publishes" and topic.owner != service.name:
            problems.add(
                path, f"{service.name} publishes {quoted(name)}, which only its owner {topic.owner} may publish"
            )


def _ports(system: System, problems: Problems) -> None:
    owners = {system.gateway.port: "the gateway"} if system.gateway is not None and system.gateway.port else {}
    for service in system.services.values():
        owner = owners.setdefault(service.port, service.name) if service.port else service.name
        if owner != service.name:
            problems.add(
                ("services", service.name, "port"), f"{service.name} and {owner} have the same port {service.port}"
            )


def _url(url: str, schemes: Iterable[str], path: Path, problems: Problems) -> None:
    scheme, colon, _ = url.partition(":")
    if scheme not in schemes or not colon:
        known = ", ".join(f"{known}:" for known in schemes)
        problems.add(
            path, f"{quoted(scheme + colon)} starts no known URL here: use one of {known}{suggestion(scheme, schemes)}"
        )


def _unshared(system: System, key: str, identity: Callable[[ServiceSpec], str], problems: Problems) -> None:
    owners: dict[str, str] = {}
    for service in system.services.values():
        value = identity(service)
        owner = owners.setdefault(value, service.name) if value else service.name
        if owner != service.name:
            problems.add(
                ("services", service.name, key), f"{service.name} and {owner} have the same {key}: each needs its own"
            )


def _same_database(url: str) -> str:
    """A text that is equal for two URLs of the same database: without user, password and options, its path normalised."""
    try:
        parts = urlsplit(url)
        where = f"{parts.hostname or ''}:{parts.port or ''}"
    except ValueError:
        return url
    scheme = "postgresql" if parts.scheme == "postgres" else parts.scheme
    return f"{scheme}://{where}/{posixpath.normpath(parts.path.removeprefix('/'))}" if url else ""
