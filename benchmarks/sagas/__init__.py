"""Sagas of four steps beside DBOS on the same PostgreSQL server, and on SQLite; with group commit and without."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from benchmarks.report import Report, flush_probe
from benchmarks.sagas.ours import measure, restart
from servers.postgresql import PostgresServer

PEERS = ["dbos", "asyncpg"]
MANY, BEST = 64, 8
"""Concurrency; the second is the one at which DBOS was quickest."""


def run(*, rounds: int) -> dict[str, Any]:
    report = Report("sagas", PEERS)
    with tempfile.TemporaryDirectory() as folder, PostgresServer(Path(folder) / "pg") as postgres:
        postgres.wear_in()
        for number in range(rounds):
            report.add("flush", "probe", flush_probe(Path(folder)) * 1000, "ms")
            turns = [_ours, _dbos]
            for turn in turns if number % 2 else reversed(turns):
                turn(report, postgres, Path(folder) / f"round{number}", f"round{number}")
    _judge(report)
    return report.document()


def _ours(report: Report, postgres: PostgresServer, folder: Path, name: str) -> None:
    async def main() -> None:
        gc.freeze()  # as a service does once it is up
        many = await measure(postgres.own_database(f"{name}many"), folder, count=12_000, concurrency=MANY)
        report.add("PostgreSQL, 64 at once", "ours", many.rate, "sagas/s")
        report.add("PostgreSQL, 64 at once, p99", "ours", many.p99 * 1000, "ms")
        report.add("PostgreSQL, 64 at once, commits", "ours", many.commits, "a saga")
        alone = await measure(
            postgres.own_database(f"{name}alone"), folder, count=500, concurrency=MANY, together=False
        )
        report.add("PostgreSQL, 64 at once", "no group commit", alone.rate, "sagas/s")
        one = await measure(postgres.own_database(f"{name}one"), folder, count=150, concurrency=1)
        report.add("PostgreSQL, one by one", "ours", one.rate, "sagas/s")
        report.add("PostgreSQL, one by one, commits", "ours", one.commits, "a saga")
        embedded = await measure("sqlite:///many.db", folder, count=6000, concurrency=MANY)
        report.add("SQLite, 64 at once", "ours", embedded.rate, "sagas/s")
        report.add("SQLite, 64 at once, commits", "ours", embedded.commits, "a saga")
        report.add(
            "restart with 200 open, first result",
            "ours",
            await restart(postgres.own_database(f"{name}again"), folder) * 1000,
            "ms",
        )

    uvloop.run(main())


def _dbos(report: Report, postgres: PostgresServer, folder: Path, name: str) -> None:
    del folder
    for metric, who, count, concurrency in (
        ("PostgreSQL, 64 at once", "dbos", 150, MANY),
        ("PostgreSQL, 64 at once", "dbos at its best", 150, BEST),
        ("PostgreSQL, one by one", "dbos", 60, 1),
    ):
        url = postgres.own_database(f"{name}dbos{concurrency}")
        report.add(metric, who, asyncio.run(_peer(url, count, concurrency))["rate"], "sagas/s")


async def _peer(url: str, count: int, concurrency: int) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.sagas.dbos_peer",
        url,
        str(count),
        str(concurrency),
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate()
    figures: dict[str, float] = json.loads(told.splitlines()[-1])
    return figures


def _judge(report: Report) -> None:
    flush, many = report.median("flush", "probe"), "PostgreSQL, 64 at once"
    report.bar("PostgreSQL, 64 at once, sagas/s", report.median(many), ">=", 2500)
    report.bar("PostgreSQL, 64 at once, p99 ms", report.median(f"{many}, p99"), "<=", max(40.0, 100 * flush))
    report.bar("SQLite, 64 at once, sagas/s", report.median("SQLite, 64 at once"), ">=", 2000)
    report.bar("over DBOS, 64 at once", report.ratio("over DBOS, 64 at once", many, "dbos"), ">=", 30)
    best = report.ratio("over DBOS at its best", many, "dbos at its best")
    report.bar("over DBOS at its best", best, ">=", 20)
    alone = report.ratio("over DBOS, one by one", "PostgreSQL, one by one", "dbos")
    report.bar("over DBOS, one by one", alone, ">=", 3)
    off = report.ratio("without group commit over DBOS", many, "dbos", who="no group commit")
    report.bar("without group commit over DBOS", off, ">=", 5)
    report.bar("commits a saga, 64 at once", report.median(f"{many}, commits"), "<=", 0.2)
    report.bar("commits a saga, one by one", report.median("PostgreSQL, one by one, commits"), "<=", 5)
    report.bar("restart with 200 open, ms", report.median("restart with 200 open, first result"), "<=", 1000)
