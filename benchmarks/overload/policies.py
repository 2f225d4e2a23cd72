"""How each hop of the chain calls the next: the same policy in virtual time and over HTTP."""

from __future__ import annotations

from benchmarks.overload.load import PATIENCE
from skerry.clock import SYSTEM, Clock
from skerry.errors import CallError, StatusError, Unreachable
from skerry.resilience import AdaptiveLimit, CircuitBreaker, Policy, Retry, RetryBudget


def calling(callee: str, *, clock: Clock = SYSTEM) -> Policy:
    """As long as the user waits, most of that for an attempt, three attempts within a tenth, a breaker, an adaptive limit."""
    return Policy(
        callee,
        total=PATIENCE,
        attempt=0.75 * PATIENCE,
        limit=AdaptiveLimit(),
        retry=Retry(3, on=_worth_repeating, budget=RetryBudget(ratio=0.1)),
        breaker=CircuitBreaker(on=_is_failure),
        clock=clock,
    )


def _worth_repeating(error: Exception) -> bool:
    if isinstance(error, StatusError):
        return error.status in {429, 502, 503, 504}
    return isinstance(error, TimeoutError | Unreachable)


def _is_failure(error: Exception) -> bool:
    if isinstance(error, StatusError):
        return error.status >= 500
    return isinstance(error, TimeoutError | CallError)
