"""Signals of what happens to events, sagas, databases, services, the gateway and processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from skerry.frozen import opened
from skerry.signals.hub import Detail, Level, Signal

# --- events


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayChanged(Signal):
    """The relay of a process waits for the lead, has it, or stopped. `state`: waiting, leading, stopped.

    `parts` of the outbox it leads: all, or their numbers.
    """

    service: str
    state: str
    parts: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsRelayed(Detail):
    """A batch left the outbox and is durable at the broker."""

    service: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayFailed(Signal):
    """The relay could not hand over a batch; nothing is lost, it tries again after `delay` seconds."""

    service: str
    error: str
    delay: float

    @property
    def level(self) -> Level:
        return "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxChanged(Signal):
    """So many events wait for the broker that no more are recorded (`full`), or there is room again."""

    service: str
    full: bool
    waiting: int

    @property
    def level(self) -> Level:
        return "error" if self.full else "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventHandled(Detail):
    """A handler's transaction with its receipt is committed. `duplicate`: it had been handled before."""

    group: str
    type: str
    id: str
    duplicate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerFailed(Signal):
    """A handler raised; its transaction is rolled back. It runs again after `delay` seconds unless `delay` is None."""

    group: str
    type: str
    id: str
    attempt: int
    error: str
    delay: float | None

    @property
    def level(self) -> Level:
        return "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventParked(Signal):
    """An event became a dead letter; or, when `held`, it waits behind an earlier event of its key that is parked."""

    group: str
    type: str
    id: str
    held: bool
    reason: str

    @property
    def level(self) -> Level:
        return "info" if self.held else "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePassedOver(Signal):
    """A message of another producer says nowhere of what type it is, so no group handles it. `place` is where it stands."""

    group: str
    source: str
    place: str

    @property
    def level(self) -> Level:
        return "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerFailed(Signal):
    """A group cannot read its events or its database; it keeps trying and loses nothing."""

    group: str
    error: str

    @property
    def level(self) -> Level:
        return "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerLag(Detail):
    """How many published events a group has not handled yet; told every fifteen seconds by the process that reads for it."""

    group: str
    lag: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectionChanged(Signal):
    """A generation of a projection's tables is being built, is read from now on, or is dropped after another took over."""

    projection: str
    version: int
    generation: int
    state: Literal["building", "live", "dropped"]


# --- saga


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaChanged(Signal):
    """A saga went to another status: running, compensating, completed, compensated, stuck."""

    saga: str
    key: str
    status: str
    step: str = ""
    reason: str = ""

    @property
    def level(self) -> Level:
        return "error" if self.status == "stuck" else "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaStepFailed(Signal):
    """An attempt of a step or compensation failed. `action`: do or undo."""

    saga: str
    key: str
    step: str
    action: str
    attempt: int
    error: str

    @property
    def level(self) -> Level:
        return "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaWaits(Signal):
    """A saga waits for a signal or a time, at most until then, in seconds since 1970."""

    saga: str
    key: str
    step: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaSignalled(Signal):
    """A saga was sent a signal. `new`: not one that it was sent before."""

    saga: str
    key: str
    signal: str
    new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SagasRecovered(Signal):
    """Open sagas were found in the journal at start and go on."""

    service: str
    count: int


# --- store and service


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationBegun(Signal):
    """A migration is about to be applied."""

    component: str
    version: str
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationDelayed(Signal):
    """A migration did not get its locks in time; nothing of it was applied, it is tried again after `delay` seconds."""

    component: str
    version: str
    delay: float

    @property
    def level(self) -> Level:
        return "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationsLeft(Signal):
    """A process started while `count` migrations wait to be applied after the deploy, see `skerry db migrate --after`."""

    component: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationApplied(Signal):
    """A migration changed a database's schema; or a collection of documents got its table or an index."""

    component: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChanged(Signal):
    """A service's own life: starting, ready, draining, stopped."""

    service: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayReloaded(Signal):
    """A gateway serves another specification, with so many routes; or, with an `error`, goes on with the one it had."""

    service: str
    routes: int
    error: str = ""

    @property
    def level(self) -> Level:
        return "error" if self.error else "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthChanged(Signal):
    """A health check went from one status to another: pass, warn, fail."""

    check: str
    before: str
    after: str
    reason: str = ""

    @property
    def level(self) -> Level:
        return "info" if self.after == "pass" else "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFailed(Signal):
    """A request ended in an unexpected error, whose text the caller did not see. A call over gRPC has the `method` gRPC."""

    service: str
    method: str
    route: str
    error: str

    @property
    def level(self) -> Level:
        return "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestServed(Detail):
    """A service has answered a request, after so many seconds. `route` is the pattern of its path, empty where none is known."""

    service: str
    method: str
    route: str
    status: int
    seconds: float
    scheme: str = "http"


