"""A publisher: numbers the events of each aggregate in the transaction that records them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from facts import Counted
from wire import Body, Request, Routes

from skerry.events.brokers.eventlog import EventLog
from skerry.service import Problem, Service

NAME = os.environ["SOAK_NAME"]
app = Routes()
service = Service(
    NAME,
    app=app,
    database=f"sqlite:///{NAME}.db",
    events="sqlite:///events/",
    migrations=Path(__file__).parent / "migrations" / "publisher",
)
service.bus.broker = EventLog(
    service.settings.data / "events", source=NAME, segment_bytes=int(os.environ["SOAK_SEGMENT"])
)


@app.post("/publish")
async def publish(body: Body, request: Request) -> Any:
    """Publish one event, once per key; one that is to be refused is rolled back with all it wrote."""
    aggregate = body["aggregate"]
    async with service.transaction() as tx:

        async def effect() -> Any:
            await tx.execute(
                "INSERT INTO sequences VALUES (?, 1) ON CONFLICT (aggregate) DO UPDATE SET seq = seq + 1", (aggregate,)
            )
            seq = (await tx.fetch_one("SELECT seq FROM sequences WHERE aggregate = ?", (aggregate,)))[0]
            await tx.execute("INSERT INTO published VALUES (?, ?, ?)", (body["op"], aggregate, seq))
            event = Counted(op=body["op"], aggregate=aggregate, seq=seq, poison=body["poison"], stumble=body["stumble"])
            await service.outbox.record(tx, event)
            if body["refused"]:
                raise Problem(409, "refused", "This one is rolled back.")
            return {"seq": seq}

        answer = await service.once(tx, request.key, body, effect, scope="publish")
    if body["lost"] and request.attempt == 1:
        request.drop()
    return answer
