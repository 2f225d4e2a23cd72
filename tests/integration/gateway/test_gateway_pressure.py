"""Clients that are slow, many or gone: the gateway gives up on them, grows by little, and goes on answering others meanwhile."""

from __future__ import annotations

import json
import resource
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.gateway.gateway_processes import Running, running
from tests.integration.gateway.raw_backends import Backend, Script, serving
from tests.integration.gateway.raw_client import Broken, Connection, ask, request

MIB = 1 << 20
MOST_GROWTH = 50 * 1000 * 1000
IDLE = 10_000
PATIENCE = 60.0
"""Seconds until a test gives up; how long something takes is never what is judged."""
LIMITS = {"head_timeout": 1.0, "body_timeout": 1.0, "body_rate": 1000, "idle_timeout": 300.0}


@contextmanager
def staged(
    folder: Path, *, policy: Mapping[str, Any] | None = None, **limits: Any
) -> Iterator[tuple[Running, Backend]]:
    """A gateway with short limits before one backend."""
    with serving("v1") as backends:
        spec: dict[str, Any] = {
            "services": {"v1": {"url": f"http://{backends['v1'].address}"}},
            "limits": {"body": 100 * MIB, **LIMITS, **limits},
            "access_log": False,
            "routes": [{"path": "/", "service": "v1", "policy": policy or {}}],
        }
        file = folder / "gateway.yaml"
        file.write_text(json.dumps(spec))
        with running([file]) as gateway:
            assert ask(gateway.port, "/warm").status == 200
            yield gateway, backends["v1"]


def opened(port: int, *, buffer: int | None = None) -> socket.socket:
    found = socket.socket()
    if buffer is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    found.settimeout(PATIENCE)
    found.connect(("127.0.0.1", port))
    return found


def trickle(gateway: Running, clients: list[socket.socket], more: bytes) -> list[bytes]:
    """Sends `more` on all that are open, again and again, until the gateway has closed them; returns what each was told."""
    told: dict[socket.socket, bytes] = dict.fromkeys(clients, b"")
    waiting = set(clients)
    end = time.monotonic() + PATIENCE
    while waiting and time.monotonic() < end:
        assert gateway.ask("/health/live").status == 200
        readable, _, _ = select.select(list(waiting), [], [], 0.05)
        for client in readable:
            try:
                data = client.recv(65536)
            except ConnectionError:
                data = b""
            told[client] += data
            if not data:
                waiting.discard(client)
        for client in waiting:
            try:
                client.send(more)
            except OSError:
                continue  # it has been closed, and is about to be read so
    assert not waiting, f"{len(waiting)} of {len(clients)} are still open"
    return list(told.values())


