"""Load by wrk, and by a client of our own where a number of requests has to be exact."""

from __future__ import annotations

import asyncio
import math
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat

from benchmarks.gateway.processes import LOAD_CORE, Proxy, bound_to

CONNECTIONS = 32
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True)
class Result:
    """What wrk saw. Times in milliseconds; `lost` are answers that were not 200, and connections that broke."""

    rate: float
    requests: int
    p50: float
    p99: float
    lost: int


def _command(port: int, path: str, seconds: float, headers: Sequence[str], connections: int) -> list[str]:
    more = [part for header in headers for part in ("-H", header)]
    length = ["-t", "1", "-c", str(connections), "-d", f"{seconds:g}s", "--latency", "--timeout", "10s"]
    return bound_to(LOAD_CORE, ["wrk", *length, *more, f"http://127.0.0.1:{port}{path}"])


def wrk(
    port: int, path: str, *, seconds: int = 1, headers: Sequence[str] = (), connections: int = CONNECTIONS
) -> Result:
    """One run, on the core of the load."""
    command = _command(port, path, seconds, headers, connections)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return read(done.stdout)


@contextmanager
def wrk_meanwhile(port: int, path: str, *, seconds: int, connections: int = CONNECTIONS) -> Iterator[list[Result]]:
    """A run beside what is done inside; its result is in the list at the end."""
    command = _command(port, path, seconds, (), connections)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    results: list[Result] = []
    try:
        yield results
        text, _ = process.communicate(timeout=seconds + 30)
        results.append(read(text))
    finally:
        process.kill()
        process.wait()


def read(text: str) -> Result:
    requests = int(_find(r"(\d+) requests in", text))
    errors = sum(int(number) for number in re.findall(r"(?:connect|read|write|timeout) (\d+)", text))
    others = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return Result(
        rate=float(_find(r"Requests/sec:\s+([\d.]+)", text)),
        requests=requests,
        p50=_time(_find(r"(?m)^ +50% +(\S+)", text)),
        p99=_time(_find(r"(?m)^ +99% +(\S+)", text)),
        lost=errors + (int(others[1]) if others else 0),
    )


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"wrk wrote no {pattern}:\n{text}")
    return found[1]


def _time(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    return float(found[1]) * UNITS[found[2]] if found else math.nan  # it writes -nan when nothing was answered


def seen_by(upstream: Proxy) -> int:
    """How many requests came to the upstream before this one."""
    with socket.create_connection(("127.0.0.1", upstream.port), timeout=5.0) as connection:
        connection.sendall(b"GET /-/count HTTP/1.1\r\nHost: up\r\nConnection: close\r\n\r\n")
        text = b""
        while piece := connection.recv(4096):
            text += piece
            if b"Content-Length" not in text and re.search(rb"\d+ \d+ \d+ ?\n", text):
                break
    return int(re.search(rb"(\d+) (\d+) (\d+)", text.partition(b"\r\n\r\n")[2])[3]) - 1


class _Asking(asyncio.Protocol):
    """Asks one after the other, until none are left."""

    def __init__(self, requests: Iterator[bytes], answered: list[int], done: asyncio.Future[None]) -> None:
        self._requests, self._answered, self._done = requests, answered, done
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            return
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, mark, body = self._buffer.partition(b"\r\n\r\n")
        if not mark:
            return
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if length and len(body) >= int(length[1]):
            self._answered[0] += head.startswith(b"HTTP/1.1 200")
            self._buffer = b""
            self._ask()

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


def exactly(number: int, port: int, path: str, *, tokens: Sequence[str] = ()) -> int:
    """Asks so many times, over as many connections as wrk has, and says how many were answered 200. Each of `tokens` goes with
    one request alone.
    """
    plain = f"GET {path} HTTP/1.1\r\nHost: bench\r\n"
    lines = (f"{plain}Authorization: Bearer {token}\r\n" for token in tokens) if tokens else repeat(plain, number)
    requests = (f"{line}\r\n".encode() for line in lines)

    async def main() -> int:
        loop = asyncio.get_running_loop()
        answered = [0]
        ends = [loop.create_future() for _ in range(CONNECTIONS)]
        for end in ends:
            await loop.create_connection(lambda end=end: _Asking(requests, answered, end), "127.0.0.1", port)
        await asyncio.wait_for(asyncio.gather(*ends), 60.0)
        return answered[0]

    return asyncio.run(main())
