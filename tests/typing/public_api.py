"""Checked by mypy, never run: what a user's editor must understand about the public names."""

from __future__ import annotations

import sqlite3
from typing import assert_type

from pydantic import BaseModel

from skerry import (
    AdaptiveLimit,
    Bulkhead,
    CircuitBreaker,
    DomainEvent,
    Fallback,
    Hedge,
    Policy,
    RateLimit,
    Reply,
    Retry,
    RetryBudget,
    Saga,
    SagaStatus,
    Service,
    ServiceClient,
    StepContext,
    SyncServiceClient,
    Token,
    Transaction,
)
from skerry.store.documents import Documents, Page, Stored, Where

policy = Policy("stock", total=1.0, retry=Retry(3, budget=RetryBudget()), limit=Bulkhead(5), breaker=CircuitBreaker())
service = Service("order")
saga = Saga("fulfil", version=1, input=dict)


class Product(BaseModel):
    sku: str


products = service.documents("products", Product, key="sku")


class Placed(DomainEvent, type="placed", version=1, key="id"):
    id: str


@policy
async def ask(number: int, *, text: str = "") -> str:
    return text * number


@policy
def ask_sync(number: int) -> bytes:
    return bytes(number)


@RateLimit(10)
@AdaptiveLimit()
@Fallback([])
@Hedge(safe=True)
async def limited(number: int) -> list[int]:
    return [number]


@service.on(Placed)
async def handle(event: Placed, tx: Transaction) -> None:
    assert_type(event.id, str)


@saga.step(timeout=1.0)
async def reserve(ctx: StepContext, order: dict[str, str]) -> int:
    return len(ctx.key)


@reserve.compensate
async def release(ctx: StepContext, order: dict[str, str], result: int | None) -> None: ...


async def use(client: ServiceClient, connection: sqlite3.Connection) -> None:
    assert_type(await ask(3, text="x"), str)
    assert_type(ask_sync(3), bytes)
    assert_type(await limited(3), list[int])
    assert_type(await policy.call(ask, 3, text="x"), str)
    assert_type(policy.call_sync(ask_sync, 3), bytes)
    await ask("three")  # type: ignore[arg-type]
    assert_type(await client.post("/x", json={}, idempotency_key="k"), Reply)
    await client.post("/x", jsn={})  # type: ignore[call-arg]
    await client.get("/x", timeout="soon")  # type: ignore[arg-type]
    async with client.stream("GET", "/x") as stream:
        assert_type([line async for line in stream.aiter_lines()], list[str])
    with SyncServiceClient("stock") as blocking, blocking.stream("GET", "/x") as sync_stream:
        assert_type(blocking.get("/x"), Reply)
        assert_type(list(sync_stream.iter_bytes()), list[bytes])
    async with service.transaction() as tx:
        assert_type(tx, Transaction)
        assert_type(await service.outbox.record(tx, Placed(id="1")), Token)
        assert_type(await service.sagas.start(tx, saga, {}, key="1"), str)
    assert_type(service.outbox.record_sync(connection, Placed(id="1")), Token)
    assert_type(await service.sagas.run(saga, {}, key="1"), SagaStatus)


async def keep(tx: Transaction) -> None:
    assert_type(products, Documents[Product])
    assert_type(await products.get("1", tx=tx), Stored[Product] | None)
    page = await products.find(Where("price.amount", ">", 5), sort="-price.amount")
    assert_type(page, Page[Product])
    assert_type(page.documents[0].body, Product)
    assert_type(await products.replace(tx, Product(sku="1"), version=1), int)
    await products.insert(tx, {"sku": "1"})  # type: ignore[arg-type]
    Where("price.amount", "!=", 5)  # type: ignore[arg-type]
