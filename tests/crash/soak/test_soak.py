"""The soak: real processes under a seeded nemesis, judged from their own databases."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from storm.run import Storm, as_text

SECONDS = 120.0 if os.environ.get("CI") == "true" else 25.0
SEED = 7


@pytest.mark.timeout(420)
def test_no_fault_costs_an_event_or_a_cent(tmp_path: Path) -> None:
    """Whatever is killed or stopped, and whenever: the history of all events, sagas and money breaks no rule."""
    told: list[str] = []
    result = asyncio.run(Storm(SEED, SECONDS, tmp_path, told.append).run())
    print(as_text(result))
    assert result.code == 0, as_text(result)
    left = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and _works_in(entry, tmp_path)]
    assert not left


def _works_in(process: Path, data: Path) -> bool:
    """Whether a process belongs to the run in the folder `data`."""
    try:
        return f"SKERRY_DATA={data}".encode() in (process / "environ").read_bytes()
    except OSError:
        return False
