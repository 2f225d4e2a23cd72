"""The desk of an inn, in two releases: the old one writes memos, the new one notes. Both record, handle and drive sagas."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from booked import Booked
from fastapi import FastAPI

from skerry.saga import Saga, StepContext
from skerry.service import Service

RELEASE = os.environ["RELEASE"]
COLUMN = {"old": "memo", "new": "note"}[RELEASE]
NEXT = "INSERT INTO rooms (room, last) VALUES (?, 1) ON CONFLICT (room) DO UPDATE SET last = last + 1 RETURNING last"

api = FastAPI()
service = Service(
    "desk",
    app=api,
    database="sqlite:///desk.db",
    events="sqlite:///events/",
    migrations=Path(__file__).parent / f"sql_{RELEASE}",
)
stay = Saga("stay", version=1, input=str)


async def effect(key: str, step: str) -> None:
    async with service.transaction() as tx:
        await tx.execute("INSERT INTO effects VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (key, step, RELEASE))


@stay.step()
async def clean(_ctx: StepContext, key: str) -> str:
    await effect(key, "clean")
    return key


@clean.compensate
async def uncleaned(_ctx: StepContext, key: str, _result: str | None) -> None:
    await effect(key, "uncleaned")


@stay.retriable()
async def greet(_ctx: StepContext, key: str) -> None:
    await effect(key, "greet")


service.add(stay)


@api.post("/book/{room}")
async def book(room: str) -> int:
    async with service.transaction() as tx:
        n = int((await tx.fetch_all(NEXT, (room,)))[0][0])
        await tx.execute(f"INSERT INTO bookings (room, n, {COLUMN}) VALUES (?, ?, 'quiet')", (room, n))
        await service.outbox.record(tx, Booked(room=room, n=n, release=RELEASE))
        key = f"{RELEASE}-{room}-{n}"
        await service.sagas.start(tx, stay, key, key=key)
    return n


@service.on(Booked)
async def handle(event: Booked, tx: Any) -> None:
    await tx.execute("INSERT INTO handled VALUES (?, ?, ?, ?)", (event.room, event.n, event.release, RELEASE))
