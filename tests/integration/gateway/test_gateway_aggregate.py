from __future__ import annotations

from typing import Any

import pytest
from peers import answers, blackhole, breaks_after, reply
from stage import Stage, on_stage

SPEC = """
limits: {reply: 64 KiB}
routes:
  - path: /api/orders/{order_id}
    methods: [GET]
    aggregate:
      deadline: 0.5
      parts:
        order: {service: order, path: "/orders/{order_id}", required: true}
        payment: {service: payment, path: "/payments/by-order/{order_id}"}
        shipment: {service: shipping, path: "/shipments/by-order/{order_id}"}
"""
ORDER = answers(reply(200, b'{"id":"7"}'))
PAYMENT = answers(reply(200, b'{"state":"paid"}'))
SHIPMENT = answers(reply(200, b'["parcel"]'))


def ask(path: str = "/api/orders/7", **behaviours: Any) -> Any:
    everything = {"order": ORDER, "payment": PAYMENT, "shipping": SHIPMENT} | behaviours

    async def play(stage: Stage) -> Any:
        response = await stage.client.get(path, headers={"if-none-match": "x", "authorization": "Bearer t"})
        return response, stage.peers

    return on_stage(SPEC, everything, play)


def test_all_parts_make_one_object() -> None:
    """Every part stands under its name, and nothing is missing."""
    response, peers = ask()
    assert response.status_code == 200
    assert response.json() == {
        "order": {"id": "7"},
        "payment": {"state": "paid"},
        "shipment": ["parcel"],
        "missing": [],
    }
    assert peers["payment"].requests[0].target == "/payments/by-order/7"


def test_parts_get_the_clients_credentials_but_not_its_conditions() -> None:
    """A part is asked on the client's behalf, for its own document."""
    _, peers = ask()
    headers = peers["order"].requests[0].headers
    assert headers["authorization"] == "Bearer t"
    assert "if-none-match" not in headers


def test_a_variable_stays_one_segment() -> None:
    """What a variable stands for is encoded again, so it cannot reach another path of the part's service."""
    _, peers = ask("/api/orders/a%20b%3Fc%23d;e")
    assert peers["order"].requests[0].target == "/orders/a%20b%3Fc%23d%3Be"


def test_what_is_optional_and_does_not_exist_is_null() -> None:
    """A 404 of an optional part is an answer: there is none, and nothing is missing."""
    response, _ = ask(payment=answers(reply(404)))
    assert response.json()["payment"] is None
    assert response.json()["missing"] == []


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (None, "unreachable"),
        (breaks_after(), "connection_lost"),
        (blackhole, "timed_out"),
        (answers(reply(500)), "error_500"),
        (answers(reply(503)), "error_503"),
        (answers(reply(403)), "error_403"),
        (answers(reply(200, b"<html>")), "bad_reply"),
        (answers(reply(200, bytes(70_000))), "reply_too_large"),
    ],
    ids="refused closed blackhole 500 503 403 html large".split(),  # noqa: SIM905
)
def test_what_is_optional_and_fails_is_named(behaviour: Any, reason: str) -> None:
    """A failing optional part is null and listed with a stable reason; the others arrive, within the deadline."""
    response, _ = ask(payment=behaviour)
    assert response.status_code == 200
    assert response.json() == {
        "order": {"id": "7"},
        "payment": None,
        "shipment": ["parcel"],
        "missing": [{"part": "payment", "reason": reason}],
    }
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (answers(reply(404)), (404, "error_404")),
        (answers(reply(403)), (403, "error_403")),
        (answers(reply(500)), (502, "error_500")),
        (answers(reply(200, b"<html>")), (502, "bad_reply")),
        (None, (502, "unreachable")),
        (blackhole, (504, "timed_out")),
    ],
    ids="404 403 500 html refused blackhole".split(),  # noqa: SIM905
)
def test_without_a_required_part_there_is_no_answer(behaviour: Any, expected: tuple[int, str]) -> None:
    """A failing required part makes the whole a problem."""
    response, _ = ask(order=behaviour)
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, response.json()["code"]) == expected


def test_a_missing_required_part_does_not_wait_for_the_rest() -> None:
    """The problem is told while optional parts still hang, whose calls are cancelled."""
    spec = SPEC.replace("deadline: 0.5", "deadline: 300.0").replace(
        "routes:", "defaults: {policy: {total: 300, attempt: 300}}\nroutes:"
    )

    async def play(stage: Stage) -> int:
        return (await stage.client.get("/api/orders/7")).status_code

    behaviours = {"order": answers(reply(404)), "payment": blackhole, "shipping": blackhole}
    assert on_stage(spec, behaviours, play) == 404
