"""Reads and checks `skerry.toml`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from skerry.errors import ConfigurationError
from skerry.topology.check import NAME_RULE, check, is_name
from skerry.topology.model import ENGINES, Gateway, ServiceSpec, System, Topic
from skerry.topology.positions import positions
from skerry.topology.tables import Problems, Table, quoted

FILE_NAME = "skerry.toml"
MAX_FILE_SIZE = 1024 * 1024
"""Bytes. A larger system file is refused."""

_POSITION = re.compile(r" \(at (?:line (?P<line>\d+), (?P<column>column \d+)|end of document)\)$")


def find(start: Path) -> Path | None:
    """The `skerry.toml` in the folder `start` or in the nearest of its parents; None when there is none."""
    start = start.resolve()
    return next((file for folder in (start, *start.parents) if (file := folder / FILE_NAME).is_file()), None)


def load(path: Path) -> System:
    """Read the system file at `path`.

    Raises `ConfigurationError` with the file and the line of the first mistake; its message lists further ones. Nothing is
    imported and no database is opened, so an `app` that does not exist shows only when it is started.
    """
    path = path.resolve()
    source = str(path)
    text = _read(path)
    try:
        document = tomllib.loads(text)
        lines = positions(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(error, text, source) from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"not a usable TOML file: {error}", source=source) from None
    problems = Problems(source, lines)
    system = _system(document, path, problems)
    check(system, problems)
    problems.raise_if_any()
    return system


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_SIZE + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}", source=str(path)) from None
    if len(content) > MAX_FILE_SIZE:
        raise ConfigurationError(f"is larger than {MAX_FILE_SIZE} bytes", source=str(path))
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError("is not UTF-8 text", source=str(path), line=line) from None


def _syntax_error(error: tomllib.TOMLDecodeError, text: str, source: str) -> ConfigurationError:
    message = str(error)
    line = text.rstrip().count("\n") + 1
    if where := _POSITION.search(message):
        message = message[: where.start()] + f" ({where['column'] or 'at the end of the file'})"
        line = int(where["line"] or line)
    return ConfigurationError(message, source=source, line=line)


def _system(document: dict[str, Any], path: Path, problems: Problems) -> System:
    root = Table(document, (), problems)
    head = root.table("system")
    name = head.text("name", required=True)
    if name and not is_name(name):
        head.report("name", f"{quoted(name)} is no name for a system: {NAME_RULE}")
    events = head.text("events") or None
    head.finish()
    system = System(
        name=name,
        file=path,
        events=events,
        gateway=_gateway(root.table("gateway"), path.parent) if "gateway" in root else None,
        topics={name: _topic(name, table) for name, table in root.tables("topics").items()},
        services={name: _service(name, table) for name, table in root.tables("services").items()},
    )
    root.table("gateway")  # known also where it is absent, for the suggestion
    root.finish()
    return system


def _gateway(table: Table, folder: Path) -> Gateway:
    spec = table.text("spec", required=True)
    engine = table.text("engine", default=ENGINES[0])
    if engine not in ENGINES:
        table.report("engine", f"{quoted(engine)} is no engine; use one of {', '.join(ENGINES)}")
    gateway = Gateway(
        spec=(folder / spec).resolve(),
        port=table.number("port", 8080, 0, 65535),
        engine=engine,
        calls=table.texts("calls"),
    )
    if spec and not gateway.spec.is_file():
        table.report("spec", f"the gateway's file {quoted(spec)} does not exist beside the system file")
    table.finish()
    return gateway


def _topic(name: str, table: Table) -> Topic:
    topic = Topic(name, owner=table.text("owner", required=True), description=table.text("description"))
    table.finish()
    return topic


def _service(name: str, table: Table) -> ServiceSpec:
    service = ServiceSpec(
        name=name,
        app=table.text("app", required=True),
        database=table.text("database") or None,
        port=table.number("port", 0, 0, 65535),
        grpc=table.flag("grpc"),
        calls=table.texts("calls"),
        publishes=table.texts("publishes"),
        subscribes=table.texts("subscribes"),
        description=table.text("description"),
        env=table.mapping("env"),
    )
    table.finish()
    return service
