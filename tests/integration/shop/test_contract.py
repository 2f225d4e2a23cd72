"""The shop's contract through its gateway, as a client that knows nothing of its inside sees it."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from running import Shop


def problem(response: httpx2.Response, status: int, code: str = "") -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert {"type", "title", "detail"} <= body.keys()
    assert "Traceback" not in response.text
    if code:
        assert body["code"] == code
    return body


def test_the_catalogue_shows_products_with_prices_in_minor_units(shop: Shop) -> None:
    """Products come as {sku, name, price: {amount, currency}}, alone and in the list."""
    products = shop.http.get("/api/products").json()
    assert len(products) >= 5
    for product in products:
        assert product.keys() == {"sku", "name", "price"}
        assert type(product["price"]["amount"]) is int
        assert shop.http.get(f"/api/products/{product['sku']}").json() == product
    problem(shop.http.get("/api/products/NOPE"), 404)


def test_an_order_is_accepted_and_ends_confirmed_with_all_its_parts(shop: Shop) -> None:
    """202 with Location; then payment, reservation and shipment appear and nothing is missing."""
    response = shop.order()
    assert response.status_code == 202
    order_id = response.json()["order_id"]
    assert response.json() == {"order_id": order_id, "status": "pending"}
    assert response.headers["location"] == f"/api/orders/{order_id}"
    found = shop.ended(order_id)
    assert found["order"]["status"] == "confirmed"
    assert found["missing"] == []
    assert found["payment"]["status"] == "captured"
    assert found["payment"]["amount"] == found["order"]["total"]["amount"]
    assert found["shipment"]["lines"] == [{"sku": "LAMP-1", "quantity": 2}]
    assert found["reservation"]["lines"] == [{"sku": "LAMP-1", "quantity": 2}]


def test_the_same_key_and_body_give_the_same_order(shop: Shop) -> None:
    """A repeated request is answered with the first order; with another body it is 422."""
    first, again = shop.order(key="same"), shop.order(key="same")
    assert first.json() == again.json()
    assert again.status_code == 202
    problem(shop.order(key="same", lines=[{"sku": "BELL-2", "quantity": 1}]), 422, "key_reused")


def test_a_declined_order_is_cancelled_and_its_stock_put_back(shop: Shop) -> None:
    """Declined: cancelled, nothing captured, nothing kept."""
    before = shop.http.get("/api/inventory/COAT-5").json()
    found = shop.ended(shop.order("tok_declined", [{"sku": "COAT-5", "quantity": 3}]).json()["order_id"])
    assert found["order"]["status"] == "cancelled"
    assert found["payment"]["status"] == "declined"
    assert shop.http.get("/api/inventory/COAT-5").json() == before


def test_out_of_stock_cancels_and_keeps_nothing_of_the_other_lines(shop: Shop) -> None:
    """One line that cannot be had undoes the whole order."""
    before = shop.http.get("/api/inventory/BELL-2").json()
    lines = [{"sku": "BELL-2", "quantity": 1}, {"sku": "LIMITED-1", "quantity": 1}]
    found = shop.ended(shop.order(lines=lines).json()["order_id"])
    assert found["order"]["status"] == "cancelled"
    assert found["payment"] is None
    assert found["missing"] == []
    assert shop.http.get("/api/inventory/BELL-2").json() == before


def test_restocked_goods_can_be_sold(shop: Shop) -> None:
    """Stock is real: after a restock the same order is confirmed, and then the stock is gone again."""
    restocked = shop.http.post("/api/inventory/restock", json={"sku": "LIMITED-1", "quantity": 2})
    assert restocked.json() == {"sku": "LIMITED-1", "available": 2, "reserved": 0}
    found = shop.ended(shop.order(lines=[{"sku": "LIMITED-1", "quantity": 2}]).json()["order_id"])
    assert found["order"]["status"] == "confirmed"
    left = {"sku": "LIMITED-1", "available": 0, "reserved": 0}
    shop.until(lambda: shop.http.get("/api/inventory/LIMITED-1").json() == left)


@pytest.mark.parametrize("token", ["tok_lost_reply", "tok_slow"])
def test_a_troubled_payment_confirms_and_charges_once(shop: Shop, token: str) -> None:
    """A lost reply and a slow one cost neither the order nor a second charge."""
    found = shop.ended(shop.order(token).json()["order_id"])
    assert found["order"]["status"] == "confirmed"
    assert found["payment"]["status"] == "captured"


def test_revenue_counts_confirmed_orders_by_day_and_product(shop: Shop) -> None:
    """Analytics catches up with each confirmed order, by UTC day."""

    def mugs() -> dict[str, Any]:
        rows = shop.http.get("/api/analytics/revenue").json()
        today = datetime.now(UTC).date().isoformat()
        found = [row for row in rows if row["sku"] == "MUG-3" and row["day"] == today]
        return found[0] if found else {"amount": 0, "orders": 0}

    before = mugs()
    shop.ended(shop.order(lines=[{"sku": "MUG-3", "quantity": 4}]).json()["order_id"])
    shop.until(lambda: mugs()["amount"] == before["amount"] + 4 * 990 and mugs()["orders"] == before["orders"] + 1)
    assert mugs().keys() == {"day", "sku", "amount", "currency", "orders"}


def test_the_history_of_an_order_tells_each_change_in_its_order(shop: Shop) -> None:
    """Placed, dispatched, confirmed; or placed, cancelled: made of events of two services, each with its own time."""

    def states(order_id: str) -> list[str]:
        changes = shop.http.get(f"/api/orders/{order_id}/history").json()["changes"]
        assert all(datetime.fromisoformat(change["at"]).tzinfo == UTC for change in changes)
        return [change["state"] for change in changes]

    for token, expected in (
        ("tok_ok", ["placed", "dispatched", "confirmed"]),
        ("tok_declined", ["placed", "cancelled"]),
    ):
        order_id = shop.order(token).json()["order_id"]
        shop.ended(order_id)
        shop.until(lambda order_id=order_id, expected=expected: states(order_id) == expected)
    problem(shop.http.get("/api/orders/nope/history"), 404, "unknown_order")


def test_the_history_shows_a_callers_own_order_when_it_is_asked_to(shop: Shop) -> None:
    """With `after` from the answer to the order, the very next read shows it; an event that is not there is 409."""
    for _ in range(5):
        placed = shop.order(key="")
        after = placed.headers["history-after"]
        found = shop.http.get(f"{placed.headers['location']}/history", params={"after": after})
        assert found.status_code == 200, found.text
        assert found.json()["changes"][0]["state"] == "placed"
    again = shop.order(key="history"), shop.order(key="history")
    assert again[0].headers["history-after"] == again[1].headers["history-after"]
    address = f"{placed.headers['location']}/history"
    nobodys = shop.http.get(address, params={"after": "00000000-0000-0000-0000-000000000000"})
    assert problem(nobodys, 409, "behind")
    assert nobodys.headers["retry-after"] == "1"
    problem(shop.http.get(address, params={"after": "' OR 1=1"}), 422)


def test_each_confirmed_order_gets_one_email(shop: Shop) -> None:
    """E-mails are files in the notification service's own folder."""
    order_id = shop.order().json()["order_id"]
    assert shop.ended(order_id)["order"]["status"] == "confirmed"
    shop.until((shop.data / "notification" / "email" / f"{order_id}.txt").is_file)
    assert len(list((shop.data / "notification" / "email").glob(f"*{order_id}*"))) == 1


