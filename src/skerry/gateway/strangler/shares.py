"""What every strangled route is at: one small file, put in place whole, that gateways watch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Literal, cast, get_args

from skerry.errors import ConfigurationError

FILE: Final = "shares.json"
Owner = Literal["control", "candidate", "nobody"]
"""Who takes unsafe requests; nobody: they wait, for ownership is being handed over."""


@dataclass(frozen=True, slots=True)
class Share:
    """`percent` of the requests go to the candidate, out of 0 to 100. `compared` says whether answers are compared, and
    counted. It is for these two services; no name is for any.
    """

    percent: float = 0.0
    compared: bool = False
    owner: Owner = "control"
    control: str = ""
    candidate: str = ""

    def is_for(self, control: str, candidate: str) -> bool:
        """Whether a route that is strangled from `control` to `candidate` has this share."""
        return not self.candidate or (self.control, self.candidate) == (control, candidate)


@dataclass(frozen=True, slots=True)
class Shares:
    """All routes by name; one that is not there stays with its control. Whatever changes them raises `version`."""

    version: int = 0
    routes: Mapping[str, Share] = field(default_factory=dict[str, Share])


def read(folder: Path) -> Shares:
    """What the file in `folder` says; nothing when there is none. Raises `ConfigurationError` for one that is not ours."""
    path = folder / FILE
    try:
        told = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Shares()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read ({type(error).__name__})") from error
    try:
        routes = {str(name): _share(share) for name, share in told["routes"].items()}
        return Shares(int(told["version"]), routes)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{path} is not what a strangler writes: {error}") from error


def write(folder: Path, shares: Shares) -> None:
    """Put the file in place, whole: who reads it sees the old one or the new one, after a crash too."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"version": shares.version, "routes": {name: asdict(share) for name, share in shares.routes.items()}}
    beside = folder / f".{FILE}.new"
    with beside.open("w", encoding="utf-8") as file:
        file.write(json.dumps(content))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / FILE)


def _share(told: Mapping[str, object]) -> Share:
    percent, compared, owner = told["percent"], told["compared"], told["owner"]
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
        raise ValueError(f"percent is {percent!r}")
    if not isinstance(compared, bool) or owner not in get_args(Owner):
        raise ValueError(f"compared is {compared!r} and owner {owner!r}")
    services = str(told.get("control", "")), str(told.get("candidate", ""))
    return Share(float(percent), compared, cast("Owner", owner), *services)
