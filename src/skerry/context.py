"""What travels with a call: the time that is left, the trace, the priority and the retried mark.

One carrier for HTTP headers, gRPC metadata and messages. `inject` writes it, `extract` reads it; forged or malformed values
are clamped or dropped, never trusted. Messages carry the trace but no deadline: who publishes does not wait.

The trace part follows W3C Trace Context (level 1).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, replace

from skerry.clock import SYSTEM, Clock
from skerry.frozen import opened

TIMEOUT_HEADER = "skerry-timeout"
"""Seconds left for the whole call, as a decimal number."""
RETRIED_HEADER = "skerry-retried"
"""`1` when a caller further out already retries this call, so that inner layers do not."""
PRIORITY_HEADER = "skerry-priority"
"""0 (shed first) to 9 (shed last); 5 when absent."""
LOW, HIGH = 3, 7
"""Priorities up to the first are of the class that is shed first, from the second on of the one that is shed last."""

MAX_TIMEOUT = 300.0
"""Seconds. A remote caller cannot ask us to work longer than this."""

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[ -~]+")
MAX_STATE = 512
"""Characters of a tracestate that are passed on, in whole entries."""
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class CallContext:
    """The ambient facts of the call under way.

    `deadline` is an instant on `Clock.monotonic`; None means no limit. `retries_above` is true when an outer layer retries.
    """

    deadline: float | None = None
    traceparent: str = ""
    tracestate: str = ""
    priority: int = 5
    retries_above: bool = False

    def remaining(self, clock: Clock = SYSTEM) -> float | None:
        """Seconds until the deadline, never below 0; None when there is no deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - clock.monotonic())

    def until(self, deadline: float | None) -> CallContext:
        """The same context with the earlier of both deadlines."""
        if deadline is None or (self.deadline is not None and self.deadline <= deadline):
            return self
        return replace(self, deadline=deadline)

    def child(self, clock: Clock = SYSTEM) -> CallContext:
        """The same trace with a new span id; a new trace when there is none."""
        parent = self.traceparent
        if parent:
            span = f"{parent[:36]}{clock.hex_id()}{parent[52:]}"
        else:
            span = f"00-{clock.hex_id()}{clock.hex_id()}-{clock.hex_id()}-01"
        return made(self.deadline, span, self.tracestate, self.priority, self.retries_above)

    @property
    def trace_id(self) -> str:
        """32 hex digits, or an empty string without a trace."""
        return self.traceparent[3:35]


_Opened = opened(CallContext)


def made(deadline: float | None, traceparent: str, tracestate: str, priority: int, retries_above: bool) -> CallContext:
    """A context, for where each call and each event has one."""
    context = _Opened()
    context.deadline = deadline
    context.traceparent = traceparent
    context.tracestate = tracestate
    context.priority = priority
    context.retries_above = retries_above
    context.__class__ = CallContext
    return context  # type: ignore[no-any-return]


EMPTY = CallContext()
_around: ContextVar[CallContext] = ContextVar("skerry_context", default=EMPTY)
_deadline: ContextVar[float] = ContextVar("skerry_deadline", default=math.inf)
_retried: ContextVar[bool] = ContextVar("skerry_retried", default=False)
"""A context, and the deadline (`math.inf` for none) and the retried mark that hold instead of its own: policies narrow these for
every call, and what hardly any call looks at need not be made anew for that."""
# bound once, since to look up a method of a context variable takes as long as to call it
get_deadline: Callable[[], float] = _deadline.get
set_deadline: Callable[[float], Token[float]] = _deadline.set
reset_deadline: Callable[[Token[float]], None] = _deadline.reset
get_retried: Callable[[], bool] = _retried.get
set_retried: Callable[[bool], Token[bool]] = _retried.set
reset_retried: Callable[[Token[bool]], None] = _retried.reset


def current() -> CallContext:
    """The context of the running task or thread."""
    context, deadline, retried = _around.get(), get_deadline(), get_retried()
    ends = None if deadline == math.inf else deadline
    if ends == context.deadline and retried == context.retries_above:
        return context
    return made(ends, context.traceparent, context.tracestate, context.priority, retried)


class use:  # noqa: N801 - it is used like a function
    """Make `context` the current one inside the block; `deadline` and `retried`, where given, hold instead of its own."""

    __slots__ = ("_context", "_ends", "_retried", "_tokens")

    def __init__(self, context: CallContext, *, deadline: float | None = None, retried: bool | None = None) -> None:
        self._context = context
        ends = context.deadline if deadline is None else deadline
        self._ends = math.inf if ends is None else ends
        self._retried = context.retries_above if retried is None else retried

    def __enter__(self) -> CallContext:
        self._tokens = (_around.set(self._context), set_deadline(self._ends), set_retried(self._retried))
        return self._context

    def __exit__(self, *_: object) -> None:
        around, deadline, retried = self._tokens
        _around.reset(around)
        reset_deadline(deadline)
        reset_retried(retried)


def inject(headers: MutableMapping[str, str], context: CallContext, *, clock: Clock = SYSTEM) -> None:
    """Write `context` into the headers of a request to another service."""
    headers.update(carried(context, clock=clock))


def carried(context: CallContext, *, clock: Clock = SYSTEM) -> list[tuple[str, str]]:
    """The headers that carry `context` to another service."""
    headers: list[tuple[str, str]] = []
    if context.deadline is not None:
        headers.append((TIMEOUT_HEADER, f"{max(0.0, context.deadline - clock.monotonic()):.3f}"))
    if context.retries_above:
        headers.append((RETRIED_HEADER, "1"))
    if context.priority != EMPTY.priority:
        headers.append((PRIORITY_HEADER, str(context.priority)))
    if context.traceparent:
        headers.append(("traceparent", context.traceparent))
        if context.tracestate:
            headers.append(("tracestate", context.tracestate))
    return headers


def extract(
    headers: Mapping[str, str], *, clock: Clock = SYSTEM, max_timeout: float = MAX_TIMEOUT, default: float | None = None
) -> CallContext:
    """Read a context from a request's headers (names in lower case).

    A missing or malformed time-out becomes `default`; one beyond `max_timeout` becomes `max_timeout`. Anything else that is
    malformed is left out.
    """
    timeout = _seconds(headers.get(TIMEOUT_HEADER, ""))
    if timeout is None:
        timeout = default
    deadline = None if timeout is None else clock.monotonic() + min(timeout, max_timeout)
    traceparent = headers.get("traceparent", "")
    if not _TRACEPARENT.fullmatch(traceparent):
        traceparent = ""
    priority = headers.get(PRIORITY_HEADER, "")
    return made(
        deadline,
        traceparent,
        _state(headers["tracestate"]) if traceparent and "tracestate" in headers else "",
        int(priority) if len(priority) == 1 and priority in "0123456789" else EMPTY.priority,
        headers.get(RETRIED_HEADER) == "1",
    )


def _state(text: str) -> str:
    """Printable ASCII only: over gRPC nothing else can be sent, so a caller could make every further call fail."""
    if len(text) > MAX_STATE:
        text = text[: MAX_STATE + 1].rpartition(",")[0]
    return text if _TRACESTATE.fullmatch(text) else ""


def _seconds(text: str) -> float | None:
    if not _DECIMAL.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None
