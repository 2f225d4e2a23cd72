"""ClickHouse's HTTP interface in front of a chdb engine: `python clickhouse_http.py FOLDER PORT USER PASSWORD CERTIFICATE`.

A real engine, with its own formats, settings, parameters and words, behind as much of the interface as clickhouse-connect uses.
It is not ClickHouse's server. An empty CERTIFICATE means no TLS.
"""

from __future__ import annotations

import base64
import contextlib
import email.parser
import email.policy
import hmac
import re
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from chdb.session import Session

TRANSPORT = {
    "buffer_size", "client_protocol_version", "compress", "database", "decompress", "default_format",
    "enable_http_compression", "http_headers_progress_interval_ms", "query", "query_id", "quota_key", "role",
    "send_progress_in_http_headers", "session_check", "session_id", "session_timeout", "wait_end_of_query",
}  # fmt: skip
NAME = re.compile(r"[a-z0-9_]+")
FORMAT = re.compile(rb"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)


class Engine:
    """One session; settings, database and statement of a request go together."""

    def __init__(self, folder: str) -> None:
        self._session = Session(folder)
        self._lock = threading.Lock()

    def run(self, sql: bytes, told: dict[str, str]) -> bytes:
        values = {name.removeprefix("param_"): value for name, value in told.items() if name.startswith("param_")}
        settings = {name: told[name] for name in told.keys() - TRANSPORT if not name.startswith("param_")}
        assert all(NAME.fullmatch(name) for name in settings)
        with self._lock:
            self._session.query(f"USE `{told.get('database', 'default')}`")
            for name, value in settings.items():
                quoted = value.replace("\\", "\\\\").replace("'", "\\'")
                self._session.query(f"SET {name} = '{quoted}'")
            try:
                text, form = sql.decode(), told.get("default_format", "TabSeparated")
                answer: bytes = self._session.query(text, form, params=values).bytes()
            except RuntimeError:
                with contextlib.suppress(RuntimeError):  # what it had begun to say comes with the next answer
                    self._session.query("SELECT 1", "Null")
                raise
        return answer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: Engine
    login: str

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        body = self._body()
        if parts.path == "/ping":
            self._reply(200, b"Ok.\n")
            return
        if not hmac.compare_digest(self.headers.get("Authorization", ""), self.login):
            self._reply(403, b"Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)", code="516")
            return
        told = dict(parse_qsl(parts.query, keep_blank_values=True))
        if self.headers.get_content_type() == "multipart/form-data":
            told, body = told | _fields(self.headers["Content-Type"], body), b""
        sql = b"\n".join(part for part in (told.pop("query", "").encode(), body) if part)
        try:
            answer = self.engine.run(sql, told)
        except RuntimeError as error:
            code = re.search(r"Code: (\d+)", str(error))
            self._reply(500, str(error).encode(), code=code[1] if code else "1002")
            return
        form = FORMAT.search(sql)
        self._reply(200, answer, form=form[1].decode() if form else told.get("default_format", "TabSeparated"))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            found = b""
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _reply(self, status: int, body: bytes, *, form: str = "", code: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-ClickHouse-Timezone", "UTC")
        for name, value in (("X-ClickHouse-Format", form), ("X-ClickHouse-Exception-Code", code)):
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: a request's line holds the values of parameters."""


def _fields(kind: str, body: bytes) -> dict[str, str]:
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body
    )
    return {
        str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True).decode()
        for part in message.iter_parts()
    }


def main(folder: str, port: str, user: str, password: str, certificate: str) -> None:
    Handler.engine = Engine(folder)
    Handler.engine.run(b"CREATE DATABASE IF NOT EXISTS shop", {})
    Handler.login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
