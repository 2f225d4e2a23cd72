"""`skerry doctor`: whether this machine has what a system needs, and what to do where it has not."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import click

from skerry.cli import options
from skerry.cli.text import columns, count, plain
from skerry.deploy.dotenv import DOTENV, read_dotenv
from skerry.errors import SkerryError
from skerry.topology import FILE_NAME, GATEWAY, System, find, load

Found = Literal["ok", "warn", "fail"]
OLDEST: Final = (3, 11)
FEW_FILES: Final = 1024
LITTLE_SPACE: Final = 1024**3
EXTRAS: Final[dict[str, tuple[str, ...]]] = {
    "service": ("uvicorn", "aiohttp", "pydantic"),
    "gateway": ("re2", "jwt", "cryptography"),
    "postgres": ("asyncpg",),
    "nats": ("nats",),
    "grpc": ("grpc",),
    "prometheus": ("prometheus_client",),
    "console": ("starlette",),
    "reload": ("watchfiles",),
    "check": ("yaml", "rich"),
}
"""By extra, the modules that it brings."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at. `todo` is empty where there is nothing to do."""

    what: str
    found: Found
    said: str
    todo: str = ""


@click.command(epilog="Example: skerry doctor --data var")
@click.option(
    "--file", type=click.Path(path_type=Path), help=f"The system file. [default: {FILE_NAME} here or further up]"
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path("var"),
    show_default=True,
    help="The data folder to be used.",
)
@options.output
@click.pass_context
def doctor(ctx: click.Context, file: Path | None, data: Path, output: str) -> None:
    """Look at Python, packages, servers, ports, folders and limits of this machine. Exit status 1 when something is missing.

    Changes nothing. What is only needed for some things is a warning.
    """
    lines = list(_lines(file or find(Path.cwd()), data))
    worst = "fail" if any(line.found == "fail" for line in lines) else "ok"
    if output == "json":
        click.echo(json.dumps({"ok": worst == "ok", "lines": [asdict(line) for line in lines]}))
    else:
        click.echo("\n".join(_shown(lines)))
    ctx.exit(0 if worst == "ok" else 1)


def _shown(lines: Sequence[Line]) -> Iterator[str]:
    """A table, and below what is not as it should be what to do about it: a column for that would be empty and wide."""
    head, *rows = columns(("", "what", "is"), ((line.found, line.what, line.said) for line in lines)).splitlines()
    yield head
    for line, row in zip(lines, rows, strict=True):
        yield row
        if line.todo:
            yield f"{'':{head.index('IS')}}to do: {plain(line.todo)}"


def _lines(file: Path | None, data: Path) -> Iterator[Line]:
    yield _python()
    for extra, modules in EXTRAS.items():
        yield _extra(extra, modules)
    yield _program("NATS server", "nats", _nats)
    yield _program("PostgreSQL server", "postgresql", _postgresql)
    yield _program("Envoy", "envoy", _envoy)
    yield _folder(data)
    yield _files()
    if file is None:
        yield Line("system file", "warn", "there is none here", f"write a {FILE_NAME}, or name one with --file")
        return
    try:
        system = load(file)
    except SkerryError as error:
        yield Line("system file", "fail", "it is wrong", str(error))
        return
    yield Line("system file", "ok", f"{system.name}: {count(len(system.services), 'service')}")
    yield from _led_to(system)


def _led_to(system: System) -> Iterator[Line]:
    """What the system file leads to: files, and ports that it chooses."""
    if (system.folder / DOTENV).is_file():
        yield _content(DOTENV, lambda: count(len(read_dotenv(system.folder)), "variable"))
    if (gateway := system.gateway) is not None:
        yield _content(gateway.spec.name, lambda: count(_routes(gateway.spec), "route"))
        if gateway.port:
            yield _port(system, GATEWAY, gateway.port, "`skerry run --port 0`")
    for name, service in system.services.items():
        if service.port:
            yield _port(system, name, service.port, f"another port in [services.{name}]")


def _content(what: str, look: Callable[[], str]) -> Line:
    try:
        return Line(what, "ok", look())
    except SkerryError as error:
        return Line(what, "fail", "it is wrong", str(error))


def _routes(spec: Path) -> int:
    from skerry.gateway import reading

    return len(reading.read(spec).routes)


def _python() -> Line:
    told = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST:
        return Line("Python", "fail", told, f"use {'.'.join(map(str, OLDEST))} or later")
    return Line("Python", "ok", told)


def _extra(extra: str, modules: tuple[str, ...]) -> Line:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        return Line(f"skerry[{extra}]", "warn", f"not there: {', '.join(missing)}", f"pip install 'skerry[{extra}]'")
    return Line(f"skerry[{extra}]", "ok", "is there")


def _program(what: str, word: str, search: Callable[[], str]) -> Line:
    try:
        return Line(what, "ok", search())
    except SkerryError as error:
        return Line(what, "warn", f"not there, so no {word} here", str(error))


def _nats() -> str:
    from skerry.deploy.servers import binaries

    return str(binaries.nats_server())


def _postgresql() -> str:
    from skerry.deploy.servers import binaries

    folder, major = binaries.postgresql()
    return f"{major}, in {folder}"


def _envoy() -> str:
    from skerry.envoy import binary

    return str(binary.find())


def _folder(data: Path) -> Line:
    near = next(each for each in (data.absolute(), *data.absolute().parents) if each.exists())
    if not near.is_dir() or not os.access(near, os.W_OK | os.X_OK):
        return Line("data folder", "fail", f"{near} cannot be written", "choose another with --data")
    free = shutil.disk_usage(near).free
    said = f"{data} can be written, {free / 1024**3:.1f} GiB free"
    if free < LITTLE_SPACE:
        return Line("data folder", "warn", said, "make room: databases, events and logs grow")
    return Line("data folder", "ok", said)


def _files() -> Line:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard <= FEW_FILES:
        return Line("open files", "warn", f"at most {hard} for a process", "raise `ulimit -Hn`: each connection is one")
    return Line("open files", "ok", "no limit" if hard == resource.RLIM_INFINITY else f"at most {hard} for a process")


def _port(system: System, process: str, port: int, instead: str) -> Line:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            todo = f"stop who has it, or {instead}; {system.name} itself may be running: `skerry ps`"
            return Line(f"port {port}", "warn", f"not free for {process} ({error.strerror})", todo)
    return Line(f"port {port}", "ok", f"free for {process}")
