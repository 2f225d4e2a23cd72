"""What a protected call costs over the same call unprotected, beside peers, while nothing goes wrong; and windows of any size."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from types import FunctionType
from typing import Any

from benchmarks.report import Report
from benchmarks.resilience.stacks import Fn, Subject, breakers, bulkheads, full_policy, retries, stacks, time_outs
from skerry.errors import CircuitOpen
from skerry.resilience import CircuitBreaker

PEERS = ["circuitbreaker", "interlock-cb", "nopanic", "pyresilience", "tenacity"]
CALLS, BATCHES, LEAST_ROUNDS = 700, 7, 5
TIMEOUT_THERE = 3115.0
"""Nanoseconds of one `asyncio.timeout()` over a bare await where the limits in nanoseconds were set: they are scaled by it."""
BARS = {"breaker": 300, "retry": 250, "bulkhead": 200, "time-out": 500, "full stack": 1000}


async def at_once() -> int:
    return 1


async def waits() -> None:
    await asyncio.sleep(0)


def plainly() -> int:
    return 1


def run(*, rounds: int) -> dict[str, Any]:
    report = Report("resilience", PEERS)
    asyncio.run(_run(report, max(rounds, LEAST_ROUNDS)))
    _judge(report)
    return report.document()


async def _run(report: Report, rounds: int) -> None:
    groups = {
        "breaker": breakers(at_once),
        "retry": retries(at_once),
        "bulkhead": bulkheads(at_once),
        "time-out": time_outs(at_once),
        "full stack": stacks(at_once),
        "full stack around a call that waits": stacks(waits) | {"asyncio.timeout": time_outs(waits)["asyncio.timeout"]},
    }
    windows = {size: _filled(size) for size in (100, 100_000)}
    for _ in range(rounds):
        for metric, group in groups.items():
            bare = waits if metric.endswith("waits") else at_once
            for who, nanoseconds in (await _costs({"bare": bare, **group})).items():
                report.add(metric, who, nanoseconds, "ns")
        _sync(report)
        for who, nanoseconds in (await _costs({str(size): _mixed(b) for size, b in windows.items()})).items():
            report.add("breaker by window", f"{who} calls", nanoseconds, "ns")
        report.add("refused by an open circuit", "ours", await _refused(), "ns")


async def _costs(subjects: Mapping[str, Subject]) -> dict[str, float]:
    """Nanoseconds of CPU a call, the least of several batches taken in turns; all but `bare` over that."""
    least = dict.fromkeys(subjects, float("inf"))
    loops = {who: _own(_with_argument if isinstance(subject, tuple) else _alone) for who, subject in subjects.items()}
    for _ in range(BATCHES):
        for who, subject in subjects.items():
            batch = loops[who](*(subject if isinstance(subject, tuple) else (subject,)))
            # in a context of its own: some peers leave variables behind, which would make those of others dearer
            taken = await asyncio.create_task(batch, context=Context())
            least[who] = min(least[who], taken / CALLS)
    bare = least.get("bare", 0.0)
    return {who: cost if who == "bare" else cost - bare for who, cost in least.items()}


def _own(loop: Any) -> Any:
    """The same loop with bytecode of its own: the interpreter adapts a place that calls to what is called there."""
    return FunctionType(loop.__code__.replace(), loop.__globals__)


async def _alone(call: Fn) -> int:
    begun = time.process_time_ns()
    for _ in range(CALLS):
        await call()
    return time.process_time_ns() - begun


async def _with_argument(call: Callable[[Fn], Awaitable[Any]], fn: Fn) -> int:
    begun = time.process_time_ns()
    for _ in range(CALLS):
        await call(fn)
    return time.process_time_ns() - begun


def _sync(report: Report) -> None:
    subjects = {"bare": plainly, "ours": CircuitBreaker()(plainly), "full stack": full_policy()(plainly)}
    least = dict.fromkeys(subjects, float("inf"))
    loops = {who: _own(_in_thread) for who in subjects}
    for _ in range(BATCHES):
        for who, call in subjects.items():
            least[who] = min(least[who], loops[who](call) / CALLS)
    report.add("breaker, sync", "ours", least["ours"] - least["bare"], "ns")
    report.add("full stack, sync", "ours", least["full stack"] - least["bare"], "ns")


def _in_thread(call: Callable[[], Any]) -> int:
    begun = time.process_time_ns()
    for _ in range(CALLS):
        call()
    return time.process_time_ns() - begun


def _filled(size: int) -> CircuitBreaker:
    """A breaker whose window is full, and of which a tenth failed."""
    breaker = CircuitBreaker(0.9, window_calls=size, min_calls=size)

    def fail() -> None:
        raise OSError

    for number in range(size):
        with contextlib.suppress(OSError):
            breaker.call_sync(plainly if number % 10 else fail)
    return breaker


def _mixed(breaker: CircuitBreaker) -> Fn:
    """Nine calls that succeed, and one that fails."""

    async def fail() -> None:
        raise OSError

    async def ten() -> None:
        for _ in range(9):
            await breaker.call(at_once)
        with contextlib.suppress(OSError):
            await breaker.call(fail)

    return ten


async def _refused() -> float:
    policy = full_policy()
    assert policy.breaker is not None
    policy.breaker.isolate("benchmark")

    async def ask() -> None:
        with contextlib.suppress(CircuitOpen):
            await policy.call(at_once)

    return (await _costs({"ours": ask}))["ours"]


def _judge(report: Report) -> None:
    timeout = report.median("time-out", "asyncio.timeout")
    scale = timeout / TIMEOUT_THERE
    report.notes.append(
        f"one asyncio.timeout() took {timeout:,.0f} ns here and {TIMEOUT_THERE:,.0f} where the limits were set:"
        f" limits in ns are scaled by {scale:.2f}"
    )
    for metric, limit in BARS.items():
        report.bar(f"{metric}, ns over a bare await", report.median(metric), "<=", limit * scale)
    report.bar("breaker, sync, ns", report.median("breaker, sync"), "<=", 350 * scale)
    report.bar("refused by an open circuit, ns", report.median("refused by an open circuit"), "<=", 5000 * scale)
    report.bar("full stack over one asyncio.timeout()", report.median("full stack") / timeout, "<=", 1 / 3)
    for peer, times in (("nopanic", 7), ("tenacity and others", 20)):
        pairs = zip(report.samples["full stack"][peer], report.samples["full stack"]["ours"], strict=True)
        ratios = sorted(theirs / ours for theirs, ours in pairs)
        report.ratios[f"{peer} over ours, full stack"] = ratios[len(ratios) // 2]
        report.bar(f"{peer} over ours, full stack", ratios[len(ratios) // 2], ">=", times)
    window = report.ratio("window of 100,000 over 100", "breaker by window", "100 calls", who="100000 calls")
    report.bar("window of 100,000 calls over one of 100", window, "<=", 1.2)
