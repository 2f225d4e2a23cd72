"""A ClickHouse server, over HTTP or HTTPS."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote

from skerry.errors import ConfigurationError, MissingExtra, StoreUnavailable

try:
    import clickhouse_connect
    from clickhouse_connect.driver.exceptions import ClickHouseError
except ImportError as _error:
    raise MissingExtra("A ClickHouse server", "clickhouse") from _error

from skerry.store.analytics import dialect

T = TypeVar("T")

PORT, TLS_PORT = 8123, 8443
CONNECT_TIMEOUT: Final = 5.0
PATIENCE: Final = 1.0
"""Seconds for which the server may say that the time is over, before it counts as away."""
_OPTIONS: Final = {"secure", "timeout", "ca"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """What `clickhouse://USER:PASSWORD@HOST:PORT/DATABASE?OPTIONS` says."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    secure: bool
    ca: str | None

    @classmethod
    def of(cls, parts: SplitResult) -> ServerAddress:
        """Read an address. Raises `ConfigurationError`, which does not repeat it."""
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        if unknown := sorted(options.keys() - _OPTIONS):
            raise ConfigurationError(f"a ClickHouse address has no option {unknown[0][:40]!r}: use {_words(_OPTIONS)}")
        secure = parts.scheme == "clickhouses" or options.get("secure") in {"1", "true"}
        try:
            port = parts.port or (TLS_PORT if secure else PORT)
        except ValueError:
            raise ConfigurationError("the port of a ClickHouse address is no number from 1 to 65535") from None
        database = unquote(parts.path.strip("/"))
        if not parts.hostname or not database or "/" in database:
            raise ConfigurationError("a ClickHouse address is clickhouse://USER:PASSWORD@HOST:PORT/DATABASE")
        return cls(
            host=parts.hostname,
            port=port,
            database=database,
            user=unquote(parts.username or "default"),
            password=unquote(parts.password or ""),
            secure=secure,
            ca=options.get("ca"),
        )


class ServerLink:
    """See `Link`: a client whose calls may run side by side; `timeout` bounds each, in seconds."""

    threads = 4

    def __init__(self, address: ServerAddress, *, owner: str, timeout: float) -> None:
        self.where: str = f"{address.host}:{address.port}/{address.database}"
        self._address = address
        self._owner = owner
        self._timeout = timeout
        self._client: Any = None

    def connect(self) -> None:
        """See `Link`."""
        address = self._address

        def client() -> Any:
            return clickhouse_connect.get_client(
                interface="https" if address.secure else "http",
                host=address.host,
                port=address.port,
                database=address.database,
                username=address.user,
                password=address.password,
                ca_cert=address.ca,
                connect_timeout=math.ceil(min(CONNECT_TIMEOUT, self._timeout)),
                send_receive_timeout=math.ceil(self._timeout + PATIENCE),
                query_retries=0,
                query_limit=0,
                autogenerate_session_id=False,  # calls run side by side
                client_name=f"skerry/{self._owner}",
                settings={**dialect.SETTINGS, "max_execution_time": self._timeout},
            )

        made = self._do(client, writing=True)
        before, self._client = self._client, made
        if before is not None:
            before.close()

    def close(self) -> None:
        """See `Link`."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def command(self, sql: str) -> None:
        """See `Link`."""
        client = self._connected()
        self._do(lambda: client.command(sql), writing=True)

    def query(self, sql: str, parameters: Mapping[str, str]) -> bytes:
        """See `Link`."""
        client, values = self._connected(), dict(parameters) or None
        answer: bytes = self._do(lambda: client.raw_query(sql, parameters=values, fmt="JSONCompact"))
        return answer

    def insert(self, sql: str, rows: str) -> None:
        """See `Link`."""
        client, body = self._connected(), f"{sql} FORMAT TabSeparated\n{rows}".encode()
        self._do(lambda: client.raw_insert(None, insert_block=body, fmt="TabSeparated"), writing=True)

    def _connected(self) -> Any:
        client = self._client
        if client is None:
            raise StoreUnavailable(f"{self.where} is not connected")
        return client

    def _do(self, call: Callable[[], T], *, writing: bool = False) -> T:
        try:
            return call()
        except (ClickHouseError, OSError) as error:
            words = str(error)
            if "Code: " in words:
                raise dialect.refusal(self.where, words, writing=writing) from None
            raise StoreUnavailable(f"{self.where} cannot be reached, or did not answer in time") from None


def _words(names: set[str]) -> str:
    return ", ".join(sorted(names))
