"""The shop as one ASGI application: `uvicorn --app-dir examples/monolith shop.app:app`."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from . import analytics, inventory, product
from .host import api, service
from .order import facts, routes

for each in (product, inventory, analytics, routes):
    api.include_router(each.router)
for router in (product.positions, facts.positions, routes.internal):
    api.include_router(router)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """What a server runs; its lifespan opens the database."""
    await service.app(scope, receive, send)


__all__ = ["app", "service"]
