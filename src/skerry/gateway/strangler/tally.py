"""What gateways count of strangled routes: a file of each process, with sums since it began, replaced a few times a second.

Sums lose nothing when whoever reads them was away. A process that died leaves its last file; the reader takes it away.
"""

from __future__ import annotations

import contextlib
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

    `noisy` pairs differed only where the control differs from itself; `settled` ones no longer when they were asked again; `shed`
    were left out for want of room, `unread` for an answer that could not be had or was too long. `paths`: how often each
    JSON path differed between control and candidate, and between control and control.
    """

    pairs: int = 0
    differing: int = 0
    control_pairs: int = 0
    control_differing: int = 0
    noisy: int = 0
    settled: int = 0
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
    """Of one process: `version` is that of the shares that it serves now."""

    pid: int
    version: int = 0
    routes: dict[str, RouteTally] = field(default_factory=dict[str, RouteTally])

    def route(self, name: str) -> RouteTally:
        """The sums of a route."""
        found = self.routes.get(name)
        if found is None:
            found = self.routes[name] = RouteTally()
        return found


def write(folder: Path, name: str, tally: Tally) -> None:
    """Put the file of a process in place, whole. `name` is that of the process, and never used for another."""
    put(folder, name, text(tally))


def text(tally: Tally) -> str:
    """What the file of a process says: for who counts in one thread and writes in another."""
    return json.dumps(tally, default=_fields)


def _fields(value: Any) -> dict[str, Any]:
    # a few times a second, so without the copies that `asdict` makes of all that is inside
    return {each: getattr(value, each) for each in value.__slots__}


def put(folder: Path, name: str, content: str) -> None:
    """Write the file of a process, whose `content` is from `text`."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    path = folder / FOLDER / f"{name}.json"
    beside = path.with_suffix(".new")
    beside.write_text(content)
    beside.replace(path)


def read(folder: Path) -> dict[str, Tally]:
    """The files of all processes, by name. One that cannot be read is left out."""
    found: dict[str, Tally] = {}
    for path in sorted((folder / FOLDER).glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            found[path.stem] = _tally(json.loads(path.read_bytes()))
    return found


def remove(folder: Path, name: str) -> None:
    """Take away the file of a process that is gone."""
    (folder / FOLDER / f"{name}.json").unlink(missing_ok=True)


def alive(tally: Tally) -> bool:
    """Whether the process is still there."""
    try:
        os.kill(tally.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _tally(told: dict[str, Any]) -> Tally:
    return Tally(told["pid"], told["version"], {name: route_from_json(route) for name, route in told["routes"].items()})


def route_from_json(told: dict[str, Any]) -> RouteTally:
    """What was made of `RouteTally` by `asdict` and as JSON."""
    return RouteTally(
        Arm(**told["control"]),
        Arm(**told["candidate"]),
        Compared(**told["compared"]),
        writes=told["writes"],
        writing=told["writing"],
    )
