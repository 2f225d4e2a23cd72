"""The customers: they look, order, and check every answer. Each asks once; what fails is written down, never tried again."""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 - a seeded generator: the same seed gives the same orders
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from skerry.client import Reply, ServiceClient
from skerry.clock import SYSTEM
from skerry.errors import CallError, DeadlineExceeded
from skerry.resilience import Policy

SOLD_OUT, REPRICED = "LIMITED-1", "COAT-5"
"""What is never in stock, and what gets other prices meanwhile, which is why nobody orders it in passing."""
DECLINED, OUT_OF_STOCK, AGAIN = 0.08, 0.04, 0.1
"""Shares of the orders; `AGAIN` is asked for a second time with the same key."""
PROGRESS = 0.8
"""Share of later looks at an order that are for its history."""
MOST_AT_ONCE = 32
"""Requests under way: on a machine that is busy otherwise they ask less often, instead of asking until a service sheds load."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An order that a customer has: what it is to cost, and whether it has to end confirmed."""

    key: str
    order_id: str
    body: dict[str, Any]
    amount: int
    confirmed: bool
    token: str
    """Its `history-after`."""


@dataclass(slots=True)
class Counts:
    """What customers saw. `failed` has (request's id, what was wrong)."""

    requests: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


class Customers:
    """Ask at rates that can be changed: `looks` at products, `reads` of orders, `orders`, each a second."""

    def __init__(self, url: str, *, seed: int = 1) -> None:
        self._http = ServiceClient("gateway", url=url, policy=Policy("gateway", total=15.0))
        self._dice = random.Random(seed)  # noqa: S311
        self._under_way: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._numbers = 0
        self.looks = self.reads = self.orders = 0.0
        self.prices: dict[str, set[int]] = {}
        self.repriced = 0
        self.placed: list[Placed] = []
        self.counts = Counts()

    async def begin(self) -> None:
        """See what is for sale, order in enough of it, and go shopping."""
        products = (await self._insist("GET", "/api/products")).json()
        self.prices = {each["sku"]: {each["price"]["amount"]} for each in products}
        for sku in self.prices.keys() - {SOLD_OUT}:
            body = {"sku": sku, "quantity": 20_000}
            await self._insist("POST", "/api/inventory/restock", json=body, idempotency_key=f"story-{sku}")
        for act, rate in ((self._look, "looks"), (self._read, "reads"), (self.order, "orders")):
            self._loops.append(asyncio.create_task(self._again_and_again(act, rate)))

    async def end(self) -> None:
        """Go home: what is under way is waited for."""
        for loop in self._loops:
            loop.cancel()
        await self.quiet()
        await self._http.aclose()

    async def quiet(self) -> None:
        """Until nothing is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def set_price(self, amount: int) -> None:
        """Somebody in the office sets a price; answers may have the one before or this one from now on."""
        before = self.prices[REPRICED]
        self.prices[REPRICED] = before | {amount}
        self.repriced = amount
        await self._insist("PUT", f"/api/products/{REPRICED}/price", json={"amount": amount})

    async def order(self, sku: str | None = None) -> None:
        """Order something, look at once whether it is there, and now and then ask for the same again."""
        self._numbers += 1
        key, body, amount, confirmed = self._wanted(f"story-{self._numbers}", sku)
        told = await self._ask("POST", "/api/orders", _accepted, json=body, idempotency_key=key)
        if told is None:
            return
        order_id = told.json()["order_id"]
        placed = Placed(key, order_id, body, amount, confirmed, told.headers.get("history-after", ""))
        self.placed.append(placed)
        await self.look_at(placed)
        if self._dice.random() < AGAIN:
            await self.ask_again(placed)

    async def look_at(self, placed: Placed) -> None:
        """The order and what became of it: there, one's own, and at the right price."""
        path = f"/api/orders/{placed.order_id}"
        await self._ask("GET", path, lambda reply: _own(reply.json(), placed))
        await self._ask("GET", f"{path}/history", lambda reply: _begun(reply.json()))

    async def ask_again(self, placed: Placed) -> None:
        """The same key gives the same order, whoever took it."""
        again: dict[str, Any] = {"json": placed.body, "idempotency_key": placed.key}
        same = {"order_id": placed.order_id, "status": "pending"}
        await self._ask(
            "POST",
            "/api/orders",
            lambda reply: "" if reply.json() == same else "another order for the same key",
            **again,
        )

    async def _look(self) -> None:
        if self._dice.random() < 0.5:
            await self._ask("GET", "/api/products", lambda reply: self._wrong(*reply.json(), all_of_them=True))
        else:
            sku = self._dice.choice(sorted(self.prices))
            await self._ask("GET", f"/api/products/{sku}", lambda reply: self._wrong(reply.json()))

    async def _read(self) -> None:
        """Who comes back later mostly wants to know how far it is."""
        if self.placed:
            placed, path = self._dice.choice(self.placed), "/api/orders/"
            if self._dice.random() < PROGRESS:
                await self._ask("GET", f"{path}{placed.order_id}/history", lambda reply: _begun(reply.json()))
            else:
                await self._ask("GET", f"{path}{placed.order_id}", lambda reply: _own(reply.json(), placed))

    def _wrong(self, *products: Any, all_of_them: bool = False) -> str:
        if all_of_them and len(products) != len(self.prices):
            return f"{len(products)} products"
        for each in products:
            price = each["price"]
            if price["amount"] not in self.prices[each["sku"]] or price["currency"] != "EUR" or not each["name"]:
                return f"{each['sku']} costs {price}"
        return ""

    def _wanted(self, key: str, sku: str | None) -> tuple[str, dict[str, Any], int, bool]:
        dice = self._dice
        sellable = sorted(self.prices.keys() - {SOLD_OUT, REPRICED})
        chosen = [sku] if sku else dice.sample(sellable, dice.randint(1, 3))
        kind = dice.random()
        lines = [(each, dice.randint(1, 3)) for each in chosen]
        if kind < OUT_OF_STOCK:
            lines.append((SOLD_OUT, 1))
        declined = OUT_OF_STOCK <= kind < OUT_OF_STOCK + DECLINED
        amount = sum(self._price(each) * quantity for each, quantity in lines)
        body = {
            "customer_id": f"customer-{dice.randint(1, 50)}",
            "lines": [{"sku": each, "quantity": quantity} for each, quantity in lines],
            "payment_token": "tok_declined" if declined else "tok_ok",
        }
        return key, body, amount, kind >= OUT_OF_STOCK + DECLINED

    def _price(self, sku: str) -> int:
        return self.repriced if sku == REPRICED else min(self.prices[sku])

    async def _again_and_again(self, act: Callable[[], Coroutine[Any, Any, None]], rate: str) -> None:
        due = SYSTEM.monotonic()
        while True:
            each_second: float = getattr(self, rate)
            if not each_second or len(self._under_way) >= MOST_AT_ONCE:
                await SYSTEM.sleep(0.05)
                due = SYSTEM.monotonic()
                continue
            due += 1 / each_second
            await SYSTEM.sleep(max(0.0, due - SYSTEM.monotonic()))
            task = asyncio.create_task(act())
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _ask(self, method: str, path: str, check: Callable[[Reply], str], **more: Any) -> Reply | None:
        """Once. `check` says what is wrong with an answer; None when anything is."""
        request = str(SYSTEM.uuid())
        self.counts.requests += 1
        try:
            reply = await self._http.request(method, path, headers={"x-request-id": request}, **more)
            wrong = f"{reply.status} {reply.content[:100]!r}" if reply.status >= 300 else check(reply)
        except (CallError, DeadlineExceeded, KeyError, TypeError, ValueError) as error:
            wrong = f"{type(error).__name__}: {error}"
        if not wrong:
            return reply
        self.counts.failed.append((request, f"{method} {path}: {wrong}"))
        return None

    async def _insist(self, method: str, path: str, **more: Any) -> Reply:
        return (await self._http.request(method, path, **more)).raise_for_status()


def _accepted(reply: Reply) -> str:
    return "" if reply.status == 202 and reply.json()["order_id"] else f"answered {reply.status}"


def _own(view: Any, placed: Placed) -> str:
    order = view["order"]
    if order["order_id"] != placed.order_id or order["customer_id"] != placed.body["customer_id"]:
        return "somebody else's order"
    if order["total"]["amount"] != placed.amount or sum(line["amount"] for line in order["lines"]) != placed.amount:
        return f"costs {order['total']}, and had to cost {placed.amount}"
    right = {"pending", "confirmed" if placed.confirmed else "cancelled"}
    return "" if order["status"] in right and not view["missing"] else f"is {order['status']}"


def _begun(history: Any) -> str:
    states = [change["state"] for change in history["changes"]]
    return "" if states[0] == "placed" and len(states) <= 3 else f"its changes are {states}"
