"""Returned parcels: a service that the tests of the console add to the shop, with a saga and a handler that can be made to fail.

While a file `refusing` lies in the data folder, nothing can be undone and nothing that is told can be handled: what is returned
then becomes a stuck saga and a dead letter. Without the file all of it works.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from skerry import DomainEvent, Retry, Service
from skerry.saga import Rejected, Saga
from skerry.store import Transaction


class Returned(DomainEvent, type="shop.parcel.returned", key="parcel"):
    parcel: str
    remark: str


class Return(BaseModel):
    parcel: str
    remark: str = "it does not fit"


api = FastAPI(title="returns")
service = Service("returns", app=api, database="sqlite:///returns.db", events="sqlite:///events/")
refund = Saga("refund", input=Return)
ATTEMPTS = Retry(3, base=0.01, cap=0.02)


def demand_open(of: str) -> None:
    if (service.settings.data / "refusing").exists():
        raise OSError(f"the till is closed, {of} has to wait")


@refund.step()
async def take_back(_ctx: Any, given: Return) -> str:
    return given.parcel


@take_back.compensate
async def send_again(_ctx: Any, given: Return, _result: str | None) -> None:
    demand_open(given.parcel)


take_back.compensation_retry = ATTEMPTS


@refund.pivot()
async def pay_back(_ctx: Any, given: Return) -> None:
    raise Rejected(f"{given.parcel} was never paid for")


service.add(refund)


@api.post("/returns", status_code=202)
async def give_back(given: Return) -> dict[str, str]:
    async with service.transaction() as tx:
        await tx.execute("CREATE TABLE IF NOT EXISTS returned (parcel TEXT NOT NULL)")
        saga = await service.sagas.start(tx, refund, given, key=given.parcel)
        await service.outbox.record(tx, Returned(parcel=given.parcel, remark=given.remark))
    return {"saga": saga}


@api.get("/returns")
async def handled() -> list[str]:
    """The parcels that were handled."""
    return [row["parcel"] for row in await service.database.fetch_all("SELECT parcel FROM returned")]


@service.on(Returned, retry=ATTEMPTS)
async def count(event: Returned, tx: Transaction) -> None:
    demand_open(event.remark)
    await tx.execute("INSERT INTO returned VALUES (?)", (event.parcel,))
