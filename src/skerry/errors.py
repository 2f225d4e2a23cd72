"""Every error skerry raises, in one tree.

SkerryError
├── ConfigurationError            a file, URL or option is wrong; says where
│   ├── MissingExtra              a driver is not installed; names the extra
│   └── Mistakes                  several things are wrong with one document
├── Refused                       refused here, nothing was sent; never counts against the callee
│   ├── CircuitOpen
│   ├── BulkheadFull
│   ├── Overloaded                too much is under way: shed
│   ├── RateLimited               too many calls in too short a time
│   └── Locked                    another saga holds the lock: nothing was done, try again
├── DeadlineExceeded              also a TimeoutError: the whole call ran out of time
│   └── AttemptTimeout            one attempt ran out of time
├── CallError                     a call to another service failed
│   ├── Unreachable               no connection was made: the callee saw nothing
│   ├── Untrusted                 the callee's certificate does not hold: it saw nothing
│   ├── ConnectionLost            sent, but no whole reply: the outcome is unknown
│   ├── ReplyTooLarge
│   ├── RedirectRefused           the reply redirects to where the call does not follow
│   └── StatusError               the callee answered with an error status
├── StoreError
│   ├── StoreBusy                 too many callers wait for the one writer
│   │   └── OutboxFull            too many committed events wait for the broker
│   ├── StoreUnavailable          its server cannot be reached or does not answer; the next call tries again
│   ├── StoreCorrupt              the file is damaged: refuses to start
│   ├── WrongOwner                the database belongs to another service
│   ├── MigrationError
│   ├── NoTransaction             asked to take part in a transaction that is not open
│   ├── NestedTransaction         a second transaction in one task would wait for the first
│   ├── ReceiptConflict           the same key was used with another input
│   ├── VersionConflict           a document is not in the version its writer has read
│   ├── DuplicateValue            a unique index has that value already, of another document
│   ├── InvalidDocument           a document that not every engine could hold
│   ├── InvalidQuery              a condition, order, limit or cursor that cannot be used
│   └── LeaseLost                 an exclusive role is somebody else's by now
├── InvalidFact                   a row does not fit its fact table
├── QueryRejected                 the analytics engine does not take a query
├── EnvoyError                    Envoy could not be started, ended too often, or does not ask for its configuration
│   └── ConfigurationRefused      it did not take a configuration; the one before stands
├── EventError
│   ├── InvalidEvent              does not fit its class, or the envelope is malformed
│   ├── SchemaChanged             a frozen version of an event would change
│   ├── UnknownPosition           a log was cut or replaced behind a consumer's back
│   ├── DurabilityTooLow          the broker promises less than the service demands
│   └── BrokerUnavailable         the broker cannot be reached or does not answer; the next call tries again
├── DeployError                   processes could not be started, or no running system was found
└── SagaError
    ├── Rejected                  raised by a step: surely did not happen, undo what did
    ├── LateAction                the participant has already compensated this action
    ├── DefinitionError           the saga's steps do not fit together
    ├── NotNow                    what a person asked of a saga does not fit where it stands
    └── UnknownSaga
"""

from __future__ import annotations

from collections.abc import Sequence


class SkerryError(Exception):
    """The root: catch it to catch everything skerry raises on purpose."""


class ConfigurationError(SkerryError):
    """A file, URL or option is wrong.

    `source` and `line` say where, when it came from a file; `field` which of its fields, as in `routes[0].policy.total`.
    """

    def __init__(
        self, message: str, *, source: str | None = None, line: int | None = None, field: str | None = None
    ) -> None:
        self.source = source
        self.line = line
        self.field = field
        where = "" if source is None else f"{source}: " if line is None else f"{source}:{line}: "
        super().__init__(where + (f"{field}: " if field else "") + message)


class MissingExtra(ConfigurationError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f"{what} needs packages that are not installed: pip install 'skerry[{extra}]'")


class Mistakes(ConfigurationError):
    """Several things are wrong with one document: `all` has each, its text a line for each.

    `source`, `line` and `field` are those of the first.
    """

    def __init__(self, mistakes: Sequence[ConfigurationError]) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.all: tuple[ConfigurationError, ...] = tuple(mistakes)
        first = self.all[0]
        self.source: str | None = first.source
        self.line: int | None = first.line
        self.field: str | None = first.field


class Refused(SkerryError):
    """Refused on this side before anything was sent.

    `reason` is a short stable word for metrics; `retry_after` is how many seconds to wait, where that is known.
    """

    reason = "refused"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class CircuitOpen(Refused):
    """The breaker is open: the dependency failed too often a moment ago."""

    reason = "circuit_open"


class BulkheadFull(Refused):
    """All slots are taken and the waiting room is full, or the wait in it took too long."""

    reason = "bulkhead_full"


class Overloaded(Refused):
    """An adaptive limit has no place free and its queue none either, or the wait in it took too long; or a service sheds load."""

    reason = "overloaded"


class RateLimited(Refused):
    """More calls came than the rate allows. `retry_after` says when the next may pass, in seconds."""

    reason = "rate_limited"


class Locked(Refused):
    """Another saga holds the semantic lock `name`. Nothing was done, so an engine tries the step again, as its `Retry` says.

    Raise `Rejected` instead where a saga should turn back rather than wait.
    """

    reason = "locked"

    def __init__(self, name: str, *, retry_after: float | None = None) -> None:
        self.name = name
        super().__init__(f"{name!r} is held by another saga", retry_after=retry_after)


