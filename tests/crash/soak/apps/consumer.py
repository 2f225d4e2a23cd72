"""A consumer: one effect for each event, in the transaction of its receipt. Every try is written down outside of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from facts import Counted
from storm.lines import Lines
from wire import Body, Request, Routes

from skerry.events import DeadLetter
from skerry.resilience import Retry
from skerry.service import Service
from skerry.signals import EventHandled, Signal, subscribe
from skerry.store import Transaction

NAME = os.environ["SOAK_NAME"]
PROCESS = os.environ["SKERRY_SERVICE"]
HOLD = os.environ.get("SOAK_HOLD") == "1"
PAUSE = float(os.environ["SOAK_PAUSE"])
"""Seconds before the second try of what failed; later ones wait longer."""
DAWDLE = 0.02
"""Seconds a handler holds its transaction for every eighth event, so that kills find one open."""

app = Routes()
service = Service(
    NAME,
    app=app,
    database=f"sqlite:///{NAME}.db",
    events="sqlite:///events/",
    migrations=Path(__file__).parent / "migrations" / "consumer",
)
deliveries = Lines(os.environ["SOAK_DELIVERIES"])
stumbled: set[str] = set()


@service.on(Counted, retry=Retry(4, base=PAUSE, cap=4 * PAUSE), on_poison=DeadLetter(hold_key=HOLD))
async def count(event: Counted, tx: Transaction) -> None:
    """The effect. What an event cannot be handled for is its own fault, until somebody has cured the consumer."""
    deliveries.write("begun", consumer=NAME, process=PROCESS, event_id=event.op, pid=os.getpid())
    if NAME in event.stumble and event.op not in stumbled:
        stumbled.add(event.op)
        raise RuntimeError("the first try of this one fails")
    if NAME in event.poison and not (HOLD and (service.settings.data / "cured").exists()):
        raise RuntimeError("this one cannot be handled")
    await tx.execute(
        "INSERT INTO effects (event_id, aggregate, seq, t) VALUES (?, ?, ?, ?)",
        (event.op, event.aggregate, event.seq, service.clock.monotonic()),
    )
    if event.seq % 8 == 0:
        await service.clock.sleep(DAWDLE)


@app.post("/retry")
async def retry(_body: Body, _request: Request) -> Any:
    """The operator's way out: every dead letter gets another try."""
    letters = await service.dead_letters.list(limit=1000)
    return {"retried": [await service.dead_letters.retry(each.id) for each in letters if each.state == "dead"]}


def note_duplicates(signal: Signal) -> None:
    """A delivery whose receipt was there already never reaches the handler."""
    if isinstance(signal, EventHandled) and signal.duplicate:
        deliveries.write("duplicate", consumer=NAME, process=PROCESS, event_id=signal.id)


subscribe(note_duplicates)
