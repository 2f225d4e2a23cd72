"""What is not one request and one answer: tunnels, events, bodies that stream; and an upstream that stops."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.gateway.gateway_processes import ENGINES, Engine, Running, running
from tests.integration.gateway.raw_backends import Backend, Script, serving
from tests.integration.gateway.raw_client import ask, request

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.param


@contextmanager
def staged(
    folder: Path, engine: Engine, others: Mapping[str, str] | None = None, policy: Mapping[str, float] | None = None
) -> Iterator[tuple[Running, Backend]]:
    """A gateway before `v1`, and before services at other addresses, each under its name."""
    with serving("v1") as backends:
        urls = {"v1": f"http://{backends['v1'].address}", **(others or {})}
        policy = {"retry": False, **(policy or {"total": 60.0, "attempt": 30.0})}
        spec: dict[str, Any] = {
            "services": {name: {"url": url} for name, url in urls.items()},
            "limits": {"body": 200 * 1024 * 1024},
            "access_log": False,
            "routes": [{"path": f"/{name}", "service": name, "policy": policy} for name in urls],
        }
        file = folder / "gateway.yaml"
        file.write_text(json.dumps(spec))
        with running([file], engine=engine) as gateway:
            yield gateway, backends["v1"]


def test_a_websocket_is_a_tunnel(tmp_path: Path, engine: Engine) -> None:
    """After 101 bytes pass both ways as they are, whatever they look like, and the end of one side is the end of the other."""
    upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "x" * 22 + "=="),
    ]
    with staged(tmp_path, engine) as (gateway, backend), gateway.connect() as connection:
        connection.send(request("GET", "/v1/ws", upgrade))
        assert connection.read().status == 101
        for piece in (b"\x81\x02hi", b"GET / HTTP/1.1\r\n\r\n", b"x" * 200_000):
            connection.send(piece)
            assert connection.receive(len(piece)) == piece
        assert [seen.path for seen in backend.seen] == ["/v1/ws"]
        connection.finish()
        assert connection.closes(10.0)


def test_an_event_arrives_before_the_answer_ends(tmp_path: Path, engine: Engine) -> None:
    """Server-sent events are not kept until there are more of them."""
    event = b"data: first\n\n"
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    with staged(tmp_path, engine) as (gateway, backend), gateway.connect() as connection:
        backend.reset(Script(raw=answer + b"%x\r\n%b\r\n" % (len(event), event)))
        connection.send(request("GET", "/v1/events", [("Accept", "text/event-stream")]))
        head = connection.read_interim()
        assert (head.status, head.value("content-type")) == (200, "text/event-stream")
        assert connection.receive(3 + len(event)).endswith(event)


def test_large_bodies_pass_whole_both_ways(tmp_path: Path, engine: Engine) -> None:
    """Twenty mebibytes go up, with a length and in chunks, and down, and not a byte is lost or added."""
    body = os.urandom(1024) * 20 * 1024
    with staged(tmp_path, engine) as (gateway, backend):
        assert ask(gateway.port, "/v1/up", method="POST", body=body).json()["length"] == len(body)
        with gateway.connect() as connection:
            connection.send(b"POST /v1/chunks HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
            for begin in range(0, len(body), 100_000):
                piece = body[begin : begin + 100_000]
                connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            connection.send(b"0\r\n\r\n")
            assert connection.read().json()["length"] == len(body)
        assert [seen.body for seen in backend.seen] == [body, body]
        assert ask(gateway.port, f"/v1/down?size={len(body)}").body == b"x" * len(body)


def test_an_upstream_that_stops_takes_no_other_route_along(tmp_path: Path, engine: Engine) -> None:
    """While one service's process is stopped all requests to another are answered, those to it end, and it comes back."""
    command = [sys.executable, "-m", "tests.integration.gateway.raw_backends", "v2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        address = f"http://127.0.0.1:{int(process.stdout.readline())}"
        stage = staged(tmp_path, engine, {"v2": address}, {"total": 2.0, "attempt": 0.5})
        with stage as (gateway, backend), ThreadPoolExecutor(40) as pool:
            assert gateway.ask("/v2/x").json()["backend"] == "v2"
            os.kill(process.pid, signal.SIGSTOP)
            hanging = [pool.submit(gateway.ask, "/v2/x") for _ in range(30)]
            assert [gateway.ask("/v1/x").status for _ in range(300)] == [200] * 300
            assert {answer.result().status for answer in hanging} <= {503, 504}
            os.kill(process.pid, signal.SIGCONT)
            assert _comes_back(gateway)
            assert len(backend.seen) == 300
    finally:
        os.kill(process.pid, signal.SIGCONT)
        process.kill()
        process.wait()
        process.stdout.close()


def _comes_back(gateway: Running) -> bool:
    """Once the breaker lets its probes through: asked as often as that may take, however quick the machine is."""
    return any(gateway.ask("/v2/x").status == 200 for _ in range(200_000))
