"""What a call to a service is protected by, and what of its replies counts as a failure."""

from __future__ import annotations

from skerry.client.reply import Reply
from skerry.clock import SYSTEM, Clock
from skerry.errors import ConnectionLost, Refused, ReplyTooLarge, StatusError, Unreachable, Untrusted
from skerry.resilience import AdaptiveLimit, CircuitBreaker, Policy, Retry, RetryBudget

RETRIED_STATUSES = frozenset([429, 502, 503, 504])
UNSENT = (Unreachable, Refused)
"""They say that nothing was sent, and sagas rely on that. Of a call it is true only when it is of all of its attempts."""


def default_policy(service: str, *, clock: Clock = SYSTEM) -> Policy:
    """Total 5 s, attempt 2 s, three attempts within a budget of 10 %, a breaker; 4 to 64 calls at once, as many as the service
    can take, and 64 waiting.
    """
    return Policy(
        service,
        total=5.0,
        attempt=2.0,
        limit=AdaptiveLimit(min=4, max=64, queue=64),  # stands before the pool of connections: what waits, waits here
        retry=Retry(3, budget=RetryBudget(ratio=0.1)),
        breaker=CircuitBreaker(on=is_failure),
        clock=clock,
    )


def is_failure(error: Exception) -> bool:
    """Whether a failed call tells of an ill service: for `CircuitBreaker(on=is_failure)`. A status below 500 does not, nor does
    501: what a service does not offer is no illness.
    """
    if isinstance(error, StatusError):
        return error.status >= 500 and error.status != 501
    return isinstance(error, Unreachable | Untrusted | ConnectionLost | ReplyTooLarge | TimeoutError)


def tells_of_trouble(status: int) -> bool:
    """Whether a reply with it is an error inside the policy: the service is ill, or not there right now."""
    return status >= 500 or status in RETRIED_STATUSES


class BadReply(StatusError):
    """Inside the policy a reply that tells of trouble is an error, so that the breaker sees it. It never leaves the client."""

    def __init__(self, reply: Reply, clock: Clock) -> None:
        self.reply = reply
        super().__init__(reply.service, reply.status, retry_after=reply.retry_after(clock))


class Unavailable(BadReply, ConnectionError):
    """The service, or what stands before it, says it is not there right now: to `Retry` the same as no connection."""


def judged(reply: Reply, clock: Clock) -> Reply:
    """The reply, unless it tells of trouble. Raises `BadReply`."""
    if not tells_of_trouble(reply.status):
        return reply
    raise (Unavailable if reply.status in RETRIED_STATUSES else BadReply)(reply, clock)


def lost(service: str, error: Unreachable | Refused) -> ConnectionLost:
    """The error of a call of which an attempt may have arrived, and the last ended in `error`, one of `UNSENT`."""
    return ConnectionLost(service, f"an earlier attempt may have arrived; of the last one: {error}")


def only_unsent(policy: Policy) -> Policy:
    """The same policy, sharing its parts and counts, that repeats nothing but what was surely not sent."""
    retry = policy.retry
    if retry is None:
        return policy if policy.hedge is None else policy.but(hedge=None)
    unsent = Retry(
        retry.attempts,
        on=lambda error: isinstance(error, Unreachable) and retry.retries(error),
        base=retry.base,
        cap=retry.cap,
        retry_after_cap=retry.retry_after_cap,
        budget=retry.budget,
        name=retry.name,
        clock=retry.clock,
    )
    return policy.but(retry=unsent, hedge=None)
