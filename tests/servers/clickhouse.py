"""A stand-in for a ClickHouse server: its HTTP interface, as far as clickhouse-connect uses it, in front of a chdb engine.

There is no current server in PyPI or Debian. The engine, its formats and its words are real, the server is not: see
`clickhouse_http.py`.
"""

from __future__ import annotations

import base64
import secrets
import sys
import urllib.request
from pathlib import Path

from servers.process import Server


class ClickHouseServer(Server):
    """`url` carries a random password. With a `certificate`, a file with its key, it speaks HTTPS only."""

    name = "ClickHouse"

    def __init__(self, folder: Path, *, certificate: Path | None = None) -> None:
        super().__init__(folder)
        self.password = secrets.token_urlsafe(16)
        self._certificate = certificate

    def url(
        self, options: str = "", *, scheme: str = "clickhouse", database: str = "shop", password: str | None = None
    ) -> str:
        return f"{scheme}://skerry:{password or self.password}@127.0.0.1:{self.port}/{database}{options}"

    def own_database(self, name: str) -> str:
        """Make a database; its address."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/", f"CREATE DATABASE {name}".encode())
        login = base64.b64encode(f"skerry:{self.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            assert answer.status == 200
        return self.url(database=name)

    def command(self) -> list[str]:
        program = str(Path(__file__).parent / "clickhouse_http.py")
        certificate = str(self._certificate or "")
        return [
            sys.executable,
            program,
            str(self.folder / "data"),
            str(self.port),
            "skerry",
            self.password,
            certificate,
        ]