def test_heads_that_never_end_are_closed(tmp_path: Path) -> None:
    """Two hundred heads that come a byte at a time end at the time-out, whatever trickles in; others are served meanwhile."""
    with staged(tmp_path) as (gateway, backend), ExitStack() as stack:
        clients = [stack.enter_context(opened(gateway.port)) for _ in range(200)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\nX: ")
        told = trickle(gateway, clients, b"x")
        assert {answer[:12] for answer in told} <= {b"", b"HTTP/1.1 408"}
        assert backend.heads == 1


def test_bodies_that_never_end_are_closed(tmp_path: Path) -> None:
    """A hundred bodies that come slower than the least rate end, and no service takes one of them for whole."""
    policy = {"total": 60.0, "concurrency": 100}
    with staged(tmp_path, policy=policy) as (gateway, backend), ExitStack() as stack:
        clients = [stack.enter_context(opened(gateway.port)) for _ in range(100)]
        for client in clients:
            client.sendall(b"POST /slow HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n")
        told = trickle(gateway, clients, b"x")
        assert {answer[:12] for answer in told} <= {b"", b"HTTP/1.1 408"}
        assert [seen.path for seen in backend.seen] == ["/warm"]


def test_whoever_does_not_read_holds_little_and_not_for_ever(tmp_path: Path) -> None:
    """Answers of 50 MiB that nobody reads are not taken into memory, and their connections end."""
    with staged(tmp_path) as (gateway, _), ExitStack() as stack:
        before, sockets = gateway.memory(), gateway.sockets()
        clients = [stack.enter_context(opened(gateway.port, buffer=4096)) for _ in range(20)]
        for client in clients:
            client.sendall(request("GET", f"/big?size={50 * MIB}", []))
        # what the kernel still holds for a client goes on its own: that the gateway has let go shows on its side alone
        _until(lambda: gateway.sockets() >= sockets + 20, gateway)
        most = _until(lambda: gateway.sockets() < sockets + 10, gateway)
        assert most - before < MOST_GROWTH
        for client in clients:
            size = 0
            with pytest.raises((ConnectionError, Broken)):  # noqa: PT012 - the end of a loop that reads
                while data := client.recv(MIB):
                    size += len(data)
                raise Broken("closed")
            assert size < 50 * MIB


def _until(over: Callable[[], bool], gateway: Running) -> int:
    """The most memory that the gateway had until then; it answers all the while."""
    most, end = 0, time.monotonic() + PATIENCE
    while not over():
        assert time.monotonic() < end, "that did not come"
        assert gateway.ask("/health/live").status == 200
        most = max(most, gateway.memory())
        select.select([], [], [], 0.05)
    return most


def test_ten_thousand_idle_connections_are_held(tmp_path: Path) -> None:
    """They cost less than 50 MB together, all of them still work, and the gateway answers others as ever."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    number = IDLE if hard == resource.RLIM_INFINITY else min(IDLE, hard - 2000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with staged(tmp_path, connections=number + 100) as (gateway, backend), ExitStack() as stack:
        before = gateway.memory()
        clients = [stack.enter_context(opened(gateway.port)) for _ in range(number)]
        assert gateway.ask("/health/ready").status == 200
        growth = gateway.memory() - before
        assert growth < MOST_GROWTH, f"{growth} bytes for {number} connections"
        backend.reset()
        for client in clients[:: number // 100]:
            client.sendall(request("GET", "/still-there", []))
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert {seen.path for seen in backend.seen} == {"/still-there"}


def test_heads_that_never_end_fill_a_bounded_room(tmp_path: Path) -> None:
    """Two thousand clients that each begin a long head cost no more than the room for such; others are served meanwhile."""
    with staged(tmp_path, connections=3000, head_timeout=60.0) as (gateway, _), ExitStack() as stack:
        before = gateway.memory()
        begun = b"GET /never HTTP/1.1\r\nHost: a.test\r\nX: " + b"x" * 30_000
        clients = [stack.enter_context(opened(gateway.port)) for _ in range(2000)]
        refused = 0
        for client in clients:
            client.sendall(begun)
        assert gateway.ask("/health/ready").status == 200
        for client in clients[-50:]:
            refused += client.recv(65536).startswith(b"HTTP/1.1 503 ")
        assert refused == 50
        assert gateway.memory() - before < MOST_GROWTH
        assert gateway.ask("/others").status == 200


def test_floods_of_resets_leave_nothing(tmp_path: Path) -> None:
    """Five thousand clients that ask and are gone at once leave no memory, no broken connections and no request behind."""
    with staged(tmp_path) as (gateway, backend):
        before = gateway.memory()
        for number in range(5000):
            with opened(gateway.port) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sendall(request("GET", "/gone?delay=1s", [])[: None if number % 2 else 20])
            if number % 500 == 0:
                assert gateway.ask("/health/live").status == 200
        assert gateway.memory() - before < MOST_GROWTH
        backend.reset()
        # what those left may keep a service's slots for as long as an attempt lasts
        end = time.monotonic() + PATIENCE
        while gateway.ask("/after").status != 200:
            assert time.monotonic() < end, "the gateway does not come back"
        assert not backend.faults


def test_more_connections_than_allowed_are_closed_as_they_come(tmp_path: Path) -> None:
    """Those within the limit are served, those beyond it end without harm, and room that is free again is used."""
    with staged(tmp_path, connections=50) as (gateway, _):
        with ExitStack() as stack:
            clients = [stack.enter_context(Connection(gateway.port)) for _ in range(200)]
            served = 0
            for client in clients:
                client.send(request("GET", "/x", []))
                try:
                    served += client.read().status == 200
                except Broken:
                    continue
            assert 40 <= served <= 50
        end = time.monotonic() + PATIENCE
        while True:
            try:
                assert gateway.ask("/x").status == 200
                break
            except Broken:
                assert time.monotonic() < end, "no room became free"


def test_services_that_close_after_each_answer_lose_nothing(tmp_path: Path) -> None:
    """A pooled connection may be closed just as it is used: what is safe to send again is, and a POST never comes twice."""
    with staged(tmp_path) as (gateway, backend):
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        backend.reset(Script(raw=answer, close=True))
        with gateway.connect() as connection:
            for _ in range(300):
                connection.send(request("GET", "/x", []))
                assert connection.read().status == 200
        backend.reset(Script(raw=answer, close=True))
        with gateway.connect() as connection:
            statuses = []
            for number in range(300):
                connection.send(request("POST", f"/{number}", [], b"once"))
                statuses.append(connection.read().status)
        assert set(statuses) <= {200, 502, 503}
        targets = [seen.target for seen in backend.seen]
        assert len(targets) == len(set(targets))
        assert len(targets) >= statuses.count(200)


def test_slow_bodies_do_not_open_a_breaker(tmp_path: Path) -> None:
    """That a client is slow is no failure of the service: whoever comes next is served."""
    with staged(tmp_path) as (gateway, _), ExitStack() as stack:
        clients = [stack.enter_context(opened(gateway.port)) for _ in range(60)]
        for client in clients:
            client.sendall(b"POST /slow HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n")
        trickle(gateway, clients, b"x")
        assert gateway.ask("/next").status == 200
