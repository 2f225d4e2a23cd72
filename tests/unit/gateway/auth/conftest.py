from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from issuing_tokens import Issuer

from skerry import signals
from skerry.signals import Signal
from skerry.testing import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def told() -> Iterator[list[Signal]]:
    heard: list[Signal] = []
    unsubscribe = signals.subscribe(heard.append)
    yield heard
    unsubscribe()
