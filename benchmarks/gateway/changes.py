"""What happens while something changes: the spec is loaded anew, an upstream stops, a body of 100 MiB goes through."""

from __future__ import annotations

import http.server
import itertools
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.gateway import configurations
from benchmarks.gateway.load import wrk, wrk_meanwhile
from benchmarks.gateway.processes import LOAD_CORE, Proxy, free_port, run_ours, started

RELOADS = 30
MOST_RUNS = 6
MIB = 1 << 20
STREAMED = 100 * MIB


@contextmanager
def gateway_of_ours(folder: Path, up: int, *, engine: str, other: int | None = None) -> Iterator[tuple[Proxy, Path]]:
    """A gateway of ours and the file of its spec."""
    folder.mkdir()
    spec, port = folder / "gateway.yaml", free_port()
    spec.write_text(configurations.ours(folder, up, other=other))
    with started(f"ours on {engine}", run_ours(spec, port, engine=engine), port, folder) as proxy:
        _await_answer(port)
        yield proxy, spec


def _await_answer(port: int) -> None:
    end = time.monotonic() + 30
    while _ask(port, "/mark")[:12] != b"HTTP/1.1 200":
        if time.monotonic() > end:
            raise RuntimeError("the gateway takes connections and never answers")
        time.sleep(0.05)


def _ask(port: int, path: str) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10.0) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
            text = b""
            while piece := connection.recv(65536):
                text += piece
            return text
    except OSError:
        return b""


def reloads(folder: Path, up: int, *, engine: str, requests: int) -> tuple[list[float], int, int]:
    """Milliseconds from each change of the file to the first answer by it, under load; then, of so many `requests` at full load
    while it changes again and again, how many there were and how many were lost.
    """
    taken, marks = [], itertools.count()
    with gateway_of_ours(folder, up, engine=engine) as (proxy, spec):

        def change() -> bytes:
            mark = f"mark-{next(marks)}"
            fresh = spec.with_suffix(".new")
            fresh.write_text(configurations.ours(folder, up, mark=mark))
            fresh.replace(spec)
            return mark.encode()

        _until(proxy.port, b"first")
        with wrk_meanwhile(proxy.port, configurations.SERVICE_PATH, seconds=5, connections=8) as results:
            for _ in range(RELOADS):
                begun, mark = time.perf_counter(), change()
                _until(proxy.port, mark)
                taken.append((time.perf_counter() - begun) * 1000)
                time.sleep(0.05)
        done, lost = results[0].requests, results[0].lost
        for _ in range(MOST_RUNS):
            if done >= requests:
                break
            with wrk_meanwhile(proxy.port, configurations.SERVICE_PATH, seconds=4) as results:
                for _ in range(8):
                    _until(proxy.port, change())
                    time.sleep(0.4)
            done, lost = done + results[0].requests, lost + results[0].lost
    return taken, done, lost


def _until(port: int, mark: bytes) -> None:
    """Asks again and again on one connection, for a fresh one each time would be measured too."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10.0) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while time.monotonic() < end:
                connection.sendall(b"GET /mark HTTP/1.1\r\nHost: bench\r\n\r\n")
                answer = connection.recv(65536)  # head and body come in one piece, for both are small
                if answer.endswith(mark):
                    return
                if not answer:
                    break
                time.sleep(0.0005)
    raise RuntimeError(f"{mark!r} was not answered for 10 s")


def one_stopped(folder: Path, up: int, *, engine: str, rounds: int) -> tuple[list[float], list[float]]:
    """p99 in milliseconds of a route before and while another route's upstream, loaded alike, is stopped."""
    port = free_port()
    folder.mkdir()
    command = [sys.executable, "-m", "benchmarks.gateway.upstream", str(port)]
    before, meanwhile = [], []
    with (
        started("the other upstream", command, port, folder, core=LOAD_CORE) as other,
        gateway_of_ours(folder / "gateway", up, engine=engine, other=port) as (proxy, _),
    ):
        for _ in range(rounds):
            for place in (before, meanwhile):
                if place is meanwhile:
                    os.kill(other.process.pid, signal.SIGSTOP)
                with wrk_meanwhile(proxy.port, "/other", seconds=2, connections=16):
                    place.append(wrk(proxy.port, configurations.SERVICE_PATH, seconds=2, connections=16).p99)
                os.kill(other.process.pid, signal.SIGCONT)
            time.sleep(1.0)  # until the breaker has let its probes through
    return before, meanwhile


class _Big(http.server.BaseHTTPRequestHandler):
    """Takes any body, and answers as many bytes as the path's end says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(int(self.path.rpartition("/")[2]))

    def do_POST(self) -> None:
        left = int(self.headers.get("Content-Length", 0))
        while left:
            left -= len(self.rfile.read(min(left, MIB)))
        self._answer(0)

    def _answer(self, size: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        piece = b"x" * MIB
        for begin in range(0, size, MIB):
            self.wfile.write(piece[: size - begin])

    def log_message(self, *_: object) -> None:
        """Nothing."""


def streaming(folder: Path, *, engine: str) -> float:
    """MiB that a gateway grows by, at the most, while 100 MiB go up and 100 MiB come down through it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Big)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with gateway_of_ours(folder, server.server_address[1], engine=engine) as (proxy, _):
            _ask(proxy.port, "/route-1/1000")
            begin, most = proxy.memory(), 0.0
            for run in (_upload, _download):
                most = max(most, _watching(proxy, lambda run=run: run(proxy.port)))
            return most - begin
    finally:
        server.shutdown()
        server.server_close()


def _watching(proxy: Proxy, run: Callable[[], None]) -> float:
    failures: list[BaseException] = []

    def attempt() -> None:
        try:
            run()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    most = 0.0
    while thread.is_alive():
        most = max(most, proxy.memory())
        thread.join(0.02)
    if failures:
        raise failures[0]
    return most


def _upload(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60.0) as connection:
        head = f"POST /route-1/x HTTP/1.1\r\nHost: b\r\nConnection: close\r\nContent-Length: {STREAMED}\r\n\r\n"
        connection.sendall(head.encode())
        piece = b"x" * MIB
        for _ in range(STREAMED // MIB):
            connection.sendall(piece)
        answer = connection.recv(65536)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the upload was answered {answer[:100]!r}")


def _download(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60.0) as connection:
        connection.sendall(f"GET /route-1/{STREAMED} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n".encode())
        size = 0
        while piece := connection.recv(MIB):
            size += len(piece)
    if size < STREAMED:
        raise RuntimeError(f"{size} bytes came down instead of {STREAMED}")
