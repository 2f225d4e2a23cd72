"""Calls: what a protected call over HTTP costs, beside other clients without any protection and beside its own bare transport."""

from __future__ import annotations

import asyncio
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import uvloop

from benchmarks.calls.clients import CLIENTS, SYNC_CLIENTS
from benchmarks.report import Report

PEERS = ["aiohttp", "httpx", "httpx2", "pyreqwest"]
WARM_UP, ROUND = 0.2, 0.6
"""Seconds."""
IN_FLIGHT = (1, 32)


def run(*, rounds: int) -> dict[str, Any]:
    report = Report("calls", PEERS)
    report.notes.append(
        "ours: total and attempt time-outs, retry with budget, breaker, bulkhead; the peers: nothing of it"
    )
    with server() as url:
        uvloop.run(_run(report, url, rounds))
        _run_sync(report, url, rounds)
    _judge(report)
    return report.document()


@contextmanager
def server():
    """A small server in another process, always the same."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.calls.server"], stdout=subprocess.PIPE)
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()


async def _run(report: Report, url: str, rounds: int) -> None:
    async with AsyncExitStack() as stack:
        calls = {name: await stack.enter_async_context(make(url)) for name, make in CLIENTS.items()}
        for call in calls.values():
            await _load(call, max(IN_FLIGHT), WARM_UP)
        gc.collect()
        gc.freeze()  # as a service does once it is up: else each pays for looking through what all the others have loaded
        for _ in range(rounds):
            for in_flight in IN_FLIGHT:
                for name, call in calls.items():
                    rate, cpu = await _load(call, in_flight, ROUND)
                    report.add(f"calls/s, {in_flight} in flight", name, rate, "calls/s")
                    report.add(f"processor time, {in_flight} in flight", name, cpu, "us/call")


async def _load(call: Callable[[], Awaitable[None]], in_flight: int, seconds: float) -> tuple[float, float]:
    """Calls a second, and microseconds of this process's processor time for each."""
    done = 0
    begun, cpu = time.perf_counter(), time.process_time()

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < begun + seconds:
            await call()
            done += 1

    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return done / (time.perf_counter() - begun), (time.process_time() - cpu) / done * 1e6


def _run_sync(report: Report, url: str, rounds: int) -> None:
    for _ in range(rounds):
        for name, make in SYNC_CLIENTS.items():
            with make(url) as call:
                for seconds in (WARM_UP, ROUND):
                    done, begun = 0, time.perf_counter()
                    while time.perf_counter() < begun + seconds:
                        call()
                        done += 1
            report.add("sync, calls/s, one thread", name, done / (time.perf_counter() - begun), "calls/s")


def _judge(report: Report) -> None:
    for in_flight in IN_FLIGHT:
        for peer in PEERS:
            report.ratio(f"over {peer}, {in_flight} in flight", f"calls/s, {in_flight} in flight", peer)
        metric = report.samples[f"processor time, {in_flight} in flight"]
        more = statistics.median(mine - bare for mine, bare in zip(metric["ours"], metric["aiohttp"], strict=True))
        report.bar(f"us a call over the bare transport, {in_flight} in flight", more, "<=", 40)
    report.bar("calls/s over httpx, 32 in flight", report.ratios["over httpx, 32 in flight"], ">=", 10)
    report.ratio("sync over httpx", "sync, calls/s, one thread", "httpx")
