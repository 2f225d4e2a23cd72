"""Shelves and what is on them."""

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


app = FastAPI(title="warehouse", lifespan=lifespan)


@app.get("/shelves/{shelf}")
async def shelf(shelf: int):
    rows = await app.state.pool.fetch("SELECT sku, litres FROM items WHERE shelf = $1", shelf)
    items = [Item(row["sku"], row["litres"]) for row in rows]
    return {"items": [item.sku for item in items], "boxes": boxes_for(items)}
