"""Asks a running Envoy about itself, over the unix socket of its administration."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from skerry.errors import EnvoyError

MAX_ANSWER = 16 * 1024 * 1024
"""Bytes. Statistics of a thousand clusters are about a tenth of it."""
_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Sums:
    """What Envoy has counted since it began: counters and gauges by name, and how many values are in each bucket of a histogram,
    as of the last but one time that one asked (see `EnvoyProcess`, `histograms`).
    """

    values: dict[str, int]
    histograms: dict[str, list[int]]


class Admin:
    """The questions that we ask. Each raises `EnvoyError` when Envoy does not answer within 5 s."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def live(self) -> bool:
        """Whether it has its first configuration and serves; never raises."""
        try:
            status, body = await self._ask("GET", "/ready")
        except EnvoyError:
            return False
        return status == 200 and body.strip() == b"LIVE"

    async def listening(self) -> dict[str, str]:
        """Where each listener listens, by name: `ADDRESS:PORT`."""
        answer = await self._json("/listeners?format=json")
        found: dict[str, str] = {}
        for status in answer.get("listener_statuses", []):
            at = status.get("local_address", {}).get("socket_address", {})
            found[status["name"]] = f"{at.get('address')}:{at.get('port_value')}"
        return found

    async def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges whose names match the regular expression `pattern`."""
        return (await self.sums(pattern)).values

    async def sums(self, pattern: str) -> Sums:
        """The same, and the histograms whose names match."""
        answer = await self._json(f"/stats?format=json&histogram_buckets=disjoint&filter={quote(pattern)}")
        values: dict[str, int] = {}
        times: dict[str, list[int]] = {}
        for one in answer.get("stats", []):
            if isinstance(one.get("value"), int):
                values[one["name"]] = one["value"]
            for histogram in one.get("histograms", ()):
                times[histogram["name"]] = [int(bucket["cumulative"]) for bucket in histogram["buckets"]]
        return Sums(values, times)

    async def drain(self) -> None:
        """Stop to listen; answers from now on ask for their connection to be closed."""
        status, _ = await self._ask("POST", "/drain_listeners")
        if status != 200:
            raise EnvoyError(f"Envoy does not drain: its administration answered {status}")

    async def _json(self, path: str) -> dict[str, Any]:
        status, body = await self._ask("GET", path)
        if status != 200:
            raise EnvoyError(f"Envoy's administration answered {status} to {path.partition('?')[0]}")
        found: dict[str, Any] = json.loads(body)
        return found

    async def _ask(self, method: str, path: str) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(_TIMEOUT):
                reader, writer = await asyncio.open_unix_connection(str(self._socket))
                try:
                    writer.write(
                        f"{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode()
                    )
                    head, body = await _read(reader)
                finally:
                    writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            raise EnvoyError(f"Envoy's administration does not answer: {type(error).__name__}") from error
        return int(head.split(b" ", 2)[1]), body


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return head, await _at_most(reader, MAX_ANSWER)
    body = bytearray()
    while size := int((await reader.readline()).split(b";")[0], 16):
        if len(body) + size > MAX_ANSWER:
            raise ValueError("more than an answer may have")
        body += await reader.readexactly(size)
        await reader.readline()
    return head, bytes(body)


async def _at_most(reader: asyncio.StreamReader, size: int) -> bytes:
    body = bytearray()
    while piece := await reader.read(64 * 1024):
        body += piece
        if len(body) > size:
            raise ValueError("more than an answer may have")
    return bytes(body)
