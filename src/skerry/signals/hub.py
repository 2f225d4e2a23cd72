"""What every signal is, and the hub that hands them to those who subscribe."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

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
Wants = Callable[[type[Signal]], bool]
SpanSink = Callable[[str, str, str, str, float, float, str, Mapping[str, Any], Sequence[str]], None]
"""Takes a span that is over: name, kind, its own traceparent and its parent's, when it began, how many seconds it took, what it
failed of, its attributes, and the traceparents that it links to.
"""


@dataclass(frozen=True, slots=True)
class _Listeners:
    """All who listen at one moment, and for each kind of signal, once there was one, those who want it."""

    everybody: tuple[tuple[Subscriber, Wants | None], ...] = ()
    to: dict[type[Signal], tuple[Subscriber, ...]] = field(default_factory=dict)


class Hub:
    """Hands each signal to every subscriber that wants its kind. Subscribing swaps a whole value, so `emit` takes no lock."""

    def __init__(self) -> None:
        self._listeners = _Listeners()
        self._tracing = 0
        self._measuring = 0
        # plain values, for every request asks
        self.sinks: tuple[SpanSink, ...] = ()
        """Those who take spans as they are; see `collect`."""
        self.traced: bool = False
        """Whether anybody wants to hear of spans, which are not made otherwise."""
        self.measured: bool = False
        """Whether anybody wants to hear how long each attempt took: `RequestSent`, `RpcSent`, `RpcServed`, `HandlerTimed`, which
        are not told otherwise.
        """
        self._lock = threading.Lock()

    def subscribe(
        self, subscriber: Subscriber, *, spans: bool = False, measures: bool = False, wants: Wants | None = None
    ) -> Callable[[], None]:
        """Call `subscriber` with every signal from now on; the returned function ends that.

        With `spans` there are spans too, and with `measures` the signals of single calls, which cost something each. `wants` says
        of a kind of signal whether to call at all; it is asked once for each.
        """
        mine = (subscriber, wants)
        with self._lock:
            self._listeners = _Listeners((*self._listeners.everybody, mine))
            self._count(spans, measures)

        def unsubscribe() -> None:
            with self._lock:
                everybody = self._listeners.everybody
                if any(each is mine for each in everybody):
                    self._listeners = _Listeners(tuple(each for each in everybody if each is not mine))
                    self._count(-spans, -measures)

        return unsubscribe

    def collect(self, sink: SpanSink) -> Callable[[], None]:
        """Call `sink` with the pieces of every span from now on; the returned function ends that.

        For who takes spans by the thousand: a record of each would cost as much as all that becomes of it.
        """
        with self._lock:
            self.sinks = (*self.sinks, sink)
            self._count(1, 0)

        def uncollect() -> None:
            with self._lock:
                if any(each is sink for each in self.sinks):
                    self.sinks = tuple(each for each in self.sinks if each is not sink)
                    self._count(-1, 0)

        return uncollect

    def _count(self, spans: int, measures: int) -> None:
        self._tracing += spans
        self._measuring += measures
        self.traced, self.measured = self._tracing > 0, self._measuring > 0

    def hears(self, kind: type[Signal]) -> bool:
        """Whether anybody would be called with such a signal: where they come by the thousand none is made otherwise."""
        told = self._listeners.to.get(kind)
        return bool(self._wanting(kind) if told is None else told)

    def emit(self, signal: Signal) -> None:
        """Hand `signal` to every subscriber that wants it, in the order they subscribed."""
        kind = type(signal)
        told = self._listeners.to.get(kind)
        for subscriber in self._wanting(kind) if told is None else told:
            try:
                subscriber(signal)
            except Exception:  # a broken listener must not break what it listens to
                _log.exception("a subscriber failed on %s", kind.__name__)

    def _wanting(self, kind: type[Signal]) -> tuple[Subscriber, ...]:
        listeners = self._listeners
        told = tuple(subscriber for subscriber, wants in listeners.everybody if wants is None or wants(kind))
        listeners.to[kind] = told
        return told


HUB = Hub()
"""The process's hub. Like the root logger it is shared on purpose: who listens is the application's decision."""

emit: Callable[[Signal], None] = HUB.emit


def subscribe(
    subscriber: Subscriber, *, spans: bool = False, measures: bool = False, wants: Wants | None = None
) -> Callable[[], None]:
    """`Hub.subscribe` at the process's hub."""
    return HUB.subscribe(subscriber, spans=spans, measures=measures, wants=wants)
