"""What gateways count of strangled routes: a file of each process, with sums since it began, replaced a few times a second.

Sums lose nothing when whoever reads them was away. A process that died leaves its last file; the reader takes it away. Whether
it lives is told by a lock on its file, which ends with it: a number of a process is used again, and means another one in
another container.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

FOLDER: Final = "tallies"
EVERY: Final = 0.1
"""Seconds between two writings."""
BOUNDS: Final = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.35, 0.5),
    *(0.75, 1.0, 1.5, 2.5, 5.0, 10.0),
)
"""Seconds: upper ends of the buckets of times; one more bucket has what took longer."""
MAX_PATHS: Final = 200
"""JSON paths that are counted one by one; what differs elsewhere is still counted as differing."""


def _empty() -> list[int]:
    return [0] * (len(BOUNDS) + 1)


@dataclass(slots=True)
class Arm:
    """One side. `errors` are 5xx, time-outs and lost connections, of first attempts; `refused` are 4xx; times are those until the
    answer began.
    """

    requests: int = 0
    errors: int = 0
    refused: int = 0
    times: list[int] = field(default_factory=_empty)

    def add(self, *, seconds: float, error: bool, refused: bool) -> None:
        """One request."""
        self.requests += 1
        self.errors += error
        self.refused += refused
        self.times[bisect_left(BOUNDS, seconds)] += 1


@dataclass(slots=True)
class Compared:
    """`pairs` of control and candidate, of which so many were `differing`; pairs of control and control, likewise: the noise.

    `noisy` pairs differed only where the control differs from itself; `settled` ones no longer when they were asked again.
    `paths`: how often each JSON path differed between control and candidate, and between control and control.

    Requests of the sample that make no pair: `unfit` ones are conditional, for a part, or to be upgraded; `shed` were left out
    for want of room, `unread` for an answer that could not be had or was too long.
    """

    pairs: int = 0
    differing: int = 0
    control_pairs: int = 0
    control_differing: int = 0
    noisy: int = 0
    settled: int = 0
    unfit: int = 0
    shed: int = 0
    unread: int = 0
    paths: dict[str, list[int]] = field(default_factory=dict[str, list[int]])


@dataclass(slots=True)
class RouteTally:
    """A route since the process began. `writes` are the unsafe requests that were sent to the candidate; `writing`, which is no
    sum, are those under way to either side.
    """

    control: Arm = field(default_factory=Arm)
    candidate: Arm = field(default_factory=Arm)
    compared: Compared = field(default_factory=Compared)
    writes: int = 0
    writing: int = 0


@dataclass(slots=True)
class Tally:
    """Of one process: `version` is that of the shares that it serves now. `read` tells whether it is `alive` still."""

    pid: int
    version: int = 0
    routes: dict[str, RouteTally] = field(default_factory=dict[str, RouteTally])
    alive: bool = False

    def route(self, name: str) -> RouteTally:
        """The sums of a route."""
        found = self.routes.get(name)
        if found is None:
            found = self.routes[name] = RouteTally()
        return found


def text(tally: Tally) -> str:
    """What the file of a process says: for who counts in one thread and writes in another."""
    told = {"pid": tally.pid, "version": tally.version, "routes": tally.routes}
    return json.dumps(told, default=_fields)


def _fields(value: Any) -> dict[str, Any]:
    # a few times a second, so without the copies that `asdict` makes of all that is inside
    return {each: getattr(value, each) for each in value.__slots__}


class File:
    """The file of this process in a state folder, for as long as it counts. `name` is never used for another process."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / FOLDER / f"{name}.json"
        self._locked: int | None = None

    def put(self, content: str) -> None:
        """Put it in place, whole; `content` is from `text`. Raises `OSError` when it cannot be written."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # before anybody can know it
            with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
                file.write(content)
            beside.replace(self._path)
        except BaseException:
            os.close(descriptor)
            raise
        self.close()
        self._locked = descriptor

    def close(self) -> None:
        """What it says is the last: from now on the process counts as gone."""
        if self._locked is not None:
            os.close(self._locked)
            self._locked = None


def read(folder: Path) -> dict[str, Tally]:
    """The files of all processes, by name. One that cannot be read is left out."""
    found: dict[str, Tally] = {}
    for path in sorted((folder / FOLDER).glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError), path.open("rb") as file:
            alive = _locked(file.fileno()) or path.stat().st_ino != os.fstat(file.fileno()).st_ino  # replaced just now
            found[path.stem] = _tally(json.loads(file.read()), alive=alive)
    return found


def names(folder: Path) -> set[str]:
    """Of all processes that left a file, also of those whose file cannot be read just now."""
    return {path.stem for path in (folder / FOLDER).glob("*.json")}


def remove(folder: Path, name: str) -> None:
    """Take away the file of a process that is gone."""
    (folder / FOLDER / f"{name}.json").unlink(missing_ok=True)


def _locked(descriptor: int) -> bool:
    """Whether another process keeps the file; who else only looks is none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _tally(told: dict[str, Any], *, alive: bool) -> Tally:
    routes = {name: route_from_json(route) for name, route in told["routes"].items()}
    return Tally(told["pid"], told["version"], routes, alive)


def route_from_json(told: dict[str, Any]) -> RouteTally:
    """What was made of `RouteTally` by `asdict` and as JSON."""
    return RouteTally(
        Arm(**told["control"]),
        Arm(**told["candidate"]),
        Compared(**told["compared"]),
        writes=told["writes"],
        writing=told["writing"],
    )