BAD_ORDERS = [
    ({"customer_id": "ann", "payment_token": "tok_ok"}, "lines"),
    ({"customer_id": "ann", "lines": [], "payment_token": "tok_ok"}, "lines"),
    ({"customer_id": "", "lines": [{"sku": "LAMP-1", "quantity": 1}], "payment_token": "tok_ok"}, "customer_id"),
    ({"customer_id": 7, "lines": [{"sku": "LAMP-1", "quantity": 1}], "payment_token": "tok_ok"}, "customer_id"),
    ({"customer_id": "ann", "lines": [{"sku": "LAMP-1", "quantity": 1}]}, "payment_token"),
    *[
        ({"customer_id": "ann", "lines": [{"sku": "LAMP-1", "quantity": bad}], "payment_token": "tok_ok"}, "quantity")
        for bad in (0, -1, 10**9, 10**30, 1.5, "2", True, None, [1])
    ],
    *[
        ({"customer_id": "ann", "lines": [{"sku": bad, "quantity": 1}], "payment_token": "tok_ok"}, "sku")
        for bad in ("NO-SUCH", "", "../x", "lamp", 5, None)
    ],
    ([], "body"),
    ("text", "body"),
    (None, "body"),
]


@pytest.mark.parametrize(("body", "field"), BAD_ORDERS)
def test_bad_input_is_a_problem_that_names_the_field(shop: Shop, body: Any, field: str) -> None:
    """Invalid orders are 422 with the field's name, and leave no order behind."""
    found = problem(shop.http.post("/api/orders", json=body), 422)
    assert field in found["detail"]


@pytest.mark.parametrize("raw", [b"{", b"", b"\xff\xfe", b'{"a":' * 5000, b"[" * 100_000, b"nul", b'{"a": NaN}'])
def test_malformed_json_is_a_problem(shop: Shop, raw: bytes) -> None:
    """Whatever the bytes: a 4xx problem, no stack trace."""
    response = shop.http.post("/api/orders", content=raw, headers={"content-type": "application/json"})
    assert response.status_code in {400, 413, 422}, response.text
    problem(response, response.status_code)


