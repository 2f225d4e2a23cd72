"""The services that order calls, each behind a policy of its own."""

from __future__ import annotations

from skerry.client import ServiceClient
from skerry.resilience import Bulkhead, CircuitBreaker, Policy, Retry, RetryBudget

from .host import service


def _client(name: str, *, total: float) -> ServiceClient:
    policy = Policy(
        name,
        total=total,
        limit=Bulkhead(100, queue=100),
        retry=Retry(3, budget=RetryBudget(ratio=0.1)),
        breaker=CircuitBreaker(failure_rate=0.5, window=5.0, min_calls=20, open_for=1.0, probes=3),
    )
    return service.client(name, policy=policy)


inventory = _client("inventory", total=3.0)
payment = _client("payment", total=6.0)
shipping = _client("shipping", total=3.0)
product = _client("product", total=2.0)
