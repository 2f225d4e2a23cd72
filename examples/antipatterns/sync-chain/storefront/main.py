"""The page of a product."""

import os

import httpx
from fastapi import FastAPI, HTTPException
from purgatory import AsyncCircuitBreakerFactory

app = FastAPI(title="storefront")
offers = httpx.AsyncClient(base_url=os.environ["OFFERS_URL"], timeout=httpx.Timeout(2.0))
breakers = AsyncCircuitBreakerFactory(default_threshold=5, default_ttl=30)


@app.get("/products/{sku}")
async def page(sku: str):
    async with await breakers.get_breaker("offers"):
        response = await offers.get(f"/offers/{sku}")
    if response.status_code == 404:
        raise HTTPException(404, "no such product")
    return {"sku": sku, "offer": response.json()}
