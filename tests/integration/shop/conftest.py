"""One running shop on each choice of engines for all tests of this folder; afterwards nothing of it may be left."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from running import Shop

ENGINES = {
    "sqlite": (),
    "postgresql-nats": ("--database", "postgresql", "--broker", "nats"),
}


@pytest.fixture(scope="package", params=ENGINES)
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    running = Shop(tmp_path_factory.mktemp("shop"), *ENGINES[request.param])
    pids = [info["pid"] for info in running.command("ps")["processes"]]
    yield running
    assert running.close() == 0
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
