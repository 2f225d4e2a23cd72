"""What is counted: each signal moves a counter, a gauge or a histogram, and nothing else is measured.

Attributes are names that the code gives: policies, groups, types, sagas, routes. Keys, ids and texts of errors are none, so
that there are never more rows than names. What OpenTelemetry's semantic conventions have a name for is called that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Literal

from skerry import signals
from skerry.signals import Signal
from skerry.telemetry.conventions import MESSAGING_SYSTEM, SERVER_FAULTS, known

Kind = Literal["counter", "gauge", "histogram"]
Values = tuple[str | int | bool, ...]


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric: `of` whom, and by how much, `signal` moves it.

    `name`, `unit` and `attributes` are OpenTelemetry's; an empty value is left out there. Prometheus has `labels`, an empty value
    included, and of an attribute named alike without `skerry.`.
    """

    signal: type[Signal]
    kind: Kind
    name: str
    unit: str
    text: str
    attributes: tuple[str, ...]
    of: Callable[[Any], Values]
    amount: Callable[[Any], float]
    only_here: frozenset[str] = frozenset()
    """Attributes that Prometheus does without: they say no more than where it was read."""

    @property
    def prometheus(self) -> str:
        """Its name there, without what kinds append."""
        return self.name.replace(".", "_") + ("_seconds" if self.unit == "s" else "")

    @property
    def labels(self) -> tuple[str, ...]:
        """Its labels there."""
        shown = (name for name in self.attributes if name not in self.only_here)
        return tuple(name.removeprefix("skerry.").replace(".", "_") for name in shown)


def _one(_: Any) -> float:
    return 1.0


def _own(signal: type[Signal], kind: Kind, name: str, unit: str, text: str, labels: str, amount: str = "") -> Measure:
    """A measure of skerry's own, whose attributes are fields of its signal."""
    fields = labels.split()
    get = attrgetter(*fields)

    def of(told: Signal) -> Values:
        return (get(told),) if len(fields) == 1 else get(told)

    named = tuple(f"skerry.{field}" for field in fields)
    return Measure(signal, kind, name, unit, text, named, of, attrgetter(amount) if amount else _one)


def _duration(
    signal: type[Signal], name: str, text: str, attributes: str, of: Callable[[Any], Values], only_here: str = ""
) -> Measure:
    seconds = attrgetter("seconds")
    return Measure(
        signal, "histogram", name, "s", text, tuple(attributes.split()), of, seconds, frozenset(only_here.split())
    )


def _served(told: signals.RequestServed) -> Values:
    failed = str(told.status) if told.status >= 500 else ""
    return known(told.method), told.route, told.status, failed, told.scheme


def _sent(told: signals.RequestSent) -> Values:
    return told.service, known(told.method), told.status, told.error, told.address, told.port


def _rpc_served(told: signals.RpcServed) -> Values:
    return "grpc", told.method, told.code, told.code if told.code in SERVER_FAULTS else ""


def _rpc_sent(told: signals.RpcSent) -> Values:
    return "grpc", told.service, told.method, told.code, told.error, told.address, told.port


def _handled(told: signals.HandlerTimed) -> Values:
    return MESSAGING_SYSTEM, "handle", told.type, told.group, told.error


_HTTP = "http.request.method http.route http.response.status_code error.type url.scheme"
_CALL = "service.peer.name http.request.method http.response.status_code error.type server.address server.port"
_RPC = "rpc.system.name rpc.method rpc.status_code error.type"
_RPC_CALL = "rpc.system.name service.peer.name rpc.method rpc.status_code error.type server.address server.port"
_HANDLE = (
    "messaging.system messaging.operation.name messaging.destination.name messaging.consumer.group.name error.type"
)
_WHERE = "server.address server.port"

DURATIONS: Final[Sequence[Measure]] = (
    _duration(
        signals.RequestServed, "http.server.request.duration", "Requests answered.", _HTTP, _served, "url.scheme"
    ),
    _duration(signals.RequestSent, "http.client.request.duration", "Attempts of calls.", _CALL, _sent, _WHERE),
    _duration(signals.RpcServed, "rpc.server.call.duration", "Calls answered.", _RPC, _rpc_served, "rpc.system.name"),
    _duration(
        signals.RpcSent,
        "rpc.client.call.duration",
        "Attempts of calls.",
        _RPC_CALL,
        _rpc_sent,
        f"{_WHERE} rpc.system.name",
    ),
    _duration(
        signals.HandlerTimed,
        "messaging.process.duration",
        "Attempts to handle events.",
        _HANDLE,
        _handled,
        "messaging.system messaging.operation.name",
    ),
)
_COUNTS: Final[Sequence[tuple[type[Signal], str, str, str, str]]] = (
    (signals.RequestFailed, "skerry.requests_failed", "{request}", "Unexpected errors.", "route"),
    (signals.BreakerChanged, "skerry.breaker_changes", "{change}", "Of state, to which.", "policy after"),
    (signals.CallRefused, "skerry.calls_refused", "{call}", "Calls refused here.", "policy reason"),
    (signals.TokenRefused, "skerry.tokens_refused", "{token}", "Tokens, by check.", "provider check"),
    (signals.KeysUnavailable, "skerry.keys_unavailable", "{attempt}", "Keys not fetched.", "provider"),
    (signals.RetryPlanned, "skerry.retries", "{attempt}", "Attempts after a failed one.", "policy"),
    (signals.RetryDenied, "skerry.retries_denied", "{attempt}", "Failures not retried.", "policy reason"),
    (signals.CallTimedOut, "skerry.calls_timed_out", "{call}", "Time-outs that fired.", "policy scope"),
    (signals.CallHedged, "skerry.calls_hedged", "{attempt}", "Attempts beside a slow one.", "policy"),
    (signals.FallbackUsed, "skerry.fallbacks", "{call}", "Failed calls stood in for.", "policy"),
    (signals.RelayFailed, "skerry.relay_failures", "{attempt}", "Hand-overs that failed.", "service"),
    (signals.EventHandled, "skerry.events_handled", "{event}", "Events.", "group type duplicate"),
    (signals.HandlerFailed, "skerry.handler_failures", "{attempt}", "Attempts that failed.", "group type"),
    (signals.EventParked, "skerry.events_parked", "{event}", "Dead, or held.", "group type held"),
    (signals.ConsumerFailed, "skerry.consumer_failures", "{attempt}", "Could not read.", "group"),
    (signals.SagaChanged, "skerry.sagas", "{saga}", "Began, turned back or ended.", "saga status"),
    (signals.SagaStepFailed, "skerry.saga_failures", "{attempt}", "Attempts.", "saga step action"),
)
MEASURES: Final[Sequence[Measure]] = (
    *DURATIONS,
    *(_own(signal, "counter", name, unit, text, labels) for signal, name, unit, text, labels in _COUNTS),
    _own(signals.EventsRelayed, "counter", "skerry.events_relayed", "{event}", "Handed over.", "service", "count"),
    _own(signals.OutboxChanged, "gauge", "skerry.outbox_full", "1", "1: takes no more events.", "service", "full"),
    _own(signals.ConsumerLag, "gauge", "skerry.consumer_lag", "{event}", "Events not handled yet.", "group", "lag"),
)
