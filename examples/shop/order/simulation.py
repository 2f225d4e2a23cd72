"""What `fulfilment` acts on, without the shop: `skerry simulate examples.shop.order.saga:fulfilment` tries every way to break it.

Each participant keeps to what the real one promises: one effect for a key, and none after its compensation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skerry.client import Headers, Reply
from skerry.testing.sagas import FakeBarrier, Outcome, Simulation

from . import saga
from .models import Order, PricedLine

STOCK = 5
ORDER = Order(
    id="1",
    customer_id="ann",
    lines=[PricedLine(sku="LAMP-1", quantity=2, amount=2400)],
    amount=2400,
    currency="EUR",
    payment_token="tok_ok",  # noqa: S106 - no secret
)
_REPLACED = ("inventory", "payment", "shipping", "cancel_order", "confirm_order")


class Participant:
    """A service behind its client: a number that requests for one order change."""

    def __init__(self, name: str, amount: int, by: int) -> None:
        self.name = name
        self.amount = amount
        self.by = by
        self.barrier = FakeBarrier()

    async def post(
        self,
        path: str,
        *,
        idempotency_key: str,
        json: Mapping[str, Any] | None = None,  # noqa: ARG002 - the client's
    ) -> Reply:
        """Do what is asked, or undo it."""
        if path.endswith(("/release", "/refund")):
            self.barrier.undo(idempotency_key, lambda _: self._change(-self.by))
        else:
            self.barrier.act(idempotency_key, lambda: self._change(self.by))
        return Reply(self.name, 200, Headers(), b"{}")

    async def ask(self, method: str, body: Mapping[str, Any], *, key: str) -> Any:  # noqa: ARG002 - the client's
        """The same over gRPC."""
        return (await self.post(f"/{method.lower()}", idempotency_key=key)).json()

    def _change(self, by: int) -> None:
        self.amount += by


class Shop:
    """The participants, and the order's own row, in the places of the real ones."""

    def __init__(self) -> None:
        self.inventory = Participant("inventory", STOCK, -2)
        self.payment = Participant("payment", 0, ORDER.amount)
        self.shipping = Participant("shipping", 0, 1)
        self.status = "pending"

    def __enter__(self) -> None:
        for name in _REPLACED:
            setattr(saga, name, getattr(self, name))

    def __exit__(self, *_: object) -> None:
        for name, real in _REAL.items():
            setattr(saga, name, real)

    async def confirm_order(self, _order: Order) -> None:
        """See `lifecycle`."""
        if self.status == "pending":
            self.status = "confirmed"

    async def cancel_order(self, _order: Order) -> None:
        """See `lifecycle`."""
        if self.status == "pending":
            self.status = "cancelled"


_REAL = {name: getattr(saga, name) for name in _REPLACED}


def all_or_nothing(end: Outcome[Shop]) -> None:
    """Paid, kept and sent once, and the customer knows; or none of it."""
    shop = end.world
    found = (shop.inventory.amount, shop.payment.amount, shop.shipping.amount, shop.status)
    wanted = (STOCK - 2, ORDER.amount, 1, "confirmed") if end.completed else (STOCK, 0, 0, "cancelled")
    assert found == wanted, f"stock, money, parcels and order are {found}, but should be {wanted}"


fulfilment = Simulation(saga.fulfilment, ORDER, Shop, all_or_nothing, local=("accept", "confirm"))
