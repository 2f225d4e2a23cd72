"""What every signal is, and the hub that hands them to those who subscribe."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Level = Literal["debug", "info", "warning", "error"]
_log = logging.getLogger("skerry.signals")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Something changed. `level` says how much a person should care."""

    @property
    def level(self) -> Level:
        """How much a person should care; a signal that means trouble overrides it."""
        return "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail(Signal):
    """A signal that comes over and over, as calls and events do: too many to read each, so logs have it at debug only."""

    @property
    def level(self) -> Level:
        return "debug"


Subscriber = Callable[[Signal], None]


class Hub:
    """Hands each signal to every subscriber. Subscribing swaps an immutable tuple, so `emit` takes no lock."""

    def __init__(self) -> None:
        self._subscribers: tuple[Subscriber, ...] = ()
        self._tracing = 0
        self._measuring = 0
        # plain values, for every request asks
        self.traced: bool = False
        """Whether anybody wants to hear of spans, which are not made otherwise."""
        self.measured: bool = False
        """Whether anybody wants to hear how long each attempt took: `RequestSent`, `RpcSent`, `RpcServed`, `HandlerTimed`, which
        are not told otherwise.
        """
        self._lock = threading.Lock()

    def subscribe(self, subscriber: Subscriber, *, spans: bool = False, measures: bool = False) -> Callable[[], None]:
        """Call `subscriber` with every signal from now on; the returned function ends that.

        With `spans` there are spans too, and with `measures` the signals of single calls, which cost something each.
        """
        with self._lock:
            self._subscribers = (*self._subscribers, subscriber)
            self._count(spans, measures)

        def unsubscribe() -> None:
            with self._lock:
                if subscriber in self._subscribers:
                    self._subscribers = tuple(s for s in self._subscribers if s is not subscriber)
                    self._count(-spans, -measures)

        return unsubscribe

    def _count(self, spans: int, measures: int) -> None:
        self._tracing += spans
        self._measuring += measures
        self.traced, self.measured = self._tracing > 0, self._measuring > 0

    def emit(self, signal: Signal) -> None:
        """Hand `signal` to every subscriber, in the order they subscribed."""
        for subscriber in self._subscribers:
            try:
                subscriber(signal)
            except Exception:  # a broken listener must not break what it listens to
                _log.exception("a subscriber failed on %s", type(signal).__name__)


HUB = Hub()
"""The process's hub. Like the root logger it is shared on purpose: who listens is the application's decision."""

emit: Callable[[Signal], None] = HUB.emit


def subscribe(subscriber: Subscriber, *, spans: bool = False, measures: bool = False) -> Callable[[], None]:
    """`Hub.subscribe` at the process's hub."""
    return HUB.subscribe(subscriber, spans=spans, measures=measures)
