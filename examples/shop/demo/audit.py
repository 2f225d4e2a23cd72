"""The audit: do money, stock, parcels, e-mails, statistics and histories agree with the orders, to the last unit?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .books import Books
from .mix import Plan

Counts = tuple[int, int]
"""Revenue and number of orders."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the audit. `ok` also looks at each order and product, not only at the totals shown."""

    expected: int
    actual: int
    ok: bool


@dataclass(frozen=True, slots=True)
class Audit:
    """What the books say. Money is in minor units, stock in pieces, the rest in pieces of paper.

    `wrong` counts orders that did not come out as their plan says: not placed, confirmed although declined or out of stock,
    not confirmed although neither, or with another total. `facts` is None where no column store is kept.
    """

    placed: int
    statuses: Mapping[str, int]
    money: Line
    stock: Line
    parcels: Line
    emails: Line
    analytics: Line
    history: Line
    facts: Line | None
    events_lost: int
    events_twice: int
    wrong: int

    @property
    def ok(self) -> bool:
        """Whether all of it is exact."""
        lines = (self.money, self.stock, self.parcels, self.emails, self.analytics, self.history, self.facts)
        exact = all(line is None or line.ok for line in lines)
        return self.events_lost == self.events_twice == self.wrong == 0 and exact

    def as_json(self) -> dict[str, Any]:
        """The audit as the report prints it."""
        names = ("money", "stock", "parcels", "emails", "analytics", "history", "facts")
        lines = {name: asdict(line) for name in names if (line := getattr(self, name)) is not None}
        return {**lines, "events_lost": self.events_lost, "events_twice": self.events_twice}


def audit(
    books: Books,
    plans: Sequence[Plan],
    placed: Mapping[str, str],
    prices: Mapping[str, int],
    facts: Mapping[str, Counts] | None = None,
) -> Audit:
    """Compare every book with the orders, and the orders with the plan. `facts`: what the column store says, if there is one."""
    orders = {row["id"]: row for row in books.rows("order", "SELECT id, status, amount, lines FROM orders")}
    confirmed = {identifier: row for identifier, row in orders.items() if row["status"] == "confirmed"}
    wanted = {placed[plan.key]: plan for plan in plans if plan.confirmed and plan.key in placed}
    wrong_total = [i for i, plan in wanted.items() if i in orders and orders[i]["amount"] != plan.value(prices)]
    not_placed = abs(len(plans) - len(orders)) + len(plans) - len(placed)
    stuck = books.number("order", "SELECT count(*) FROM skerry_sagas WHERE status = 'stuck'")
    counts = Counter(row["status"] for row in orders.values())
    undecided = counts["pending"] + books.open_sagas()
    return Audit(
        placed=len(orders),
        statuses={"confirmed": counts["confirmed"], "cancelled": counts["cancelled"], "stuck": stuck},
        money=_money(books, confirmed),
        stock=_stock(books),
        parcels=_parcels(books, confirmed),
        emails=_emails(books, confirmed),
        analytics=_revenue(confirmed, _counted(books)),
        history=_history(books, orders),
        facts=None if facts is None else _revenue(confirmed, facts),
        events_lost=books.unsent() + books.unhandled() + _untold(books, orders),
        events_twice=_twice(books, confirmed),
        wrong=not_placed + undecided + len(wrong_total) + len(set(confirmed) ^ set(wanted)),
    )


def _money(books: Books, confirmed: Mapping[str, Any]) -> Line:
    """Captured minus refunded, in all and per order."""
    sql = "SELECT order_id, sum(amount) FROM ledger GROUP BY order_id HAVING sum(amount) <> 0"
    taken = {row[0]: row[1] for row in books.rows("payment", sql)}
    due = {identifier: row["amount"] for identifier, row in confirmed.items()}
    return Line(sum(due.values()), sum(taken.values()), taken == due)


def _stock(books: Books) -> Line:
    """What left the stock, against what is in the parcels; and nothing kept for orders that are decided."""
    sql = """
        SELECT sku, (SELECT coalesce(sum(quantity), 0) FROM receipts_of_goods AS r WHERE r.sku = stock.sku)
                    - available - reserved AS out, reserved, shipped FROM stock
    """
    rows = books.rows("inventory", sql)
    packed = {row[0]: row[1] for row in books.rows("shipping", "SELECT sku, sum(quantity) FROM contents GROUP BY sku")}
    out = {row["sku"]: row["out"] for row in rows if row["out"]}
    exact = out == packed and all(row["reserved"] == 0 and row["out"] == row["shipped"] for row in rows)
    return Line(sum(packed.values()), sum(out.values()), exact)


