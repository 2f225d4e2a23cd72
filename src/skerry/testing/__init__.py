"""What a test of a skerry system needs; shipped, so that users test the way skerry is tested.

`skerry.testing.sagas` looks for ways to leave a saga half done; `skerry.testing.brokers` is the conformance suite for
transports. `skerry.testing.system` runs a whole system in one process; its fixtures for pytest are there by themselves.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from skerry.testing.policies import assert_policy
    from skerry.testing.sagas import check_saga
    from skerry.testing.virtual_time import Stalled, VirtualClock, VirtualLoop, run_virtual

__all__ = ["Stalled", "VirtualClock", "VirtualLoop", "assert_policy", "check_saga", "run_virtual"]

_PLACES: Final = {
    "Stalled": "virtual_time",
    "VirtualClock": "virtual_time",
    "VirtualLoop": "virtual_time",
    "assert_policy": "policies",
    "check_saga": "sagas",  # which needs the extra `events`
    "run_virtual": "virtual_time",
}


def __getattr__(name: str) -> Any:
    """Only when it is asked for: pytest imports this package at each start, for its plugin."""
    if name in _PLACES:
        return getattr(import_module(f"skerry.testing.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'skerry.testing' has no attribute {name!r}")
