"""What a test of a skerry system needs; shipped, so that users test the way skerry is tested.

`skerry.testing.sagas` looks for ways to leave a saga half done; `skerry.testing.brokers` is the conformance suite for
transports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skerry.testing.virtual_time import Stalled, VirtualClock, VirtualLoop, run_virtual

if TYPE_CHECKING:
    from skerry.testing.sagas import check_saga

__all__ = ["Stalled", "VirtualClock", "VirtualLoop", "check_saga", "run_virtual"]


def __getattr__(name: str) -> Any:
    if name == "check_saga":  # which needs the extra `events`
        return import_module("skerry.testing.sagas").check_saga
    raise AttributeError(f"module 'skerry.testing' has no attribute {name!r}")
