"""What customers will order: a seeded mix whose outcome is known beforehand."""

from __future__ import annotations

import random  # noqa: TID251 - a seeded generator: the same seed gives the same orders
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DECLINED, LOST_REPLY, OUT_OF_STOCK = 0.10, 0.05, 0.05
SOLD_OUT = "LIMITED-1"


@dataclass(frozen=True, slots=True)
class Plan:
    """One order to place, and whether it has to end confirmed."""

    key: str
    customer_id: str
    lines: tuple[tuple[str, int], ...]
    payment_token: str
    confirmed: bool

    def body(self) -> dict[str, Any]:
        """The request."""
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in self.lines]
        return {"customer_id": self.customer_id, "lines": lines, "payment_token": self.payment_token}

    def value(self, prices: Mapping[str, int]) -> int:
        """What the order costs, in minor units."""
        return sum(prices[sku] * quantity for sku, quantity in self.lines)


def plan(orders: int, *, seed: int, skus: Sequence[str]) -> list[Plan]:
    """So many orders: 10 % declined, 5 % with a lost reply, 5 % out of stock, in an order the seed decides."""
    dice = random.Random(seed)  # noqa: S311
    kinds = (
        ["declined"] * round(orders * DECLINED)
        + ["lost_reply"] * round(orders * LOST_REPLY)
        + ["out_of_stock"] * round(orders * OUT_OF_STOCK)
    )[:orders]
    kinds += ["ok"] * (orders - len(kinds))
    dice.shuffle(kinds)
    sellable = [sku for sku in skus if sku != SOLD_OUT]
    plans = []
    for number, kind in enumerate(kinds):
        chosen = dice.sample(sellable, dice.randint(1, 3))
        lines = [(sku, dice.randint(1, 3)) for sku in chosen]
        if kind == "out_of_stock":
            lines.append((SOLD_OUT, 1))
        token = {"declined": "tok_declined", "lost_reply": "tok_lost_reply"}.get(kind, "tok_ok")
        customer = f"customer-{dice.randint(1, 50)}"
        confirmed = kind in {"ok", "lost_reply"}
        plans.append(Plan(f"demo-{seed}-{number}", customer, tuple(lines), token, confirmed))
    return plans


def needed(plans: Sequence[Plan]) -> dict[str, int]:
    """How much of each product the plans may take at the same time; nothing of what has to be sold out."""
    total: dict[str, int] = {}
    for one in plans:
        for sku, quantity in one.lines:
            if sku != SOLD_OUT:
                total[sku] = total.get(sku, 0) + quantity
    return total
