"""A control and a candidate that keep facts and say how far they are; the candidate follows the control's, a little later."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

LAG: Final = 0.3
"""Seconds until the candidate has a fact of the control."""


class Owner:
    """One side. `facts` are those that it recorded by itself, in their order."""

    def __init__(self, follows: Owner | None = None) -> None:
        self.facts: list[tuple[float, int]] = []
        self.seen_before_own: int | None = None
        """How many of the other's facts it had when it recorded the first one by itself."""
        self.stuck = False
        """Whether it follows no more."""
        self._follows = follows
        self._lock = threading.Lock()
        own = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(own.position() if self.path == "/position" else {"owner": "x"})

            def do_POST(self) -> None:
                told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                own.record(told["n"])
                self._answer({"n": told["n"], "by": "control" if follows is None else "candidate"})

            def _answer(self, value: Any) -> None:
                body = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def record(self, number: int) -> None:
        with self._lock:
            if self._follows is not None and self.seen_before_own is None:
                self.seen_before_own = self.seen()
            self.facts.append((time.monotonic(), number))

    def seen(self) -> int:
        assert self._follows is not None
        then = time.monotonic() - LAG
        return 0 if self.stuck else sum(at <= then for at, _ in list(self._follows.facts))

    def position(self) -> dict[str, int]:
        if self._follows is None:
            return {"written": len(self.facts)}
        return {"seen": self.seen(), "written": len(self.facts)}


@contextmanager
def two_owners() -> Iterator[tuple[Owner, Owner]]:
    """A control and a candidate, each on a socket."""
    control = Owner()
    candidate = Owner(control)
    threads = [threading.Thread(target=side.server.serve_forever, args=(0.05,)) for side in (control, candidate)]
    for thread in threads:
        thread.start()
    try:
        yield control, candidate
    finally:
        for side in (control, candidate):
            side.server.shutdown()
            side.server.server_close()
        for thread in threads:
            thread.join()
