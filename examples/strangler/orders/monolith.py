"""The anti-corruption layer: all that this service asks of the monolith, and the one place that knows its words.

It goes when the monolith does: what it answers here is to be answered by services of its own by then.
"""

from __future__ import annotations

from typing import Any

from skerry.client import Reply, ServiceClient
from skerry.resilience import Bulkhead, CircuitBreaker, Policy, Retry, RetryBudget

from .host import service
from .models import Taken


def _client(name: str, *, total: float) -> ServiceClient:
    policy = Policy(
        name,
        total=total,
        limit=Bulkhead(64, queue=64),
        retry=Retry(3, budget=RetryBudget(ratio=0.1)),
        breaker=CircuitBreaker(failure_rate=0.5, window=5.0, min_calls=20, open_for=1.0, probes=3),
    )
    return service.client("monolith", policy=policy)


reads = _client("monolith-reads", total=1.5)
fulfilments = _client("monolith-fulfilments", total=6.0)


async def order_of(order_id: str, *, below: str = "", query: str = "") -> Reply:
    """What the monolith answers of an order that is not known here: it may be on its way, or not exist at all."""
    return await reads.get(f"/api/orders/{order_id}{below}{query}")


async def prices() -> dict[str, tuple[int, str]]:
    """What everything costs, for when a price has not been heard of yet: one question, however many are missing."""
    products = (await reads.get("/api/products")).raise_for_status().json()
    return {each["sku"]: (each["price"]["amount"], each["price"]["currency"]) for each in products}


async def fulfil(taken: Taken, *, key: str) -> dict[str, Any]:
    """Goods, money, parcel and messages of an order: all or nothing, for that is still one transaction over there."""
    reply = await fulfilments.post("/internal/fulfilments", json=taken.model_dump(), idempotency_key=key)
    answer: dict[str, Any] = reply.raise_for_status().json()
    return answer
