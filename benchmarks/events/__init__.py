"""Events: outbox to inbox on PostgreSQL, the bus over bare drivers, the embedded log, a projection's rebuild."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from benchmarks.events.buses import buses
from benchmarks.events.log import embedded
from benchmarks.events.outbox import outboxes
from benchmarks.events.rebuild import rebuild
from benchmarks.report import Report

PEERS = ["faststream", "faststream-outbox", "nats-py", "redis", "aiormq", "asyncpg"]


def run(*, rounds: int) -> dict[str, Any]:
    report = Report("events", PEERS)
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(_run(report, Path(folder), rounds))
    _judge(report)
    return report.document()


async def _run(report: Report, folder: Path, rounds: int) -> None:
    await outboxes(report, folder / "outbox", rounds)
    await buses(report, folder / "buses", rounds)
    for number in range(rounds):
        await embedded(report, folder / f"log{number}")
    for number in range(rounds):
        await rebuild(report, folder / f"rebuild{number}")


def _judge(report: Report) -> None:
    flush = report.median("flush", "probe")
    over = report.ratio("outbox to inbox over faststream-outbox", "outbox to inbox", "faststream-outbox")
    report.bar("outbox to inbox over faststream-outbox", over, ">=", 3)
    report.bar("outbox to inbox, events/s", report.median("outbox to inbox"), ">=", 2000)
    report.bar("commit to handled at 300/s, p50 ms", report.median("commit to handled, p50"), "<=", max(3.0, 6 * flush))
    row = report.ratio("a transaction with an outbox row over one without", "a flushed transaction", "without a row")
    report.bar("a flushed transaction with an outbox row over one without", row, "<=", 1.1)
    for who, what in (
        ("by hand", "the least row that the driver itself could write"),
        ("by hand, numbered", "numbered"),
    ):
        report.ratio(f"the same, {what}", "a flushed transaction", "by hand, without a row", who=who)
    kept = report.ratio("writers with a wake hint over those without", "writers", "without a hint")
    report.bar("writers with a wake hint over those without", kept, ">=", 0.95)
    for broker, driver in (("NATS", "nats-py"), ("Redis", "redis"), ("RabbitMQ", "aiormq")):
        if f"bus on {broker}" in report.samples:
            over = report.ratio(f"bus over the bare driver, {broker}", f"bus on {broker}", driver)
            report.bar(f"bus over the bare driver, {broker}", over, ">=", 0.75)
    over = report.ratio("bus over FastStream, NATS", "typed events on NATS", "faststream")
    report.bar("bus over FastStream, NATS", over, ">=", 2)
    report.bar("embedded log to 3 processes, events/s", report.median("embedded log to 3 processes"), ">=", 5000)
    report.bar("embedded log at 200/s, p50 ms", report.median("embedded log at 200/s, p50"), "<=", 0.6)
    report.bar("projection rebuild, events/s", report.median("projection rebuild"), ">=", 20_000)
