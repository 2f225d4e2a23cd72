"""A receiver of OTLP over HTTP that answers as it is told, and keeps what came."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BOUND = 20.0


class OtlpReceiver:
    """`answers` are the statuses of its first answers, 0 for none until `let_go`; after them it answers 200."""

    def __init__(self, *answers: int, port: int = 0) -> None:
        self.requests: queue.Queue[tuple[str, dict[str, str], Any]] = queue.Queue()
        self.let_go = threading.Event()
        self._answers = list(answers)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status = receiver._answers.pop(0) if receiver._answers else 200
                receiver.requests.put((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                if status == 0:
                    receiver.let_go.wait(BOUND)
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def next(self) -> tuple[str, dict[str, str], Any]:
        return self.requests.get(timeout=BOUND)

    def close(self) -> None:
        self.let_go.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@contextmanager
def receiving(*answers: int, port: int = 0) -> Iterator[OtlpReceiver]:
    receiver = OtlpReceiver(*answers, port=port)
    try:
        yield receiver
    finally:
        receiver.close()


def logged(body: Any) -> list[dict[str, Any]]:
    """The records of a request as their attributes."""
    return [
        {pair["key"]: next(iter(pair["value"].values())) for pair in record["attributes"]}
        for resource in body["resourceLogs"]
        for scope in resource["scopeLogs"]
        for record in scope["logRecords"]
    ]
