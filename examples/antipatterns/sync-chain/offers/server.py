"""What a product is offered for today."""

import os
from datetime import timedelta

import aiohttp
from aiobreaker import CircuitBreaker
from aiohttp import web

PRICING = os.environ["PRICING_URL"]
breaker = CircuitBreaker(fail_max=5, timeout_duration=timedelta(seconds=30))
session_key = web.AppKey("session", aiohttp.ClientSession)


async def keep_session(app):
    app[session_key] = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1.5))
    yield
    await app[session_key].close()


@breaker
async def price_of(session, sku):
    async with session.get(f"{PRICING}/prices/{sku}") as response:
        response.raise_for_status()
        return await response.json()


async def offer(request):
    price = await price_of(request.app[session_key], request.match_info["sku"])
    return web.json_response({"price": price["gross"], "badge": "new" if price["gross"] < 2000 else ""})


def make_app():
    app = web.Application()
    app.cleanup_ctx.append(keep_session)
    app.router.add_get("/offers/{sku}", offer)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), port=8000)