def test_a_huge_body_is_refused(shop: Shop) -> None:
    """50 MB are answered 413 without being taken in, and the shop goes on."""
    try:
        response = shop.http.post(
            "/api/orders", content=b"x" * 50_000_000, headers={"content-type": "application/json"}
        )
    except httpx2.WriteError:
        pass  # it hung up while we were still sending
    else:
        problem(response, 413)
    assert shop.http.get("/api/products").status_code == 200


@pytest.mark.parametrize("body", [{"sku": "LAMP-1", "quantity": 0}, {"sku": "LAMP-1"}, {"quantity": 1}, []])
def test_a_bad_restock_is_a_problem(shop: Shop, body: Any) -> None:
    """Restocking is checked like ordering."""
    problem(shop.http.post("/api/inventory/restock", json=body), 422)


def test_unknown_things_are_not_found(shop: Shop) -> None:
    """Unknown orders, products and paths are 404 problems, and so is a method that no route takes, or 405."""
    for path in ("/api/orders/nope", "/api/inventory/NOPE", "/api/nope", "/", "/api/orders/%2e%2e/x"):
        response = shop.http.get(path)
        assert response.status_code in {400, 404}, path
        problem(response, response.status_code)
    problem(shop.http.post("/api/inventory/restock", json={"sku": "NOPE", "quantity": 1}), 404)
    response = shop.http.request("DELETE", "/api/orders")
    problem(response, 404 if response.status_code == 404 else 405)


def test_the_processes_are_shown_as_promised(shop: Shop) -> None:
    """`skerry ps -o json` has a sentence, and name, pid, state, ready, url, restarts, since and why it ended of each process."""
    told = shop.command("ps")
    assert told["name"] == "shop"
    assert told["sentence"].startswith("All 7 services are healthy")
    shown = told["processes"]
    assert [info["name"] for info in shown] == [
        *shop.servers,
        "order", "payment", "inventory", "shipping", "notification", "product", "analytics", "gateway",
    ]  # fmt: skip
    for info in shown:
        assert info.keys() == {"name", "pid", "state", "ready", "url", "restarts", "since", "reason", "retry_in"}
        assert info["ready"] is True
        if info["name"] in shop.servers:
            assert info["url"].startswith(f"{info['name']}://127.0.0.1:")
            continue
        for kind in ("live", "ready"):
            health = httpx2.get(f"{info['url']}/health/{kind}", trust_env=False)
            assert health.status_code == 200
            assert health.headers["content-type"].startswith("application/health+json")
            assert health.json()["status"] == "pass"


def test_an_unreachable_optional_part_is_named(shop: Shop) -> None:
    """While payment is down the order is still shown, with payment null and listed in missing."""
    order_id = shop.order().json()["order_id"]
    shop.ended(order_id)
    shop.command("hold", "payment")
    found = shop.http.get(f"/api/orders/{order_id}").json()
    assert found["payment"] is None
    assert [part["part"] for part in found["missing"]] == ["payment"]
    assert found["missing"][0]["reason"]
    assert found["order"]["status"] == "confirmed"
    waiting = shop.order().json()["order_id"]
    shop.command("release", "payment")
    assert shop.ended(waiting)["order"]["status"] == "confirmed"


def test_a_gone_required_part_is_a_problem_and_orders_survive_the_kill(shop: Shop) -> None:
    """While order is down its orders are 502 to 504; afterwards each is there and comes to its end."""
    ids = [shop.order().json()["order_id"] for _ in range(5)]
    shop.command("hold", "order")
    response = shop.http.get(f"/api/orders/{ids[0]}")
    assert response.status_code in {502, 504}
    problem(response, response.status_code)
    problem(shop.order(key="later"), shop.order(key="later").status_code)
    shop.command("release", "order")
    assert {shop.ended(order_id)["order"]["status"] for order_id in ids} == {"confirmed"}
    placed = shop.until(lambda: (r := shop.order(key="later")).status_code == 202 and r)
    assert shop.ended(placed.json()["order_id"])["order"]["status"] == "confirmed"


def test_a_crashed_process_comes_back(shop: Shop) -> None:
    """A service that is killed is started again on the same address, and counted."""
    before = next(info for info in shop.command("ps")["processes"] if info["name"] == "product")
    os.kill(before["pid"], signal.SIGKILL)

    def back() -> dict[str, Any] | None:
        info = next(info for info in shop.command("ps")["processes"] if info["name"] == "product")
        return info if info["ready"] and info["pid"] != before["pid"] else None

    after = shop.until(back)
    assert after["url"] == before["url"]
    assert after["restarts"] == before["restarts"] + 1
