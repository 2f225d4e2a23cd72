"""A console that is only a stage: the built page, and answers that a test puts there. It keeps what the page sends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from console_scenes import answers, healthy

import skerry

STATIC = Path(skerry.__file__).parent / "console" / "static"
KINDS = {"html": "text/html; charset=utf-8", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
SILENCE = 15.0


class Stage:
    """Shows `view`; `show` puts another one there, which open pages get at once. `posted` has each path with what was sent;
    an act is refused for the reason `refuse`, or else followed by `after`."""

    def __init__(self) -> None:
        self.view = healthy()
        self.answers = answers()
        self.posted: list[tuple[str, Any, str | None]] = []
        self.after: Callable[[str], None] = lambda _path: None
        self.refuse = ""
        self.ended = False
        self.away = False
        self.changed = threading.Condition()
        stage = self

        class Handler(_Handler):
            scene = stage

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def reset(self) -> None:
        """As it was at first."""
        self.answers = answers()
        self.posted = []
        self.after = lambda _path: None
        self.refuse = ""
        self.show(healthy())

    def show(self, view: dict[str, Any]) -> None:
        """Another state, of which open pages hear. No view is older than the one before it."""
        with self.changed:
            self.view = view | {"version": self.view["version"] + 1}
            self.changed.notify_all()

    def cut(self) -> None:
        """End all streams, and let nobody have a new one."""
        with self.changed:
            self.away = True
            self.changed.notify_all()

    def mend(self) -> None:
        """The opposite of `cut`."""
        self.away = False

    def close(self) -> None:
        """End it, with its streams."""
        with self.changed:
            self.ended = True
            self.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    scene: Stage
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        path = unquote(asked.path).lstrip("/")
        if path == "api/stream" and self.scene.away:
            self._answer(503, "text/plain", b"")
        elif path == "api/stream":
            self._stream()
        elif path == "api/view":
            self._json(200, self.scene.view)
        elif path.startswith("api/"):
            name, answers = path.removeprefix("api/"), self.scene.answers
            found = answers.get(f"{name}?{unquote(asked.query)}", answers.get(name))
            self._json(404 if found is None else 200, {"error": "there is no such thing"} if found is None else found)
        else:
            self._file(path or "index.html")

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path).removeprefix("/api/")
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.scene.posted.append((path, body, self.headers["x-skerry"]))
        if self.scene.refuse:
            self._json(409, {"error": self.scene.refuse})
            return
        self.scene.after(path)
        self._json(200, {"done": True})

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("cache-control", "no-store")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        told = 0
        try:
            while not self.scene.ended and not self.scene.away:
                with self.scene.changed:
                    if self.scene.view["version"] == told:
                        self.scene.changed.wait(SILENCE)
                    view = self.scene.view
                told = view["version"]
                self.wfile.write(f"event: view\ndata: {json.dumps(view)}\n\n".encode())
                self.wfile.flush()
        except OSError:
            return  # the page has gone

    def _json(self, status: int, value: Any) -> None:
        self._answer(status, "application/json", json.dumps(value).encode())

    def _file(self, path: str) -> None:
        file = STATIC.joinpath(*path.split("/"))
        if ".." in path or not file.is_file():
            self._answer(404, "text/plain", b"")
        else:
            self._answer(200, KINDS[path.rpartition(".")[2]], file.read_bytes())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("content-security-policy", POLICY)
        self.send_header("x-content-type-options", "nosniff")
        self.end_headers()
        self.wfile.write(body)
