"""The console that runs with a system: whether there is one, and asking it."""

from __future__ import annotations

import http.client
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from skerry.deploy import ConsoleServer, SecretFolder
from skerry.deploy.secrets import FOLDER
from skerry.deploy.servers.console import TOKEN
from skerry.errors import MissingExtra
from skerry.topology import System

PATIENCE: Final = 1.0
PACKAGES: Final = ("starlette", "uvicorn", "google.protobuf")
"""What a console needs."""
LARGEST: Final = 4 * 1024 * 1024


def console_for(system: System, *, wanted: bool | None) -> tuple[ConsoleServer | None, str]:
    """The console to run with `system`, and else why there is none, as a sentence or nothing.

    `wanted` is None for one that is welcome where it can be. One that is wanted and cannot be raises `MissingExtra` here, where
    it is one line, and not in a process that keeps ending.
    """
    if wanted is False:
        return None, ""
    if wanted is None and ConsoleServer.name in system.services:
        return None, f"there is no console beside a service named {ConsoleServer.name}"
    if _is_installed():
        return ConsoleServer(system.file), ""
    missing = MissingExtra("The console", "console")
    if wanted:
        raise missing
    return None, f"there is no console: {missing}"


def _is_installed() -> bool:
    # looked for by their names: reading them in takes a second that the first service could have
    try:
        return all(importlib.util.find_spec(name) is not None for name in PACKAGES)
    except ModuleNotFoundError:  # what one of them is part of
        return False


def told(data: Path, processes: Sequence[Mapping[str, Any]], path: str) -> Any:
    """What the console tells at `path`; None when none runs with the system, or it does not answer well within a second.

    `processes` are those of the system whose data folder is `data`, as its supervisor tells them.
    """
    console = next((one for one in processes if one["name"] == ConsoleServer.name and one["ready"]), None)
    if console is None:
        return None
    # only ever to the port that the supervisor keeps for it: whoever had another would be given the token
    where = urlsplit(console["url"])
    token = SecretFolder(data / FOLDER).text(TOKEN).strip()
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return json.loads(answer.read(LARGEST)) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
