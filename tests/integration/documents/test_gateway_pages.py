"""The files on the pages about the gateway, served by a real gateway and asked as the pages say."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from gateway_processes import Running, running
from pages import Block, runs

from skerry.clock import SYSTEM

Answer = tuple[int, dict[str, list[str]], bytes]


@contextmanager
def service(answer: Callable[[str, Any], tuple[int, bytes]]) -> Iterator[str]:
    """A service that answers GET with what `answer` makes of the target and the headers; its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = answer(self.path, self.headers)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("access-control-allow-origin", "*")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(gateway: Running, path: str, method: str = "GET", **headers: str) -> Answer:
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    reply = connection.getresponse()
    told: dict[str, list[str]] = {}
    for name, value in reply.getheaders():
        told.setdefault(name.lower(), []).append(value)
    body = reply.read()
    connection.close()
    return reply.status, told, body


@runs("docs/how-to/put-answers-together.md", "yaml", "json")
def test_answers_are_put_together_as_the_page_shows(
    shown: list[Block], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway of the page's file gives the page's answer while shipping is down."""
    spec, wanted = shown
    (tmp_path / "gateway.yaml").write_text(spec.text)
    order = {"id": 42, "total": 95.0, "customer": {"name": "Ada", "mail": "ada@shop.example"}, "internal": True}
    asked: list[str] = []

    def orders(target: str, headers: Any) -> tuple[int, bytes]:
        asked.append(target)
        return 200, json.dumps(order).encode()

    def payments(target: str, headers: Any) -> tuple[int, bytes]:
        asked.append(target)
        return 200, b'{"state": "paid"}'

    with service(orders) as first, service(payments) as second:
        monkeypatch.setenv("SKERRY_URL_ORDER", first)
        monkeypatch.setenv("SKERRY_URL_PAYMENT", second)
        monkeypatch.setenv("SKERRY_URL_SHIPPING", "http://127.0.0.1:9")
        with running([tmp_path / "gateway.yaml"]) as gateway:
            status, headers, body = ask(gateway, "/pages/orders/42?admin=true")
    assert (status, headers["cache-control"]) == (200, ["no-store"])
    assert json.loads(body) == json.loads(wanted.text)
    assert list(json.loads(body)["order"]) == list(json.loads(wanted.text)["order"])
    assert sorted(asked) == ["/orders/42", "/payments?order=42"]


@runs("docs/how-to/protect-a-route.md", "yaml")
def test_a_route_is_protected_as_the_page_says(
    shown: list[Block], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens, claims, CORS, rates and compression, each by a request to a real gateway with the page's file."""
    [spec] = shown
    (tmp_path / "gateway.yaml").write_text(spec.text)
    key = ec.generate_private_key(ec.SECP256R1())
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [{**public, "kid": "k"}]}))

    def bearer(subject: str, scope: str = "orders") -> str:
        claims = {
            "iss": "https://accounts.example",
            "aud": "shop",
            "sub": subject,
            "exp": SYSTEM.now() + 600,
            "scope": scope,
        }
        return "Bearer " + jwt.encode(claims, key, algorithm="ES256", headers={"kid": "k"})

    def who(target: str, headers: Any) -> tuple[int, bytes]:
        return 200, json.dumps({"user": headers.get_all("x-user-id"), "padding": "x" * 2000}).encode()

    with service(who) as address:
        monkeypatch.setenv("SKERRY_URL_ORDER", address)
        monkeypatch.setenv("SKERRY_URL_PRODUCT", address)
        with running([tmp_path / "gateway.yaml"]) as gateway:
            tokens(gateway, bearer)
            pages_of_others(gateway, bearer)
            answers_get_smaller(gateway, bearer)
            rates(gateway, bearer)
            guesses(gateway)


def tokens(gateway: Running, bearer: Callable[..., str]) -> None:
    status, headers, _ = ask(gateway, "/api/orders")
    assert (status, headers["www-authenticate"]) == (401, ['Bearer realm="gateway"'])
    for path in ("/api/orders", "/api/products"):
        status, headers, _ = ask(gateway, path, Authorization="Bearer a.b.c")
        assert (status, headers["www-authenticate"]) == (401, ['Bearer realm="gateway", error="invalid_token"'])
    status, headers, _ = ask(gateway, "/api/orders", Authorization=bearer("ada", "other"))
    assert status == 403
    assert 'scope="orders"' in headers["www-authenticate"][0]
    status, _, body = ask(gateway, "/api/orders", Authorization=bearer("ada"), X_User_Id="root")
    assert (status, json.loads(body)["user"]) == (200, ["ada"])
    status, _, body = ask(gateway, "/api/products", X_User_Id="root")
    assert (status, json.loads(body)["user"]) == (200, None)


def pages_of_others(gateway: Running, bearer: Callable[..., str]) -> None:
    own = {"Origin": "https://shop.example", "Access_Control_Request_Method": "POST"}
    status, headers, _ = ask(gateway, "/api/orders", "OPTIONS", **own)
    assert (status, headers["access-control-allow-origin"]) == (204, ["https://shop.example"])
    assert headers["access-control-allow-headers"] == ["Authorization"]
    status, headers, _ = ask(gateway, "/api/orders", Origin="https://shop.example")
    assert (status, headers["access-control-allow-origin"]) == (401, ["https://shop.example"])
    _, headers, _ = ask(gateway, "/api/orders", Origin="https://evil.example", Authorization=bearer("eve"))
    assert "access-control-allow-origin" not in headers


def answers_get_smaller(gateway: Running, bearer: Callable[..., str]) -> None:
    status, headers, body = ask(gateway, "/api/orders", Authorization=bearer("zip"), Accept_Encoding="gzip")
    assert (status, headers["content-encoding"]) == (200, ["gzip"])
    assert json.loads(gzip.decompress(body))["user"] == ["zip"]
    assert "Accept-Encoding" in ", ".join(headers["vary"])
    _, headers, _ = ask(gateway, "/api/orders", Authorization=bearer("zip"))
    assert "content-encoding" not in headers
    assert "Accept-Encoding" in ", ".join(headers["vary"])


def rates(gateway: Running, bearer: Callable[..., str]) -> None:
    statuses = [ask(gateway, "/api/orders", Authorization=bearer("bob"))[0] for _ in range(6)]
    assert statuses == [200] * 5 + [429]
    status, headers, _ = ask(gateway, "/api/orders", Authorization=bearer("bob"))
    assert status == 429
    assert 1 <= int(headers["retry-after"][0]) <= 12
    assert ask(gateway, "/api/orders", Authorization=bearer("cy"))[0] == 200


def guesses(gateway: Running) -> None:
    statuses = {ask(gateway, "/api/orders", Authorization="Bearer a.b.c")[0] for _ in range(6)}
    assert statuses <= {401, 429}
    assert ask(gateway, "/api/orders", Authorization="Bearer a.b.c")[0] == 429
