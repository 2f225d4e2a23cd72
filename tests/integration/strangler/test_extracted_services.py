"""What the services that leave the monolith promise: the same answers, and nothing lost when they become the owners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import pytest

if TYPE_CHECKING:
    from conftest import Parts


def placed(side: httpx2.Client, key: str | None, *, token: str = "tok_ok", sku: str = "LAMP-1") -> httpx2.Response:
    body = {"customer_id": "ann", "lines": [{"sku": sku, "quantity": 2}], "payment_token": token}
    answer = side.post("/api/orders", json=body, headers={"Idempotency-Key": key} if key else {})
    assert answer.status_code == 202, answer.text
    return answer


def alike(body: Any) -> Any:
    """Without what differs between any two answers that are problems."""
    return {name: value for name, value in body.items() if name != "trace_id"} if isinstance(body, dict) else body


@pytest.mark.parametrize(
    "path", ["/api/products", "/api/products?category=deck", "/api/products/MUG-3", "/api/products/NOPE"]
)
def test_the_catalogue_answers_as_the_monolith(parts: Parts, path: str) -> None:
    """Status, kind and body are the same, of what is there and of what is not."""
    parts.caught_up("catalogue")
    old, new = (parts.side[name].get(path) for name in ("monolith", "catalogue"))
    assert (old.status_code, old.headers["content-type"]) == (new.status_code, new.headers["content-type"])
    assert alike(old.json()) == alike(new.json())


@pytest.mark.parametrize("token", ["tok_ok", "tok_declined"])
def test_an_order_of_the_monolith_looks_the_same_at_its_new_service(parts: Parts, token: str) -> None:
    """With payment, reservation, shipment and history; at once, for what is not known yet is asked of the monolith."""
    path = placed(parts.side["monolith"], None, token=token).headers["location"]
    for below in ("", "/history"):
        old, new = (parts.side[name].get(path + below) for name in ("monolith", "orders"))
        assert old.json() == new.json()
    parts.caught_up("orders")
    for below in ("", "/history"):
        old, new = (parts.side[name].get(path + below) for name in ("monolith", "orders"))
        assert old.json() == new.json()


def test_an_order_that_nobody_has_is_not_found(parts: Parts) -> None:
    """The new service says so as the monolith does."""
    old, new = (parts.side[name].get("/api/orders/nope") for name in ("monolith", "orders"))
    assert old.status_code == new.status_code == 404
    assert alike(old.json()) == alike(new.json())


def test_a_key_of_the_monolith_gives_the_same_order_at_its_new_service(parts: Parts) -> None:
    """A customer who asks again after the hand-over gets the order that was placed before it; another body is refused."""
    before = placed(parts.side["monolith"], "kept")
    parts.caught_up("orders")
    after = placed(parts.side["orders"], "kept")
    assert after.json() == before.json()
    assert after.headers["history-after"] == before.headers["history-after"]
    body = {"customer_id": "bob", "lines": [{"sku": "LAMP-1", "quantity": 2}], "payment_token": "tok_ok"}
    assert parts.side["orders"].post("/api/orders", json=body, headers={"Idempotency-Key": "kept"}).status_code == 422


@pytest.mark.parametrize(("token", "status"), [("tok_ok", "confirmed"), ("tok_declined", "cancelled")])
def test_an_order_of_the_new_service_is_fulfilled_and_told_to_the_monolith(
    parts: Parts, token: str, status: str
) -> None:
    """It is readable at once, ends as the monolith decides, and the monolith then shows the same."""
    before = parts.side["orders"].get("/positions/orders").json()["written"]
    path = placed(parts.side["orders"], None, token=token).headers["location"]
    assert parts.side["orders"].get(path).json()["order"]["total"] == {"amount": 7900, "currency": "EUR"}
    assert parts.side["orders"].get("/positions/orders").json()["written"] == before + 1

    def told() -> Any:
        answer = parts.side["monolith"].get(path)
        return answer.json() if answer.status_code == 200 else None

    old = parts.until(told)
    assert old == parts.side["orders"].get(path).json()
    assert old["order"]["status"] == status
    histories = [parts.side[name].get(path + "/history").json() for name in ("monolith", "orders")]
    assert histories[0] == histories[1]


def test_a_price_of_the_catalogue_reaches_whoever_sells(parts: Parts) -> None:
    """Once it owns the prices and sets one, orders cost that, at the monolith and at the new service."""
    assert parts.side["catalogue"].put("/api/products/BELL-2/price", json={"amount": 5500}).status_code == 200
    assert parts.side["catalogue"].get("/positions/catalogue").json()["written"] == 1
    parts.until(lambda: parts.side["monolith"].get("/api/products/BELL-2").json()["price"]["amount"] == 5500)

    def costs(name: str) -> int:
        path = placed(parts.side[name], None, sku="BELL-2").headers["location"]
        amount: int = parts.side[name].get(path).json()["order"]["total"]["amount"]
        return amount

    assert costs("monolith") == 11000
    parts.until(lambda: costs("orders") == 11000)
