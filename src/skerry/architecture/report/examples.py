"""For each rule a piece of code that breaks it, and the same mended: with skerry, and without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """The fault and two ways out of it."""

    fault: str
    skerry: str
    without: str


EXAMPLES: Final[Mapping[str, Example]] = {
    "shared-database": Example(
        fault="""\
# compose.yaml: both write the table `stock`
order:     {environment: {DATABASE_URL: postgresql://db/shop}}
inventory: {environment: {DATABASE_URL: postgresql://db/shop}}
""",
        skerry="""\
# order's own database has a copy that the owner's events feed
@service.on(StockChanged, group="availability")
async def copy(event: StockChanged, tx) -> None: ...
""",
        without="""\
# one database and one user for each; order asks inventory's API, or reads a copy
order:     {environment: {DATABASE_URL: postgresql://db/order}}
inventory: {environment: {DATABASE_URL: postgresql://db/inventory}}
""",
    ),
    "sync-chain": Example(
        fault="""\
# web waits for order, which waits for payment, which waits for fraud: 0.999 ** 4 is 99.6 %
def charge(order):
    score = requests.get(f"{FRAUD_URL}/score/{order.customer}", timeout=2).json()
""",
        skerry="""\
# payment keeps the scores that fraud publishes: nobody waits for fraud any more
scores = Projection("scores", version=1, ...)
""",
        without="""\
# fraud publishes a score when it changes; payment reads its own table
def charge(order):
    score = session.get(Score, order.customer)
""",
    ),
    "no-circuit-breaker": Example(
        fault="""\
# while payment is down, every request waits for the time-out anyway
reply = requests.post(f"{PAYMENT_URL}/charges", json=body, timeout=2)
""",
        skerry="""\
payment = service.client("payment", policy=Policy("payment", total=2.0, breaker=CircuitBreaker()))
reply = await payment.post("/charges", json=body, idempotency_key=key)
""",
        without="""\
breaker = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=10)
reply = breaker.call(requests.post, f"{PAYMENT_URL}/charges", json=body, timeout=2)
""",
    ),
    "distributed-monolith": Example(
        fault="""\
# order/app.py: cannot be released without warehouse
from warehouse.models import Parcel
""",
        skerry="""\
# the fact travels, not the class
class ParcelPacked(DomainEvent, type="shop.parcel.packed", version=1, key="order_id"): ...
""",
        without="""\
# a versioned package that has nothing but the contract; or merge the two
from warehouse_contract.v1 import ParcelPacked
""",
    ),
    "no-timeout": Example(
        fault="""\
stock = requests.get(f"{INVENTORY_URL}/stock/{sku}")  # requests waits for ever
""",
        skerry="""\
inventory = service.client("inventory", policy=Policy("inventory", total=2.0, attempt=0.5))
stock = await inventory.get(f"/stock/{sku}")
""",
        without="""\
stock = requests.get(f"{INVENTORY_URL}/stock/{sku}", timeout=(0.5, 2.0))
""",
    ),
    "no-compensation": Example(
        fault="""\
payment.post("/charges", json=charge)  # the money is gone
shipping.post("/parcels", json=parcel)  # when this fails nobody gives it back
""",
        skerry="""\
@fulfil.step()
async def charge(ctx, order): ...
@charge.compensate
async def refund(ctx, order, charge): ...
""",
        without="""\
payment.post("/charges", json=charge)
try:
    shipping.post("/parcels", json=parcel)
except Exception:
    outbox.add("refund", charge)  # in a table of this database, sent until it has arrived
    raise
""",
    ),
    "premature-microservices": Example(
        fault="""\
# 9 services, 2 people, 300 lines each
""",
        skerry="""\
skerry decide .        # stay, modularize, extract one first, or merge back: with the evidence
skerry guard --import-linter .
""",
        without="""\
# one application with a package for each of the nine, and import-linter between them
""",
    ),
    "chatty": Example(
        fault="""\
prices = [requests.get(f"{PRODUCT_URL}/prices/{sku}", timeout=2).json() for sku in basket]
""",
        skerry="""\
product = service.client("product", policy=...)
prices = await product.post("/prices/query", json={"skus": basket})
""",
        without="""\
prices = requests.post(f"{PRODUCT_URL}/prices/query", json={"skus": basket}, timeout=2).json()
""",
    ),
}
"""By the rule's name."""
