from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skerry.signals import Signal, subscribe

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def signals() -> Iterator[list[Signal]]:
    """Every signal emitted during the test, in order."""
    seen: list[Signal] = []
    unsubscribe = subscribe(seen.append)
    yield seen
    unsubscribe()