def _parcels(books: Books, confirmed: Mapping[str, Any]) -> Line:
    """One parcel per confirmed order, with just what was ordered."""
    packed: dict[str, list[tuple[str, int]]] = {}
    sql = "SELECT p.order_id, c.sku, c.quantity FROM parcels AS p JOIN contents AS c ON c.parcel_id = p.id"
    for row in books.rows("shipping", sql):
        packed.setdefault(row[0], []).append((row[1], row[2]))
    ordered = {
        identifier: sorted((line["sku"], line["quantity"]) for line in json.loads(row["lines"]))
        for identifier, row in confirmed.items()
    }
    count = books.number("shipping", "SELECT count(*) FROM parcels")
    return Line(len(confirmed), count, count == len(confirmed) and {i: sorted(c) for i, c in packed.items()} == ordered)


def _emails(books: Books, confirmed: Mapping[str, Any]) -> Line:
    """One e-mail per confirmed order, as a file and in the book of what was sent."""
    files = sorted(books.emails())
    sent = sorted(row[0] for row in books.rows("notification", "SELECT order_id FROM sent WHERE channel = 'email'"))
    return Line(len(confirmed), len(files), files == sent == sorted(confirmed))


def _sold(confirmed: Mapping[str, Any]) -> dict[str, Counts]:
    sold: dict[str, Counts] = {}
    for row in confirmed.values():
        for line in json.loads(row["lines"]):
            amount, orders = sold.get(line["sku"], (0, 0))
            sold[line["sku"]] = (amount + line["amount"], orders + 1)
    return sold


def _counted(books: Books) -> dict[str, Counts]:
    table = books.table("analytics", "revenue", "sums")
    rows = books.rows("analytics", f"SELECT sku, sum(amount), sum(orders) FROM {table} GROUP BY sku")  # noqa: S608
    return {row[0]: (row[1], row[2]) for row in rows}


def _revenue(confirmed: Mapping[str, Any], counted: Mapping[str, Counts]) -> Line:
    """Revenue and orders per product."""
    sold = _sold(confirmed)
    return Line(sum(s[0] for s in sold.values()), sum(c[0] for c in counted.values()), sold == counted)


def _history(books: Books, orders: Mapping[str, Any]) -> Line:
    """Every change of every order, and no other, in the view that was made of events."""
    shown: dict[str, list[str]] = {}
    table = books.table("order", "history", "changes")
    for row in books.rows("order", f"SELECT order_id, state FROM {table} ORDER BY order_id, place"):  # noqa: S608
        shown.setdefault(row[0], []).append(row[1])
    sent = {row[0] for row in books.rows("shipping", "SELECT order_id FROM parcels")}
    happened = {
        identifier: ["placed", *(["dispatched"] if identifier in sent else []), row["status"]]
        for identifier, row in orders.items()
    }
    expected, actual = (sum(map(len, changes.values())) for changes in (happened, shown))
    return Line(expected, actual, shown == happened)


def _untold(books: Books, orders: Mapping[str, Any]) -> int:
    """Changes of state that no event in the log tells of."""
    told = Counter(books.events().values())
    changes = {
        "shop.order.placed": len(orders),
        "shop.order.confirmed": sum(row["status"] == "confirmed" for row in orders.values()),
        "shop.order.cancelled": sum(row["status"] == "cancelled" for row in orders.values()),
        "shop.parcel.dispatched": books.number("shipping", "SELECT count(*) FROM parcels"),
    }
    return sum(max(0, count - told[kind]) for kind, count in changes.items())


def _twice(books: Books, confirmed: Mapping[str, Any]) -> int:
    """Effects of events beyond one each: orders that statistics, stock or the post counted more than once."""
    sold, counted = _sold(confirmed), _counted(books)
    surplus = sum(max(0, orders - sold.get(sku, (0, 0))[1]) for sku, (_, orders) in counted.items())
    sql = "SELECT count(*) - count(DISTINCT order_id) FROM sent WHERE channel = 'email'"
    told = Counter(books.events().values())
    repeated = max(0, told["shop.order.confirmed"] - len(confirmed))
    return surplus + repeated + books.number("notification", sql)
