"""Two services that answer alike, one of which can be told to fail, and clients that ask a gateway for them without a pause."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.integration.gateway.raw_client import Broken, Connection, request

CLIENTS = 4


class Upstream:
    """A service. Every `fails`-th answer is a 500; 0: none."""

    def __init__(self, *, fails: int = 0) -> None:
        self.fails = fails
        self.answers = 0
        numbers, own = itertools.count(1), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                own.answers = next(numbers)
                body = b'{"title": "Skerries"}'
                self.send_response(500 if own.fails and own.answers % own.fails == 0 else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def upstreams(*, fails: int = 0) -> Iterator[tuple[Upstream, Upstream]]:
    """A control that never fails and a candidate that may."""
    both = (Upstream(), Upstream(fails=fails))
    threads = [threading.Thread(target=each.server.serve_forever, args=(0.05,)) for each in both]
    for thread in threads:
        thread.start()
    try:
        yield both
    finally:
        for each in both:
            each.server.shutdown()
            each.server.server_close()
        for thread in threads:
            thread.join()


@contextmanager
def asking(port: int) -> Iterator[Counter[int]]:
    """Clients that ask until the block ends; how often they got which status, 0 for a connection that broke."""
    told: Counter[int] = Counter()
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            try:
                with Connection(port) as connection:
                    while not stop.is_set() and not connection.ended:
                        connection.send(request("GET", "/books", []))
                        told[connection.read().status] += 1
            except (OSError, Broken):
                told[0] += 1

    threads = [threading.Thread(target=go_on) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        stop.set()
        for thread in threads:
            with suppress(RuntimeError):
                thread.join()
