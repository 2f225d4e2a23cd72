"""Some of the differences that were found, redacted, so that people see what is wrong: a file of each process, replaced whole.

They are for nobody but who runs the gateway: the files are readable by their owner alone.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from skerry.gateway.strangler.comparing import HEADER, Difference
from skerry.gateway.strangler.redacting import HIDDEN, Redactor, plain, secret_name

FOLDER: Final = "samples"
PER_PATH: Final = 5
MOST: Final = 200
"""Samples of one route."""
MAX_VALUE: Final = 2048
"""Characters of one value."""
MAX_FILES: Final = 32
"""Files of processes that are kept, those that are gone among them; the oldest go first."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One difference: where it is counted, where exactly, at which request, and both values as JSON text, redacted.

    A value that is not there is empty.
    """

    path: str
    place: str
    request: str
    control: str
    candidate: str


@dataclass(slots=True)
class Samples:
    """Those of one route in one process: the first few of each path."""

    redactor: Redactor
    kept: list[Sample] = field(default_factory=list[Sample])
    _counts: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, request: str, difference: Difference) -> bool:
        """Keep one, if there is room; returns whether it was kept. `request` is from `redacting.request_line`."""
        path = difference.path
        count = self._counts.get(path, 0)
        if count >= PER_PATH or len(self.kept) >= MOST:
            return False
        self._counts[path] = count + 1
        control = "" if difference.kind == "extra" else self._side(difference, difference.control)
        candidate = "" if difference.kind == "missing" else self._side(difference, difference.candidate)
        self.kept.append(Sample(path, plain(difference.place), request, control, candidate))
        return True

    def _side(self, difference: Difference, value: Any) -> str:
        if difference.path.startswith(HEADER) and secret_name(difference.path.removeprefix(HEADER)):
            value = HIDDEN
        shown = json.dumps(self.redactor.value(value, difference.steps), ensure_ascii=False)
        text = shown.encode("utf-8", "replace").decode()  # half a pair of surrogates is no text that can be written
        return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 3] + "..."


def text(routes: Mapping[str, Samples]) -> str:
    """What the file of a process says."""
    return json.dumps({route: [asdict(sample) for sample in samples.kept] for route, samples in routes.items()})


def put(folder: Path, name: str, content: str) -> None:
    """Write the file of a process, whose `content` is from `text`; the oldest of too many files goes."""
    where = folder / FOLDER
    where.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = where / f"{name}.new"
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(content)
    beside.replace(where / f"{name}.json")
    files = sorted(where.glob("*.json"), key=_age)
    for path in files[: max(0, len(files) - MAX_FILES)]:
        path.unlink(missing_ok=True)


def read(folder: Path, route: str) -> dict[str, tuple[Sample, ...]]:
    """The samples of a route by path, from all processes, the newest first. Files that cannot be read are left out."""
    found: dict[str, list[Sample]] = {}
    for path in sorted((folder / FOLDER).glob("*.json"), key=_age, reverse=True):
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            for told in json.loads(path.read_bytes()).get(route, ()):
                sample = Sample(**told)
                kept = found.setdefault(sample.path, [])
                if len(kept) < PER_PATH:
                    kept.append(sample)
    return {path: tuple(kept) for path, kept in found.items()}


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
