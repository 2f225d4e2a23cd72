"""Where the console looks for itself, beside what it is told: processes, databases, ramps and the architecture's checks.

What is above this layer is handed in as functions, so that the console needs neither the supervisor nor the analyser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skerry.store import Database
from skerry.topology import System


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """All of it is optional: with nothing at all the console shows what comes by OTLP.

    Functions may block and are called in threads, one call of each at a time; they may raise a `SkerryError`, whose text is
    shown. `processes` gives those of `skerry ps -o json`; `open_store` a service's database, open, by the service's name, for
    those in `stores`; `strangler` what `skerry strangle status -o json` prints; `check` what `skerry check -o json` prints.
    `audit` is the file to which every act of a person is appended; without it there are no acts.
    """

    name: str = ""
    topology: System | None = None
    processes: Callable[[], Sequence[Mapping[str, Any]]] | None = None
    stores: tuple[str, ...] = ()
    open_store: Callable[[str], AbstractAsyncContextManager[Database]] | None = None
    strangler: Callable[[], Sequence[Mapping[str, Any]]] | None = None
    check: Callable[[], Mapping[str, Any]] | None = None
    audit: Path | None = None

    @property
    def system(self) -> str:
        """The name to show."""
        return self.name or (self.topology.name if self.topology is not None else "system")
