"""What a test of a skerry system needs; shipped, so that users test the way skerry is tested.

`skerry.testing.brokers` is the conformance suite for transports.
"""

from __future__ import annotations

from skerry.testing.virtual_time import Stalled, VirtualClock, VirtualLoop, run_virtual

__all__ = ["Stalled", "VirtualClock", "VirtualLoop", "run_virtual"]
