"""The services that order calls, each behind a policy of its own: inventory over gRPC, the others over HTTP."""

from __future__ import annotations

import json
from typing import Any

import grpc.aio

from skerry.client import ServiceClient
from skerry.resilience import Bulkhead, CircuitBreaker, Policy, Retry, RetryBudget

from .host import service


def _policy(name: str, *, total: float) -> Policy:
    return Policy(
        name,
        total=total,
        limit=Bulkhead(100, queue=100),
        retry=Retry(3, budget=RetryBudget(ratio=0.1)),
        breaker=CircuitBreaker(failure_rate=0.5, window=5.0, min_calls=20, open_for=1.0, probes=3),
    )


def _client(name: str, *, total: float) -> ServiceClient:
    return service.client(name, policy=_policy(name, total=total))


class Inventory:
    """What the saga asks of inventory. A channel belongs to an event loop, so it is made when the service starts."""

    def __init__(self) -> None:
        self._channel: grpc.aio.Channel | None = None

    async def connect(self) -> None:
        """Make the channel. It is closed with the service."""
        self._channel = service.channel("inventory", policy=_policy("inventory", total=3.0))

    async def ask(self, method: str, body: dict[str, Any], *, key: str) -> Any:
        """Its answer; repeating it with the same key is harmless. Raises as `grpc_channel` says."""
        assert self._channel is not None, "the service has started"
        call = self._channel.unary_unary(f"/shop.Inventory/{method}", _dumps, json.loads)
        return await call(body, metadata=[("idempotency-key", key)])


def _dumps(body: Any) -> bytes:
    return json.dumps(body).encode()


inventory = Inventory()
service.on_start(inventory.connect)
payment = _client("payment", total=6.0)
shipping = _client("shipping", total=3.0)
product = _client("product", total=2.0)
