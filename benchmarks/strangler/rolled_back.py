"""From a decision to its effect: how long the candidate still gets requests of a gateway under load after a roll-back."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.gateway.processes import free_port
from skerry.gateway import reading
from skerry.gateway.strangler.controller import plans
from skerry.gateway.strangler.deciding import Place
from skerry.gateway.strangler.ramp_rows import Change
from skerry.gateway.strangler.ramps import Ramps

CLIENTS, RATE = 8, 400.0
SETTLED = 0.6
PATIENCE = 30.0
SPEC = """
services:
  monolith: {{urls: ["http://127.0.0.1:{control}"]}}
  candidate: {{urls: ["http://127.0.0.1:{candidate}"]}}
routes:
  - name: moved
    path: /
    strangle: {{from: monolith, to: candidate, steps: [50%, 100%], shadow: false, guard: {{interval: 1}}}}
"""


class Upstream:
    """Answers, and knows when it was last asked."""

    def __init__(self) -> None:
        self.last = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.last = time.perf_counter()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}")
        writer.close()


def measure(engine: str, rounds: int) -> tuple[list[float], int, int]:
    """Milliseconds from the beginning of each roll-back's transaction to the last request that the candidate got; then how many
    requests there were and how many failed.
    """
    return asyncio.run(_measure(engine, rounds))


async def _measure(engine: str, rounds: int) -> tuple[list[float], int, int]:
    control, candidate = Upstream(), Upstream()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with _listening(control) as first, _listening(candidate) as second:
            spec = folder / "gateway.yaml"
            spec.write_text(SPEC.format(control=first, candidate=second))
            async with _gateway(engine, spec, folder) as port, _load(port) as told:
                taken = [await _roll_back(spec, folder / "state", candidate) for _ in range(rounds)]
    return taken, told["200"], sum(told.values()) - told["200"]


async def _roll_back(spec: Path, folder: Path, candidate: Upstream) -> float:
    plan = plans(reading.read(spec))["moved"]
    with Ramps(folder) as ramps:
        ramp = ramps.start("moved", plan, Place("ramping", 50.0), at=time.time(), reason="measured")
        began = time.perf_counter()
        while candidate.last < began:
            if time.perf_counter() - began > PATIENCE:
                raise RuntimeError("the candidate gets no requests")
            await asyncio.sleep(0.01)
        await asyncio.sleep(SETTLED)
        began = time.perf_counter()
        ramps.change(ramp, Change("roll_back", "person", Place("rolled_back", 0.0), "measured", {}), at=time.time())
        await asyncio.sleep(SETTLED)
    return max(0.0, candidate.last - began) * 1000


@asynccontextmanager
async def _listening(upstream: Upstream) -> AsyncIterator[int]:
    async with await asyncio.start_server(upstream.serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def _gateway(engine: str, spec: Path, folder: Path) -> AsyncIterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "skerry", "gateway", "run", str(spec), "--port", str(port), "--engine", engine]
    with (folder / "output").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, "--state", str(folder / "state"), stdout=output, stderr=output, start_new_session=True
        )
    try:
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            if process.returncode is not None or time.monotonic() > end:
                raise RuntimeError((folder / "output").read_text()[-3000:])
            await asyncio.sleep(0.05)
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@asynccontextmanager
async def _load(port: int) -> AsyncIterator[dict[str, int]]:
    told: dict[str, int] = {"200": 0}
    clients = [asyncio.create_task(_client(port, told)) for _ in range(CLIENTS)]
    try:
        yield told
    finally:
        for client in clients:
            client.cancel()
        await asyncio.wait(clients)


async def _client(port: int, told: dict[str, int]) -> None:
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                while True:
                    writer.write(b"GET /item HTTP/1.1\r\nhost: bench\r\n\r\n")
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                    await reader.readexactly(length)
                    status = head.split()[1].decode()
                    told[status] = told.get(status, 0) + 1
                    await asyncio.sleep(CLIENTS / RATE)
            finally:
                writer.close()
        await asyncio.sleep(0.05)