class DeadlineExceeded(SkerryError, TimeoutError):
    """The time for the whole call is over. What was under way may still have taken effect.

    `imposed`: the caller's deadline ended it, before the limit of the policy itself; that says nothing about the callee.
    """

    imposed = False


class AttemptTimeout(DeadlineExceeded):
    """One attempt ran out of time; the call as a whole may have time left."""


class CallError(SkerryError):
    """A call to another service failed. `service` names it."""

    def __init__(self, service: str, message: str) -> None:
        self.service = service
        super().__init__(f"{service}: {message}")


class Unreachable(CallError, ConnectionError):
    """No connection could be made, so the callee saw nothing of this request."""


class Untrusted(CallError):
    """The callee's certificate is expired, for another name, or of an authority that is not trusted here. Nothing was sent, and
    trying again would not help.
    """


class ConnectionLost(CallError, ConnectionError):
    """The request was sent but no whole reply came back: it may or may not have taken effect."""


class ReplyTooLarge(CallError):
    """The reply is larger than the client's limit; it was not read to its end."""


class RedirectRefused(CallError):
    """A redirect was not followed: one too many, from https to http, or to no place for a call. What came before took effect."""


class StatusError(CallError):
    """The callee answered with an error status. `status` is the number, `detail` what its problem body said."""

    def __init__(
        self, service: str, status: int, detail: str = "", *, code: str = "", retry_after: float | None = None
    ) -> None:
        self.status = status
        self.detail = detail
        self.code = code
        self.retry_after = retry_after
        super().__init__(service, f"answered {status}" + (f": {detail}" if detail else ""))


class StoreError(SkerryError):
    """A service's own database could not do what was asked."""


class StoreBusy(StoreError):
    """Too many callers wait for the database's one writer, or one waited too long. Nothing was written."""


class OutboxFull(StoreBusy):
    """As many committed events wait for the broker as the outbox may hold. Nothing was written."""


class StoreUnavailable(StoreError, ConnectionError):
    """The server of a store cannot be reached, or did not answer in time. What was under way may still have taken effect."""


class StoreCorrupt(StoreError):
    """The database file is damaged. skerry refuses to use it; restore it from a backup."""


class WrongOwner(StoreError):
    """The database belongs to another service: no two services share one."""


class MigrationError(StoreError):
    """A migration failed, is missing, or differs from the one that was applied."""


class NoTransaction(StoreError):
    """The object given as the caller's transaction has no open transaction."""


class NestedTransaction(StoreError):
    """A task that is in a transaction asked for a second one on the same database, which would wait for the first."""


class ReceiptConflict(StoreError):
    """A key was used again with another input."""


class VersionConflict(StoreError):
    """A document was changed, made or deleted by somebody else since its writer has read it. Nothing was written."""


class DuplicateValue(StoreError):
    """Another document has the same value in a field whose index is unique. Nothing was written."""


class InvalidDocument(StoreError):
    """A document is not plain JSON, too large, nested too deep, or has a name that not every engine can hold."""


class InvalidQuery(StoreError):
    """A condition, order, limit or cursor of a query cannot be used; the message says which and what would be right."""


class LeaseLost(StoreError):
    """An exclusive role was not renewed in time, so another process may hold it."""


class InvalidFact(SkerryError, ValueError):
    """A row does not fit its fact table. The message names the column, never the value."""


class QueryRejected(SkerryError):
    """The analytics engine does not take a query. `detail` holds its own words, which may repeat values: for a debugger, not for
    a log.
    """

    def __init__(self, message: str, *, detail: str = "") -> None:
        self.detail = detail
        super().__init__(message)


class EventError(SkerryError):
    """Something is wrong with an event or the log it lives in."""


class InvalidEvent(EventError):
    """The payload does not fit the event's class, or the envelope is malformed."""


class SchemaChanged(EventError):
    """A version of an event that is frozen would get another schema. Its readers rely on it: raise the version instead."""


class UnknownPosition(EventError):
    """The log does not reach back to this consumer's position, or is not the log the position was taken from."""


class Held(EventError):
    """A projection cannot show an event, for it is parked: it failed, or waits behind one of its key that did."""


class ProjectionBehind(EventError, TimeoutError):
    """A projection has not come so far within the time given; it will, later."""


class DurabilityTooLow(EventError):
    """The broker acknowledges before the data is safe, and the service did not agree to that."""


class BrokerUnavailable(EventError, ConnectionError):
    """The broker cannot be reached, or did not answer in time. What was under way may still have taken effect."""


class DeployError(SkerryError):
    """The processes of a system could not be started, or the running system that was asked for was not found."""


class EnvoyError(SkerryError):
    """Envoy could not be started, ended again and again, or does not ask for its configuration."""


class ConfigurationRefused(EnvoyError):
    """Envoy did not take a configuration, and its words say why; the configuration before it stands."""


class SagaError(SkerryError):
    """Something is wrong with a saga."""


class Rejected(SagaError):
    """Raise it from a step to say: this surely did not happen and never will; undo the steps before it."""


class LateAction(SagaError):
    """The participant has compensated this action already; the action arrives too late and does nothing."""


class DefinitionError(SagaError):
    """The saga's definition is not sound; the message names the step."""


class NotNow(SagaError):
    """What was asked of a saga does not fit where it stands; the message says where that is. Nothing was changed."""


class UnknownSaga(SagaError):
    """No saga of that name, version or key is known here."""
