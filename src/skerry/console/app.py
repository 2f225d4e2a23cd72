"""The console as an ASGI application, and what it does by itself: looking, again and again, at what does not tell of itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from skerry.clock import SYSTEM, Clock
from skerry.errors import MissingExtra, SkerryError

try:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import FileResponse, PlainTextResponse, Response
    from starlette.routing import BaseRoute, Mount, Route
    from starlette.staticfiles import StaticFiles
except ImportError as _error:
    raise MissingExtra("The console", "console") from _error

from skerry.console.actions import Actions
from skerry.console.api import Api
from skerry.console.audit import Audit
from skerry.console.picture import Picture
from skerry.console.receiver import Receiver
from skerry.console.security import App, Guard
from skerry.console.sources import Sources
from skerry.console.stream import Views

STATIC: Final = Path(__file__).parent / "static"
PROCESSES_EVERY: Final = 1.0
STORES_EVERY: Final = 2.0
"""Seconds between two looks."""
PATIENCE: Final = 10.0
_log = logging.getLogger("skerry.console")


class Console:
    """The parts of a console, for whoever serves it: `app` is what is served, `close` ends its streams."""

    def __init__(
        self, sources: Sources, *, token: str, clock: Clock = SYSTEM, hosts: Collection[str] = (), static: Path = STATIC
    ) -> None:
        self.picture: Picture = Picture(sources, clock=clock)
        self._sources = sources
        self._clock = clock
        self._views = Views(self.picture, clock=clock)
        audit = Audit(sources.audit, clock=clock)
        api = Api(self.picture, self._views, audit, Actions(sources, audit, clock=clock))
        receiver = Receiver(self.picture)
        routes: list[BaseRoute] = [
            Route("/v1/traces", receiver.traces, methods=["POST"]),
            Route("/v1/logs", receiver.logs, methods=["POST"]),
            Route("/v1/metrics", receiver.metrics, methods=["POST"]),
            *api.routes(),
            Route("/", _page(static), methods=["GET"]),
        ]
        if (static / "index.html").is_file():
            routes.append(Mount("/", StaticFiles(directory=static)))
        self.app: App = Guard(Starlette(routes=routes, lifespan=self._lifespan), token=token, hosts=hosts)

    def close(self) -> None:
        """End every stream, so that stopping does not wait for pages that are open."""
        self._views.closing = True

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        looking = [
            asyncio.create_task(self._again(self._processes, PROCESSES_EVERY), name="console: processes"),
            asyncio.create_task(self._again(self._stores, STORES_EVERY), name="console: databases"),
        ]
        try:
            yield
        finally:
            self.close()
            for task in looking:
                task.cancel()
            await asyncio.gather(*looking, return_exceptions=True)

    async def _again(self, look: Callable[[], Awaitable[None]], every: float) -> None:
        """Until it is cancelled; what goes wrong once is no reason to stop looking."""
        while True:
            try:
                await look()
            except Exception:  # a mistake in one look must not blind the console for good
                _log.exception("the console could not look")
            await self._clock.sleep(every)

    async def _processes(self) -> None:
        ask = self._sources.processes
        if ask is None:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                found = await asyncio.to_thread(ask)
        except (SkerryError, OSError, TimeoutError):
            self.picture.states.lose()
        else:
            self.picture.states.take(found)

    async def _stores(self) -> None:
        if self.picture.stores is not None:
            await self.picture.stores.look()


def create_app(
    sources: Sources, *, token: str, clock: Clock = SYSTEM, hosts: Collection[str] = (), static: Path = STATIC
) -> App:
    """The console as an ASGI application.

    Whoever asks needs `token`, by the address `/?token=...` in a browser or as a bearer's. It answers to the names of this
    machine only, and to those in `hosts`. Everything in memory is bounded, and lost when it ends.

    Raises `ConfigurationError` when the token is shorter than 16 characters, `MissingExtra` without `skerry[console]`.
    """
    return Console(sources, token=token, clock=clock, hosts=hosts, static=static).app


def _page(static: Path) -> Callable[[Request], Awaitable[Response]]:
    async def page(_request: Request) -> Response:
        index = static / "index.html"
        if not index.is_file():
            text = "The console's pages were not built: run `npm ci && npm run build` in ui/. What it knows is at /api/view."
            return PlainTextResponse(f"{text}\n", headers={"cache-control": "no-store"})
        return FileResponse(index, media_type="text/html", headers={"cache-control": "no-cache"})

    return page
