"""The customers: they place orders at a steady rate and do not give up while the shop is down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from skerry.client import Reply, ServiceClient
from skerry.clock import SYSTEM
from skerry.errors import CallError, DeadlineExceeded
from skerry.resilience import Policy

from .mix import Plan

PATIENCE = 60.0
"""Seconds a customer keeps trying."""
PAUSE = 0.2


class Customers:
    """Talk to the shop through its gateway, as any client would."""

    def __init__(self, url: str) -> None:
        self._http = ServiceClient("gateway", url=url, policy=Policy("gateway", total=10.0))
        self.placed: dict[str, str] = {}

    async def __aenter__(self) -> Customers:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def catalogue(self) -> dict[str, int]:
        """What is for sale, and the price of each."""
        products = (await self._insist("GET", "/api/products")).json()
        return {product["sku"]: product["price"]["amount"] for product in products}

    async def restock(self, need: dict[str, int]) -> None:
        """Order goods in, so that only what has to be sold out is."""
        for sku, quantity in need.items():
            available = (await self._insist("GET", f"/api/inventory/{sku}")).json()["available"]
            if available < quantity:
                body = {"sku": sku, "quantity": quantity - available}
                await self._insist("POST", "/api/inventory/restock", body, key=str(SYSTEM.uuid()))

    async def place_all(self, plans: Sequence[Plan], *, rate: float, placed: Callable[[int], None]) -> None:
        """Place every order, `rate` a second, whether or not the ones before are through."""
        begin = SYSTEM.monotonic()
        async with asyncio.TaskGroup() as group:
            for number, plan in enumerate(plans):
                await SYSTEM.sleep(max(0.0, begin + number / rate - SYSTEM.monotonic()))
                group.create_task(self._place(plan, placed))

    async def _place(self, plan: Plan, placed: Callable[[int], None]) -> None:
        reply = await self._insist("POST", "/api/orders", plan.body(), key=plan.key)
        if reply.status == 202:
            self.placed[plan.key] = reply.json()["order_id"]
            placed(len(self.placed))

    async def _insist(self, method: str, path: str, body: dict[str, Any] | None = None, *, key: str = "") -> Reply:
        """Try until there is an answer that is not the shop's fault. The key makes trying again harmless."""
        give_up = SYSTEM.monotonic() + PATIENCE
        while True:
            try:
                reply = await self._http.request(method, path, json=body, idempotency_key=key or None)
            except (CallError, DeadlineExceeded):
                if SYSTEM.monotonic() > give_up:
                    raise
            else:
                if reply.status < 500 or SYSTEM.monotonic() > give_up:
                    return reply
            await SYSTEM.sleep(PAUSE * (0.5 + SYSTEM.random()))
