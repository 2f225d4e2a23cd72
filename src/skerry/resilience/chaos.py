"""Chaos: delays and errors on purpose, so that a test sees what the rest of the policy does about them."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from skerry.clock import Clock
from skerry.context import CallContext, current
from skerry.resilience._part import P, Part, T, plain, require
from skerry.signals import ChaosInjected, emit


class Chaos(Part):
    """Delays a `share` of the calls by `latency` seconds, then makes them fail with `error` if there is one.

    It does nothing until it is switched on: `with chaos.on():` for a block, or for as long as the process wants with
    `chaos.switched_on = True`. `only`, given the label (the policy's name) and the context of a call, picks which calls may be
    hit. Which of them are is drawn from the clock, so with `skerry.testing.VirtualClock` a seed gives the same calls each time.

    `error` is called for each failure: an exception class, or a function that makes one. What is hit with an error is not
    called. Meant for tests; it stands innermost, where the dependency would be.

    Example: `Chaos(share=0.2, latency=0.5, error=ConnectionError)`
    """

    def __init__(
        self,
        *,
        share: float = 1.0,
        latency: float = 0.0,
        error: Callable[[], Exception] | None = None,
        only: Callable[[str, CallContext], bool] | None = None,
        name: str = "",
        clock: Clock | None = None,
    ) -> None:
        super().__init__(name, clock)
        require(0 <= share <= 1, f"Chaos: share is {share}; use 0 to 1")
        require(0 <= latency < math.inf, f"Chaos: latency is {latency}; give seconds from 0")
        self.share = share
        self.latency = latency
        self.error: Callable[[], Exception] | None = error
        self.only = only
        self.switched_on: bool = False

    @contextmanager
    def on(self) -> Iterator[None]:
        """Switch it on for a block, everywhere it stands."""
        before, self.switched_on = self.switched_on, True
        try:
            yield
        finally:
            self.switched_on = before

    async def call(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `fn(...)`, late or not at all when it is hit."""
        if self.switched_on and self._hits():
            await self.clock.sleep(self.latency)
            self._fail()
        return await fn(*args, **kwargs)

    def call_sync(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `fn(...)`, late or not at all when it is hit."""
        if self.switched_on and self._hits():
            self.clock.sleep_sync(self.latency)
            self._fail()
        return plain(fn(*args, **kwargs))

    def describe(self) -> str:
        """What is done to how many, in words."""
        error = getattr(self.error, "__name__", "an error")
        what = f"{self.latency:g} s later" + (f", then {error}" if self.error else "")
        return f"chaos ({'on' if self.switched_on else 'off'}): {self.share:.0%} of calls {what}"

    def _hits(self) -> bool:
        if self.only is not None and not self.only(self.name, current()):
            return False
        if self.clock.random() >= self.share:
            return False
        emit(ChaosInjected(policy=self.name, latency=self.latency, fails=self.error is not None))
        return True

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error()
