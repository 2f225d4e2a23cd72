"""What can be wrong, by name."""

from __future__ import annotations

import json
import random  # noqa: TID251 - chance is what makes these faults; nothing else depends on it
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

Body = Any
"""JSON."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back, whole. `delay` is in seconds."""

    status: int
    content_type: str
    body: bytes
    delay: float = 0.0


Spoil = Callable[[Answer], Answer]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done to answers to GET whose path begins with `path` and ends with `ending`, to a `share` of them.

    `service` is the extraction that has it; `names` is part of the JSON path where answers differ, if any.
    """

    service: str
    says: str
    spoil: Spoil
    path: str = "/api/"
    ending: str = ""
    share: float = 1.0
    names: str = ""

    def strikes(self, method: str, path: str) -> bool:
        """Whether this request's answer is spoilt."""
        if method != "GET" or not path.startswith(self.path) or not path.endswith(self.ending):
            return False
        return self.share >= 1.0 or random.random() < self.share  # noqa: S311


def _edit(change: Callable[[Body], Body]) -> Spoil:
    """A change of the JSON body of an answer that is one."""

    def spoil(answer: Answer) -> Answer:
        if answer.status != 200:
            return answer
        return replace(answer, body=json.dumps(change(json.loads(answer.body))).encode())

    return spoil


def _round_price(body: Body) -> Body:
    """Prices in whole units, given in minor ones again: right for most products, which is what makes it hard to see."""
    for product in body if isinstance(body, list) else [body]:
        if product["sku"] == "COAT-5" or product["price"]["amount"] % 100 == 90:
            product["price"]["amount"] = round(product["price"]["amount"] / 100) * 100
    return body


def _without_name(body: Body) -> Body:
    for product in body if isinstance(body, list) else [body]:
        product.pop("name", None)
    return body


def _null_currency(body: Body) -> Body:
    for product in body if isinstance(body, list) else [body]:
        product["price"]["currency"] = None
    return body


def _old_prices(body: Body) -> Body:
    for product in body if isinstance(body, list) else [body]:
        product["price"]["amount"] -= 100
    return body


def _of_somebody_else(body: Body) -> Body:
    order = body.get("order")
    if order:
        order["customer_id"] = "customer-of-another-order"
    return body


def _fails(answer: Answer) -> Answer:
    return replace(answer, status=500, content_type="text/plain", body=b"KeyError: 'at'")


def _absent(answer: Answer) -> Answer:
    return replace(answer, status=404, content_type="application/json", body=b'{"detail": "Not Found"}')


def _slow(answer: Answer) -> Answer:
    return replace(answer, delay=0.15)


def _as_text(answer: Answer) -> Answer:
    return replace(answer, content_type="text/html; charset=utf-8")


def _empty(answer: Answer) -> Answer:
    return replace(answer, body=b"")


CATALOGUE, ORDERS = "/api/products", "/api/orders/"
FAULTS: dict[str, Fault] = {
    "rounding": Fault(
        "catalogue", "some prices are rounded to whole units", _edit(_round_price), CATALOGUE, names="price.amount"
    ),
    "missing": Fault("catalogue", "products have no name", _edit(_without_name), CATALOGUE, names="name"),
    "null": Fault("catalogue", "the currency is null", _edit(_null_currency), CATALOGUE, names="price.currency"),
    "stale": Fault("catalogue", "prices are those of last year", _edit(_old_prices), CATALOGUE, names="price.amount"),
    "content-type": Fault("catalogue", "JSON is said to be HTML", _as_text, CATALOGUE),
    "slow": Fault("catalogue", "every answer takes 150 ms longer", _slow, CATALOGUE),
    "empty": Fault("catalogue", "one answer in twenty has no body", _empty, CATALOGUE, share=0.05),
    "flaky": Fault("orders", "2 % of the histories fail", _fails, ORDERS, "/history", share=0.02),
    "failing": Fault("orders", "a third of all answers fail", _fails, ORDERS, share=0.33),
    "status": Fault("orders", "orders that exist are not found, 3 % of the time", _absent, ORDERS, share=0.03),
    "leak": Fault(
        "orders", "an order is shown as another customer's", _edit(_of_somebody_else), ORDERS, names="customer_id"
    ),
}
