"""The short form of the events soak; the long one is `python -m tests.crash.events`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from soak import Soak


@pytest.mark.timeout(420)
@pytest.mark.parametrize(("database", "broker"), [("sqlite", "sqlite"), ("postgresql", "nats")])
def test_no_kill_costs_an_event(database: str, broker: str, tmp_path: Path) -> None:
    """Whatever is killed or stopped: every committed event has its effect once in each group, in the order of its key."""
    told: list[str] = []
    kills = 5 if broker == "sqlite" else 7  # of each kind one, the servers too
    soak = Soak(
        events=5000, kills=kills, database=database, broker=broker, seed=7, folder=tmp_path, stop=6.0, tell=told.append
    )
    result = soak.run()
    print("\n".join(told), result.text(), sep="\n")
    assert result.ok, result.text()
