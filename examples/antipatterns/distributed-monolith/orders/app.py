"""Orders, with the number of boxes they will come in."""

import os
from contextlib import asynccontextmanager

import asyncpg
from fastapi import FastAPI
from warehouse.models import Item
from warehouse.packing import boxes_for


@asynccontextmanager
async def lifespan(app):
    app.state.pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], timeout=3, command_timeout=5)
    yield
    await app.state.pool.close()


app = FastAPI(title="orders", lifespan=lifespan)


@app.post("/orders", status_code=201)
async def place(customer: str, items: list[dict]):
    boxes = boxes_for([Item(each["sku"], each["litres"]) for each in items])
    await app.state.pool.execute("INSERT INTO orders (customer, boxes) VALUES ($1, $2)", customer, boxes)
    return {"boxes": boxes}
