from collections.abc import Iterator

import pytest

from skerry.signals import Signal, subscribe


@pytest.fixture
def signals() -> Iterator[list[Signal]]:
    """Every signal emitted during the test, in order."""
    seen: list[Signal] = []
    unsubscribe = subscribe(seen.append)
    yield seen
    unsubscribe()
