"""Signals of calls: what policies do, and where instances are found."""

from __future__ import annotations

from dataclasses import dataclass

from skerry.frozen import opened
from skerry.signals.hub import Detail, Level, Signal


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChanged(Signal):
    """A circuit breaker went to another state: closed, open, half_open, isolated, disabled, metrics_only."""

    policy: str
    before: str
    after: str
    reason: str

    @property
    def level(self) -> Level:
        return "warning" if self.after in {"open", "isolated"} else "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRefused(Detail):
    """A policy refused a call here, before anything was sent; or a service a request, before anything was done.

    `reason` is the error's stable word; of a service also expired and event_loop_lag.
    """

    policy: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSent(Detail):
    """An attempt of a call over HTTP is over, after so many seconds; told only while somebody measures (`Hub.measured`).

    `status` is 0 without an answer, and then `error` says why, as a class name. `address` and `port` are those of the service's
    URL, whichever instance it was.
    """

    service: str
    method: str
    address: str
    port: int
    status: int
    seconds: float
    error: str = ""


_Sent = opened(RequestSent)


def request_sent(
    service: str, method: str, address: str, port: int, status: int, seconds: float, error: str
) -> RequestSent:
    """The signal of an attempt, for where each call has one."""
    told = _Sent()
    told.service = service
    told.method = method
    told.address = address
    told.port = port
    told.status = status
    told.seconds = seconds
    told.error = error
    told.__class__ = RequestSent
    return told  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcSent(Detail):
    """An attempt of a call over gRPC is over, after so many seconds; told only while somebody measures (`Hub.measured`).

    `method` is "package.Service/Method", `code` the name of the status; empty when no call was made, and then `error` says why.
    """

    service: str
    method: str
    address: str
    port: int
    code: str
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChanged(Detail):
    """An adaptive limit lets another number of calls run at once; told once a second at most, and then what it is by now."""

    policy: str
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyReloaded(Signal):
    """A policy was given other numbers. `changed` names what, separated by commas."""

    policy: str
    changed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPlanned(Detail):
    """An attempt failed and another follows after `delay` seconds. `attempt` counts from 1; `error` is a class name."""

    policy: str
    attempt: int
    delay: float
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryDenied(Detail):
    """A failure that would have been retried was not.

    `reason`: attempts, budget, deadline, outer_layer, circuit_open.
    """

    policy: str
    reason: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTimedOut(Detail):
    """A time-out fired. `scope`: total or attempt; `seconds` is the limit that applied."""

    policy: str
    scope: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallHedged(Detail):
    """A second attempt was sent beside one that had not ended after so many seconds."""

    policy: str
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackUsed(Detail):
    """A call failed and something else was given as its answer. `error` is a class name."""

    policy: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosInjected(Detail):
    """A call was delayed, or made to fail, on purpose."""

    policy: str
    latency: float
    fails: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InstancesChanged(Signal):
    """A client knows of another set of instances of a service: `count` by now."""

    service: str
    count: int
    added: int
    removed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryFailed(Signal):
    """A client could not find out which instances a service has, or was told of none. The `kept` ones stay in use.

    It asks again after `delay` seconds.
    """

    service: str
    error: str
    kept: int
    delay: float

    @property
    def level(self) -> Level:
        return "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceEjected(Signal):
    """Calls to one instance of a service failed in a row, so a client leaves it alone for so many seconds."""

    service: str
    instance: str
    reason: str
    seconds: float

    @property
    def level(self) -> Level:
        return "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceReturned(Signal):
    """An instance that was ejected gets calls again; the first that fails ejects it for longer."""

    service: str
    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationChanged(Signal):
    """An instance's entry in a registry: announced, in doubt (the registry cannot be reached), withdrawn."""

    service: str
    instance: str
    state: str

    @property
    def level(self) -> Level:
        return "warning" if self.state == "in doubt" else "info"
