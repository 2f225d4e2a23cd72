"""The console under 1,000 spans a second for a minute: what its process takes, and whether a page that is open stays quick.

Beside it the same with a tenth of the spans, for how quick a page is depends on who else uses the machine. Chromium looks
on, as in the tests of the page. Each second somebody opens or closes a part of the page and another page is asked for; what
that takes until the next picture, and the longest piece of work of the page's scripts, is measured in the page itself.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.gateway.processes import TICK
from benchmarks.report import Report

BROWSER = Path(__file__).parents[2] / "tests" / "browser"
TOKEN = "a-token-for-this-benchmark"
SECONDS, RATE = 60, 1000
CALM, CALM_SECONDS, CALM_RATE = "100 spans/s", 20, 100
"""What it is compared with: the same page on the same machine at the same hour, with next to nothing to do."""
SETTLED = 25
"""Seconds after which everything in the console's memory has come to its bounds."""
ROUNDS_AT_MOST = 3
WATCH = """window.long = [];
new PerformanceObserver(list => list.getEntries().forEach(e => window.long.push(e.duration)))
  .observe({type: 'longtask'});"""
TURN = """new Promise(done => { const begun = performance.now(), part = document.querySelector('main summary');
  if (part) part.click(); else location.hash = '#/';
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun), 0)) })"""
GO = """new Promise(done => { const begun = performance.now(); location.hash = '#/traces';
  const look = () => document.querySelector('main td a') ? requestAnimationFrame(() => { location.hash = '#/';
    done(performance.now() - begun) }) : setTimeout(look, 5); look() })"""


def run(*, rounds: int) -> dict[str, Any]:
    report = Report("console", [])
    for _ in range(min(rounds, ROUNDS_AT_MOST)):
        with tempfile.TemporaryDirectory() as folder, serving() as (address, process):
            _round(report, Path(folder), address, process.pid)
    _judge(report)
    return report.document()


@contextmanager
def serving() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A console in another process, and its address."""
    command = [sys.executable, "-m", "benchmarks.console.server", TOKEN]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
    finally:
        process.terminate()
        process.wait()


def _round(report: Report, folder: Path, address: str, pid: int) -> None:
    sys.path.insert(0, str(BROWSER))
    from chromium import Chromium

    browser = Chromium(folder / "profile", width=1360)
    try:
        browser.open(f"{address}/?token={TOKEN}")
        browser.until("document.querySelector('main h1')")
        browser.run(WATCH)
        browser.ask("Performance.enable", {"timeDomain": "threadTicks"})
        for who, rate, seconds in ((CALM, CALM_RATE, CALM_SECONDS), ("ours", RATE, SECONDS)):
            _look(report, who, browser, address, pid, rate, seconds)
    finally:
        browser.close()


def _look(report: Report, who: str, browser: Any, address: str, pid: int, rate: int, seconds: int) -> None:
    """So many spans a second for so long, while somebody looks."""
    browser.run("window.long = []")
    before, thread, cpu, begun = memory(pid), working(browser), processor(pid), time.monotonic()
    command = [sys.executable, "-m", "benchmarks.console.sender", address, TOKEN, str(rate), str(seconds)]
    sender = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    turns, pages, views, kept = [], [], [], []
    while sender.poll() is None:
        turns.append(browser.until(TURN))
        pages.append(browser.until(GO))
        browser.until("document.querySelector('main .node')")
        views.append(asked(address))
        kept.append((time.monotonic() - begun, memory(pid)))
        time.sleep(max(0.0, len(turns) - (time.monotonic() - begun)))
    assert sender.stdout is not None
    told, took = json.loads(sender.stdout.read()), time.monotonic() - begun
    longest = browser.run("window.long") or [0.0]
    if who == "ours":
        report.add("server, memory before", who, before, "MiB")
        report.add("server, memory at its bounds", who, next(each for at, each in kept if at >= SETTLED), "MiB")
        report.add("server, memory at the end", who, kept[-1][1], "MiB")
        report.add("spans refused", who, told["sent"] - told["taken"], "spans")
    report.add("spans taken", who, told["taken"] / told["seconds"], "spans/s")
    report.add("server, processor", who, (processor(pid) - cpu) / took * 100, "% of a core")
    report.add("page, processor of its thread", who, (working(browser) - thread) / took * 100, "% of a core")
    report.add("the view by HTTP, p95", who, at_95(views) * 1000, "ms")
    report.add("page, a click until the next picture, median", who, statistics.median(turns), "ms")
    report.add("page, a click until the next picture, p95", who, at_95(turns), "ms")
    report.add("page, the list of traces until it is there, median", who, statistics.median(pages), "ms")
    report.add("page, longest task of its scripts", who, max(longest), "ms")


def _judge(report: Report) -> None:
    grown = report.median("server, memory at the end") - report.median("server, memory at its bounds")
    report.bar("spans/s taken", report.median("spans taken"), ">=", RATE * 0.98)
    slower = report.ratio("a click, over one at 100 spans/s", "page, a click until the next picture, median", CALM)
    report.ratio("the list of traces, likewise", "page, the list of traces until it is there, median", CALM)
    report.ratio("the page's thread, likewise", "page, processor of its thread", CALM)
    report.bar("a click, over one at 100 spans/s", slower, "<=", 2)
    report.bar("spans refused", report.median("spans refused"), "<=", 0)
    report.bar("MiB more at the end than at the bounds", grown, "<=", 8)
    report.bar(
        "a click until the next picture, p95, ms", report.median("page, a click until the next picture, p95"), "<=", 100
    )
    report.bar("longest task, ms", report.median("page, longest task of its scripts"), "<=", 200)


def asked(address: str) -> float:
    """Seconds that the first screen takes by HTTP."""
    request = urllib.request.Request(f"{address}/api/view", headers={"authorization": f"Bearer {TOKEN}"})
    begun = time.perf_counter()
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()
    return time.perf_counter() - begun


def working(browser: Any) -> float:
    """Seconds of processor time that the page's own thread has had."""
    found = browser.ask("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in found if each["name"] == "TaskDuration"))


def at_95(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


def memory(pid: int) -> float:
    """MiB that are resident."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def processor(pid: int) -> float:
    """Seconds of processor time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK
