"""The kitchen of the inn, which is upgraded last: it reads what desks of both releases publish."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from booked import Booked

from skerry.service import Service

service = Service(
    "kitchen",
    database="sqlite:///kitchen.db",
    events="sqlite:///events/",
    migrations=Path(__file__).parent / "sql_kitchen",
)


@service.on(Booked)
async def cook(event: Booked, tx: Any) -> None:
    await tx.execute(
        "INSERT INTO handled VALUES (?, ?, ?, ?)", (event.room, event.n, event.release, os.environ["RELEASE"])
    )
