"""Asking the console that runs with a system."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from skerry.deploy import ConsoleServer, SecretFolder
from skerry.deploy.secrets import FOLDER
from skerry.deploy.servers.console import TOKEN

PATIENCE: Final = 1.0
LARGEST: Final = 4 * 1024 * 1024


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
