"""The monolith keeps the shop's contract: the shop's own tests of it run against it, and some of what only it promises."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

# the same requests, the same answers: each of these is a test of the shop behind its gateway
from test_contract import (
    problem,
    test_a_bad_restock_is_a_problem,
    test_a_declined_order_is_cancelled_and_its_stock_put_back,
    test_a_troubled_payment_confirms_and_charges_once,
    test_an_order_is_accepted_and_ends_confirmed_with_all_its_parts,
    test_bad_input_is_a_problem_that_names_the_field,
    test_each_confirmed_order_gets_one_email,
    test_malformed_json_is_a_problem,
    test_out_of_stock_cancels_and_keeps_nothing_of_the_other_lines,
    test_restocked_goods_can_be_sold,
    test_revenue_counts_confirmed_orders_by_day_and_product,
    test_the_catalogue_shows_products_with_prices_in_minor_units,
    test_the_history_of_an_order_tells_each_change_in_its_order,
    test_the_history_shows_a_callers_own_order_when_it_is_asked_to,
    test_the_same_key_and_body_give_the_same_order,
    test_unknown_things_are_not_found,
)

if TYPE_CHECKING:
    from running import Shop

__all__ = [
    "test_a_bad_restock_is_a_problem",
    "test_a_declined_order_is_cancelled_and_its_stock_put_back",
    "test_a_troubled_payment_confirms_and_charges_once",
    "test_an_order_is_accepted_and_ends_confirmed_with_all_its_parts",
    "test_bad_input_is_a_problem_that_names_the_field",
    "test_each_confirmed_order_gets_one_email",
    "test_malformed_json_is_a_problem",
    "test_out_of_stock_cancels_and_keeps_nothing_of_the_other_lines",
    "test_restocked_goods_can_be_sold",
    "test_revenue_counts_confirmed_orders_by_day_and_product",
    "test_the_catalogue_shows_products_with_prices_in_minor_units",
    "test_the_history_of_an_order_tells_each_change_in_its_order",
    "test_the_history_shows_a_callers_own_order_when_it_is_asked_to",
    "test_the_same_key_and_body_give_the_same_order",
    "test_unknown_things_are_not_found",
]


def test_an_order_is_decided_when_its_answer_comes(shop: Shop) -> None:
    """One transaction decides it, so the first look shows its end, with every part."""
    for token, status in (("tok_ok", "confirmed"), ("tok_declined", "cancelled")):
        found = shop.http.get(shop.order(token).headers["location"]).json()
        assert found["order"]["status"] == status
        assert found["missing"] == []


def test_a_declined_order_leaves_its_reservation_released_and_no_parcel(shop: Shop) -> None:
    """As behind the gateway: the reservation is there as released, a shipment is not."""
    found = shop.http.get(shop.order("tok_declined").headers["location"]).json()
    assert found["reservation"]["state"] == "released"
    assert found["shipment"] is None


def test_the_books_add_up(shop: Shop) -> None:
    """Money, stock and parcels of all orders of this file fit each other, in the one database."""
    shop.order()
    with closing(sqlite3.connect(shop.data / "shop.db")) as database:

        def ask(sql: str) -> list[tuple[object, ...]]:
            return database.execute(sql).fetchall()

        confirmed = ask("SELECT id, amount FROM orders WHERE status = 'confirmed' ORDER BY id")
        own = "order_id <> 'elsewhere'"  # the order of another test, which is kept elsewhere
        assert (
            ask(f"SELECT order_id, sum(amount) FROM ledger WHERE {own} GROUP BY order_id ORDER BY order_id")
            == confirmed
        )
        assert ask(f"SELECT order_id FROM parcels WHERE {own} ORDER BY order_id") == [(row[0],) for row in confirmed]
        received = "SELECT sku, sum(quantity) FROM receipts_of_goods GROUP BY sku ORDER BY sku"
        kept = "SELECT sku, available + reserved + shipped AS n FROM stock WHERE n > 0 ORDER BY sku"
        assert ask(received) == ask(kept)
        assert ask("SELECT count(*) FROM orders WHERE status = 'pending'") == [(0,)]


def test_each_order_is_told_once(shop: Shop) -> None:
    """The position counts the orders that others were told; the same order again is nothing new."""
    before = shop.http.get("/positions/orders").json()["written"]
    shop.order(key="told"), shop.order(key="told"), shop.order("tok_declined")
    assert shop.http.get("/positions/orders").json() == {"written": before + 2}


def test_a_price_is_set_and_told_once(shop: Shop) -> None:
    """The next order costs what was set; setting the same again tells nothing; a product that is not there has no price."""
    before = shop.http.get("/positions/catalogue").json()["written"]
    for amount in (1000, 1000, 990):
        assert shop.http.put("/api/products/MUG-3/price", json={"amount": amount}).json()["price"]["amount"] == amount
    assert shop.http.get("/positions/catalogue").json() == {"written": before + 2}
    ordered = shop.ended(shop.order(lines=[{"sku": "MUG-3", "quantity": 2}]).json()["order_id"])
    assert ordered["order"]["total"]["amount"] == 1980
    problem(shop.http.put("/api/products/NOPE/price", json={"amount": 1}), 404, "unknown_sku")


def test_an_order_that_is_kept_elsewhere_is_fulfilled_once(shop: Shop) -> None:
    """Asked again with the same key, it has the same parcel, and the money was taken once."""
    lines = [{"sku": "ROPE-10", "quantity": 1, "amount": 1890}]
    order = {"id": "elsewhere", "customer_id": "ann", "lines": lines, "amount": 1890, "currency": "EUR"}
    asked = {"json": {"order": order, "payment_token": "tok_ok"}, "headers": {"Idempotency-Key": "elsewhere"}}
    first, again = (shop.http.post("/internal/fulfilments", **asked).json() for _ in range(2))
    assert first == again
    assert first["confirmed"]
    assert first["payment"]["status"] == "captured"
    with closing(sqlite3.connect(shop.data / "shop.db")) as database:
        taken = "SELECT count(*), sum(amount) FROM ledger WHERE order_id = 'elsewhere'"
        assert database.execute(taken).fetchall() == [(1, 1890)]


def test_its_catalogue_is_the_shops() -> None:
    """Both sell the same, so a gateway can send a request to either."""
    from ast import literal_eval
    from re import findall

    examples = Path(__file__).parents[3] / "examples"
    shop = findall(r'_product\(("[^"]+"), ("[^"]+"), (\d+)', (examples / "shop/product/models.py").read_text())
    ours = findall(
        r"\(('[^']+'), ('[^']+'), (\d+)", (examples / "monolith/shop/migrations/sqlite/0004_product.sql").read_text()
    )
    assert sorted(tuple(map(literal_eval, row)) for row in shop) == sorted(
        tuple(map(literal_eval, row)) for row in ours
    )
    assert len(ours) == 8


def test_a_wrong_address_says_so_as_a_problem(shop: Shop) -> None:
    """Even what no module answers is a problem in JSON."""
    assert json.dumps(problem(shop.http.get("/api/orders/nope"), 404, "unknown_order"))
