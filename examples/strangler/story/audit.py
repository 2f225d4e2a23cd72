"""The books at the end, read from the databases and never through the services."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .shopping import REPRICED, Placed


@dataclass(frozen=True, slots=True)
class Line:
    """What had to be, and what is."""

    what: str
    expected: Any
    actual: Any

    @property
    def ok(self) -> bool:
        """Whether it is so."""
        return bool(self.expected == self.actual)


class Books:
    """The three databases."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def rows(self, service: str, sql: str) -> list[tuple[Any, ...]]:
        """What a query gives."""
        file = self._data / f"{service}.db"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5.0)) as database:
            return database.execute(sql).fetchall()

    def settled(self) -> bool:
        """Whether each order is decided, and known to both sides; and each price."""
        if self.rows("orders", "SELECT 1 FROM orders WHERE status = 'pending' LIMIT 1"):
            return False
        orders = [self.rows(name, "SELECT count(*) FROM orders") for name in ("orders", "shop")]
        prices = [self.rows(name, "SELECT sku, revision FROM products ORDER BY sku") for name in ("catalogue", "shop")]
        return orders[0] == orders[1] and prices[0] == prices[1]


def audit(books: Books, placed: Sequence[Placed], price: int) -> list[Line]:
    """Everything that has to add up. `price` is the last one that was set."""
    right = sorted(
        (each.order_id, each.body["customer_id"], each.amount, "confirmed" if each.confirmed else "cancelled")
        for each in placed
    )
    known = "SELECT id, customer_id, amount, status FROM orders ORDER BY id"
    confirmed = [(order_id, amount) for order_id, _, amount, status in right if status == "confirmed"]
    ledger = books.rows("shop", "SELECT order_id, sum(amount) FROM ledger GROUP BY order_id ORDER BY order_id")
    goods = _goods(placed)
    shipped = "SELECT sku, shipped FROM stock WHERE shipped > 0 ORDER BY sku"
    kept = "SELECT sku, available + reserved + shipped AS n FROM stock WHERE n > 0 ORDER BY sku"
    received = "SELECT sku, sum(quantity) FROM receipts_of_goods GROUP BY sku ORDER BY sku"
    sold = f"SELECT amount FROM products WHERE sku = '{REPRICED}'"  # noqa: S608 - ours
    by_both = [bool(books.rows("orders", f"SELECT 1 FROM orders WHERE own = {own} LIMIT 1")) for own in (0, 1)]  # noqa: S608
    return [
        Line("orders at their new service: each once, right", right, books.rows("orders", known)),
        Line("orders at the monolith: the same", right, books.rows("shop", known)),
        Line("placed before and after the hand-over", [True, True], by_both),
        Line("keys and orders", len({each.key for each in placed}), len({each.order_id for each in placed})),
        Line("money taken, of each order", confirmed, ledger),
        Line("parcels, of each order", [order_id for order_id, _ in confirmed], _parcels(books)),
        Line("goods that left", goods, books.rows("shop", shipped)),
        Line("goods that came = are there + left", books.rows("shop", received), books.rows("shop", kept)),
        Line("goods that are kept back", [(0,)], books.rows("shop", "SELECT sum(reserved) FROM stock")),
        Line("the price that was set last", [(price,)] * 2, [books.rows(n, sold)[0] for n in ("catalogue", "shop")]),
    ]


def _parcels(books: Books) -> list[str]:
    return [row[0] for row in books.rows("shop", "SELECT order_id FROM parcels ORDER BY order_id")]


def _goods(placed: Sequence[Placed]) -> list[tuple[str, int]]:
    total: dict[str, int] = {}
    for each in placed:
        for line in each.body["lines"] if each.confirmed else ():
            total[line["sku"]] = total.get(line["sku"], 0) + line["quantity"]
    return sorted(total.items())
