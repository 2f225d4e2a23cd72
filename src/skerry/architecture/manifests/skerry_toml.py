"""Systems that are described by a `skerry.toml`; read without a check, so that a half-finished one still says what it can."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any, Final

from skerry.architecture.manifests import gateway_yaml
from skerry.architecture.manifests.found import Deployed
from skerry.architecture.manifests.reader import Reader, below, folder
from skerry.architecture.model import Setting, Workload
from skerry.architecture.source import Place
from skerry.topology import FILE_NAME, GATEWAY

DATABASE: Final = "SKERRY_DATABASE"
"""The variable under which the model keeps the URL of a service's database."""


def read(reader: Reader) -> Iterator[Deployed]:
    """Every service, and the gateway where there is one."""
    for path in reader.paths:
        if path.rpartition("/")[2] != FILE_NAME:
            continue
        text = reader.text(path)
        try:
            document = tomllib.loads(text)
        except (ValueError, RecursionError):
            reader.skip(path, "not TOML")
            continue
        yield from _system(reader, path, text, document)


def _system(reader: Reader, path: str, text: str, document: dict[str, Any]) -> Iterator[Deployed]:
    start = folder(path)
    for name, table in _tables(document.get("services")).items():
        module, _, _ = str(table.get("app", "")).partition(":")
        package = module.rpartition(".")[0] or module
        place = Place(path, _line(text, f"services.{name}"))
        env: dict[str, Setting] = {
            key: Setting(str(value), place) for key, value in _tables({"env": table.get("env")}).get("env", {}).items()
        }
        if isinstance(table.get("database"), str):
            env[DATABASE] = Setting(table["database"], Place(path, _line(text, f"services.{name}", "database")))
        yield Deployed(
            workload=Workload(name=name, place=place, command=str(table.get("app", "")), hosts=(name,), env=env),
            system=start,
            form="skerry",
            context=_root(reader, start, package),
            calls=_texts(table.get("calls")),
            publishes=_texts(table.get("publishes")),
            subscribes=_texts(table.get("subscribes")),
        )
    gateway = document.get("gateway")
    if isinstance(gateway, dict):
        port = gateway.get("port")
        spec = below(start, str(gateway.get("spec", "")))
        yield Deployed(
            workload=Workload(
                name=GATEWAY,
                place=Place(path, _line(text, GATEWAY)),
                hosts=(GATEWAY,),
                ports=(port,) if isinstance(port, int) else (),
            ),
            system=start,
            form="skerry",
            context=None,
            role="gateway",
            calls=_texts(gateway.get("calls")),
            routes=gateway_yaml.read(reader, spec) if spec in reader.known else (),
        )


def _root(reader: Reader, start: str, package: str) -> str | None:
    """The folder or the file of a service's code."""
    path = below(start, package.replace(".", "/")) if package else None
    if path is None:
        return None
    if any(each.startswith(f"{path}/") for each in reader.paths):
        return path
    return f"{path}.py" if f"{path}.py" in reader.known else None


def _line(text: str, table: str, key: str = "") -> int:
    """The line of `[table]`, or of `key` below it."""
    lines = text.splitlines()
    head = re.compile(r"\s*\[\s*" + re.escape(table).replace(r"\.", r"\s*\.\s*\"?") + r"\"?\s*\]")
    start = next((n for n, line in enumerate(lines) if head.match(line)), None)
    if start is None:
        return 0
    for n, line in enumerate(lines[start + 1 :], start + 1):
        if line.lstrip().startswith("["):
            break
        if key and re.match(rf"\s*{re.escape(key)}\s*=", line):
            return n + 1
    return start + 1


def _tables(value: Any) -> dict[str, dict[str, Any]]:
    return {str(key): each for key, each in value.items() if isinstance(each, dict)} if isinstance(value, dict) else {}


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()
