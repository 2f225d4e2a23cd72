"""Canary secrets through every input of the shop: none may come out in a log, an answer or a health body."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from running import SHOP, SKERRY, Shop

_numbers = itertools.count(1)


class Canaries:
    """Texts that stand for secrets, each used once."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def new(self) -> str:
        self.all.append(f"c4n4ry{next(_numbers):03d}xq")
        return self.all[-1]


def test_canary_secrets_appear_nowhere(shop: Shop) -> None:
    """30 secrets in headers, tokens, cookies, keys, queries, paths, good and broken bodies: not one is repeated."""
    canaries = Canaries()
    new = canaries.new
    answers: list[httpx2.Response] = []
    line = {"sku": "LAMP-1", "quantity": 1}

    def send(method: str, path: str, **more: object) -> httpx2.Response:
        answers.append(shop.http.request(method, path, **more))  # type: ignore[arg-type]
        return answers[-1]

    headers = {
        "Authorization": f"Bearer {new()}",
        "Proxy-Authorization": f"Basic {new()}",
        "Cookie": f"session={new()}",
        "X-Api-Key": new(),
        "X-Auth-Token": new(),
        "X-Forwarded-User": new(),
        "skerry-internal": new(),
        "traceparent": new(),
        "tracestate": new(),
        "User-Agent": new(),
        "Referer": f"https://ann:{new()}@example.org/",
    }
    for token in (f"tok_{new()}", f"tok_declined_{new()}", new(), "tok_lost_reply"):
        body = {"customer_id": f"ann-{new()}", "lines": [line], "payment_token": token}
        placed = send("POST", "/api/orders", json=body, headers={**headers, "Idempotency-Key": new()})
        shop.ended(placed.json()["order_id"])
    for body in (
        {"customer_id": {"secret": new()}, "lines": [line], "payment_token": "tok_ok"},
        {"customer_id": "ann", "lines": [{"sku": new(), "quantity": 1}], "payment_token": "tok_ok"},
        {"customer_id": "ann", "lines": [{"sku": "LAMP-1", "quantity": new()}], "payment_token": "tok_ok"},
        {"customer_id": "ann", "lines": [line], "payment_token": {"token": new()}},
    ):
        assert send("POST", "/api/orders", json=body).status_code == 422
    send("POST", "/api/orders", content=f'{{"password": "{new()}"'.encode(), headers=headers)
    send("POST", "/api/orders", content=new().encode(), headers={"content-type": new()})
    send("GET", f"/api/products?token={new()}")
    send("GET", f"/api/products/NOPE?key={new()}", headers=headers)
    send("DELETE", f"/api/orders?password={new()}", headers=headers)
    send("POST", "/api/inventory/restock", json={"sku": "LAMP-1", "quantity": f"{new()}"})
    shop.command("hold", "payment")
    order = send("POST", "/api/orders", json={"customer_id": "ann", "lines": [line], "payment_token": f"tok_{new()}"})
    send("GET", f"/api/orders/{order.json()['order_id']}", headers=headers)
    shop.command("release", "payment")
    shop.ended(order.json()["order_id"])

    assert len(canaries.all) >= 30
    health = [
        httpx2.get(f"{info['url']}/health/{kind}", trust_env=False).text
        for info in shop.command("ps")["processes"]
        if info["name"] not in shop.servers
        for kind in ("live", "ready")
    ]
    seen = {f"log {file.name}": file.read_text() for file in (shop.data / "logs").iterdir()}
    seen |= {f"health {number}": text for number, text in enumerate(health)}
    seen |= {f"answer {number}": answer.text + str(answer.headers) for number, answer in enumerate(answers)}
    assert len([name for name in seen if name.startswith("log")]) == 8 + len(shop.servers)
    found = [(canary, place) for canary in canaries.all for place, text in seen.items() if canary in text]
    # a customer may see their own name in their own order, and nobody else may see it anywhere
    assert not [hit for hit in found if not hit[1].startswith("answer")], found
    assert not [hit for hit in found if '"customer_id"' not in seen[hit[1]]], found


@pytest.mark.parametrize(
    ("variable", "address"),
    [
        ("SKERRY_DATABASE", "postgresql://ann:{}@host/db"),
        ("SKERRY_DATABASE", "{}"),
        ("SKERRY_EVENTS", "nats://ann:{}@host/"),
        ("SKERRY_EVENTS", "sqlite://ann:{}@host"),
        ("SKERRY_URL_INVENTORY", "http://ann:{}@host:port/"),
        ("SKERRY_URL_PAYMENT", "ftp://ann:{}@host/"),
    ],
)
def test_an_address_with_a_password_is_not_repeated(variable: str, address: str, tmp_path: Path) -> None:
    """A service that cannot use an address says so in one line, without the address."""
    secret = Canaries().new()
    environ = {**os.environ, "SKERRY_DATA": str(tmp_path), variable: address.format(secret)}
    command = [sys.executable, "-m", "skerry.service", "order.app:service"]
    done = subprocess.run(command, cwd=SHOP, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert secret not in done.stdout + done.stderr


@pytest.mark.parametrize("line", ['database = "postgres://ann:{}@host/order"', 'database = "sqlite:{}"', 'app = "{}"'])
def test_a_system_file_with_a_secret_is_not_repeated(line: str, tmp_path: Path) -> None:
    """An error in the system file names its line, not what stands there after the scheme."""
    secret = Canaries().new()
    file = tmp_path / "skerry.toml"
    file.write_text('[system]\nname = "one"\n[services.order]\n' + line.format(secret) + "\n")
    done = subprocess.run(
        [*SKERRY, "run", "--file", str(file)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert f"{file}:" in done.stderr
    if "app" not in line:
        assert secret not in done.stdout + done.stderr
