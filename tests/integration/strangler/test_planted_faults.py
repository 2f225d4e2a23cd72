"""The faults that the story plants: each spoils what it says, nothing else, and writes down each answer that it has spoilt."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "strangler"))

from faults import FAULTS, Faulty, choose, injected

PRODUCT = {"sku": "COAT-5", "name": "Oilskin coat", "price": {"amount": 12990, "currency": "EUR"}}
ORDER = {"order": {"order_id": "1", "customer_id": "ann"}}


async def right(scope: Any, receive: Any, send: Any) -> None:
    """An application that is as it should be."""
    body = json.dumps(PRODUCT if "products" in scope["path"] else ORDER).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def asked(
    app: Faulty, path: str, *, method: str = "GET", times: int = 1
) -> list[tuple[int, dict[bytes, bytes], bytes]]:
    """What it answers to so many requests; their ids count from 0."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def all_of_them() -> None:
        for number in range(times):
            headers = [(b"x-request-id", str(number).encode())]
            await app({"type": "http", "method": method, "path": path, "headers": headers}, None, send)

    asyncio.run(all_of_them())
    return [
        (start["status"], dict(start["headers"]), body["body"])
        for start, body in zip(sent[::2], sent[1::2], strict=True)
    ]


def path_of(name: str) -> str:
    fault = FAULTS[name]
    return fault.path.rstrip("/") + "/COAT-5" + fault.ending


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKERRY_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_fault_spoils_answers_and_writes_each_of_them_down(data: Path, name: str) -> None:
    """Of many answers those that are not right are those that are written down, by the client's name of the request."""
    fault = FAULTS[name]
    choose(data, fault.service, name)
    app = Faulty(right, name=fault.service)
    times = 1 if fault.share == 1.0 else 400
    before = asked(Faulty(right, name="another"), path_of(name))[0]
    answers = asked(app, path_of(name), times=times)
    written = {request for request, told in injected(data, fault.service) if told == name}
    assert written
    if name != "slow":
        assert written == {str(number) for number, answer in enumerate(answers) if answer != before}
    for _, headers, body in answers:
        assert headers[b"content-length"] == b"%d" % len(body)


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_fault_spoils_nothing_else(data: Path, name: str) -> None:
    """Unsafe requests, other paths, other services, and everything once it is taken away stay right."""
    fault = FAULTS[name]
    choose(data, fault.service, name)
    app = Faulty(right, name=fault.service)
    asked(app, path_of(name), method="POST", times=100)
    asked(app, "/positions/orders", times=100)
    choose(data, fault.service, "")
    asked(app, path_of(name), times=100)
    assert injected(data, fault.service) == []


def test_an_environment_variable_chooses_too(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`FAULT_NAME` of a service; what the data folder says goes before it."""
    monkeypatch.setenv("FAULT_CATALOGUE", "null")
    app = Faulty(right, name="catalogue")
    assert json.loads(asked(app, "/api/products/COAT-5")[0][2])["price"]["currency"] is None
    choose(data, "catalogue", "")
    assert json.loads(asked(app, "/api/products/COAT-5")[0][2]) == PRODUCT


def test_a_fault_that_nobody_knows_is_refused(data: Path) -> None:
    """The message names those that there are."""
    with pytest.raises(ValueError, match="rounding"):
        choose(data, "catalogue", "nope")
