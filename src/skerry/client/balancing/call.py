"""What a balancer learns from one call: how long it took, and whether its end tells against the instance it went to."""

from __future__ import annotations

import asyncio

from skerry import context
from skerry.client.balancing.balancer import Balancer
from skerry.client.balancing.instance import Instance
from skerry.client.policy import is_failure
from skerry.clock import Clock
from skerry.errors import StatusError


class InstanceCall:
    """One call at one instance, over whatever protocol, which counts as under way until its outcome is known."""

    __slots__ = ("_balancer", "_began", "_clock", "_open", "_seconds", "_status", "instance")

    def __init__(self, balancer: Balancer, instance: Instance, clock: Clock) -> None:
        self.instance: Instance = instance
        self._balancer = balancer
        self._clock = clock
        self._began = clock.monotonic()
        self._seconds: float | None = None
        self._status = 0
        self._open = True
        instance.busy += 1

    def answered(self, *, status: int = 0) -> None:
        """What it was asked for has begun to come. What follows lasts as long as it likes."""
        self._seconds = self._clock.monotonic() - self._began
        self._status = status

    def ended(self, error: BaseException | None = None) -> None:
        """The reply is here, or somebody has had enough of it; or it failed. Only the first end counts."""
        if not self._open:
            return
        self._open = False
        self.instance.busy -= 1
        seconds = self._clock.monotonic() - self._began if self._seconds is None else self._seconds
        reason = f"status {self._status}" if error is None and self._status >= 500 else self._reason(error)
        if reason:
            self._balancer.failed(self.instance, seconds, reason=reason)
        elif error is None:
            self._balancer.succeeded(self.instance, seconds)

    def _reason(self, error: BaseException | None) -> str:
        """Why it is the instance's failure; empty when it is none. A caller that left before its time was over tells nothing."""
        if isinstance(error, asyncio.CancelledError):
            ends = context.current().deadline
            return "time-out" if ends is not None and self._clock.monotonic() >= ends else ""
        if not isinstance(error, Exception) or not is_failure(error):
            return ""
        return f"status {error.status}" if isinstance(error, StatusError) else type(error).__name__