_Served = opened(RequestServed)


def request_served(service: str, method: str, route: str, status: int, seconds: float, scheme: str) -> RequestServed:
    """The signal of a request, for where each has one."""
    told = _Served()
    told.service = service
    told.method = method
    told.route = route
    told.status = status
    told.seconds = seconds
    told.scheme = scheme
    told.__class__ = RequestServed
    return told  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcServed(Detail):
    """A service has answered a call over gRPC, after so many seconds; told only while somebody measures (`Hub.measured`).

    `method` is "package.Service/Method", `code` the name of the status.
    """

    service: str
    method: str
    code: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerTimed(Detail):
    """One attempt to handle an event or a batch of them is over; told only while somebody measures (`Hub.measured`).

    `error` is a class name when it failed. Its effect is not committed yet: that is what `EventHandled` tells.
    """

    group: str
    type: str
    count: int
    seconds: float
    error: str = ""


# --- gateway


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRefused(Signal):
    """A token did not open a route. `check` says at what it failed, which its bearer is not told; `provider` is empty when no
    provider's name was on it.
    """

    provider: str
    check: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysChanged(Signal):
    """A provider's keys are others than before: `count` that can be used, and why the rest of the set cannot."""

    provider: str
    count: int
    unusable: str = ""

    @property
    def level(self) -> Level:
        return "warning" if self.unusable else "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysUnavailable(Signal):
    """A provider's keys could not be fetched. The last good ones go on to be used, if there were any."""

    provider: str
    reason: str

    @property
    def level(self) -> Level:
        return "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersDiffered(Signal):
    """For the first time in this process the two sides of a strangled route answered differently at `path`; `kind` says how."""

    route: str
    path: str
    kind: str

    @property
    def level(self) -> Level:
        return "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class RampChanged(Signal):
    """A strangled route is elsewhere on its way from one service to another. `verdict`: start, promote, step, hold, roll_back,
    hand_over, hand_back; `by` evidence, the guard or a person; shares in percent.
    """

    route: str
    state: str
    before: float
    after: float
    by: str
    verdict: str
    reason: str

    @property
    def level(self) -> Level:
        return "warning" if self.verdict == "roll_back" else "info"


# --- mesh


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRenewed(Signal):
    """A service's sidecar has another certificate, valid until `ends` (seconds since 1970); or, with an `error`, goes on with the
    one it had.
    """

    service: str
    name: str
    ends: float
    error: str = ""

    @property
    def level(self) -> Level:
        return "error" if self.error else "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateReloaded(Signal):
    """A service shows another certificate over gRPC from the next connection on; or, with an `error`, the one it had."""

    service: str
    error: str = ""

    @property
    def level(self) -> Level:
        return "error" if self.error else "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthoritiesChanged(Signal):
    """The sidecars of a system believe other authorities than before, so many of them."""

    system: str
    count: int


# --- telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportChanged(Signal):
    """Spans and signals do not reach the console or collector `to` any more (`failing`), or do again.

    `dropped` is how many went since the process began.
    """

    to: str
    failing: bool
    dropped: int
    error: str = ""

    @property
    def level(self) -> Level:
        return "warning" if self.failing else "info"


# --- deploy


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessChanged(Signal):
    """A supervised process: starting, ready, running (its check fails), crashed, held, stopping, stopped."""

    name: str
    state: str
    pid: int | None = None
    reason: str = ""

    @property
    def level(self) -> Level:
        return "warning" if self.state == "crashed" else "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReplaced(Signal):
    """A service was to go on with its code as it is now: `pid` has taken over from `before`, or `error` says why it has not."""

    name: str
    pid: int | None = None
    before: int | None = None
    error: str = ""

    @property
    def level(self) -> Level:
        return "warning" if self.error else "info"
