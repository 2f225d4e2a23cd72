"""The console's questions and answers over HTTP, all of them JSON; an error is `{"error": TEXT}`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from skerry.console.actions import Absent, Actions, Asked
from skerry.console.audit import Audit
from skerry.console.heard import Unreadable
from skerry.console.picture import Picture
from skerry.console.receiver import body_of
from skerry.console.stream import MAX_STREAMS, Views
from skerry.errors import ConfigurationError, NotNow, SkerryError, UnknownSaga

MAX_ASKED: Final = 16 * 1024
"""Bytes of what a person asks for."""
MOST: Final = 500
"""Entries of a list at most."""
PATIENCE: Final = 10.0
CHECK_AWAITED: Final = 10.0
"""Seconds that a page waits for a check of the architecture; what takes longer it asks for again."""

Answer = Callable[[Request], Awaitable[Any]]


class Api:
    """The routes under `/api`."""

    def __init__(self, picture: Picture, views: Views, audit: Audit, actions: Actions) -> None:
        self._picture = picture
        self._views = views
        self._audit = audit
        self._actions = actions
        self._checked: dict[str, Any] | None = None
        self._check_failed = ""
        self._checking: asyncio.Task[None] | None = None

    def routes(self) -> list[Route]:
        """All of them."""
        gets: dict[str, Answer] = {
            "view": self._view,
            "service": self._service,  # by name, in the query: names of others may be paths, such as `..`
            "traces": self._traces,
            "traces/{id}": self._trace,
            "sagas": self._sagas,
            "sagas/{service}/{id}": self._saga,
            "dead": self._dead,
            "dead/{service}/{id}": self._letter,
            "audit": self._audited,
            "strangler": self._strangler,
            "checks": self._checks,
        }
        posts: dict[str, Answer] = {
            "sagas/{service}/{id}/{act}": self._change_saga,
            "dead/{service}/{id}/{act}": self._change_letter,
            "checks": self._run_checks,
        }
        found = [Route(f"/api/{path}", _told(answer), methods=["GET"]) for path, answer in gets.items()]
        found += [Route(f"/api/{path}", _told(answer), methods=["POST"]) for path, answer in posts.items()]
        return [Route("/api/stream", self._stream, methods=["GET"]), *found]

    async def _stream(self, _request: Request) -> Response:
        if self._views.streams >= MAX_STREAMS:
            return JSONResponse({"error": "too many pages look already"}, 503)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._views.stream(), media_type="text/event-stream", headers=headers)

    async def _view(self, _request: Request) -> Any:
        return self._views.now()

    async def _service(self, request: Request) -> Any:
        found = self._picture.service(request.query_params.get("name", ""))
        if found is None:
            raise Absent("nobody has heard of this service")
        return found

    async def _traces(self, request: Request) -> Any:
        asked = request.query_params
        return self._picture.window.traces(
            service=asked.get("service", ""),
            errors=asked.get("errors") == "1",
            slow=asked.get("slow") == "1",
            limit=_limit(request),
        )

    async def _trace(self, request: Request) -> Any:
        trace_id = request.path_params["id"]
        spans = self._picture.window.trace(trace_id)
        if spans is None:
            raise Absent("this trace is not, or no longer, in memory")
        return {
            "id": trace_id,
            "spans": [
                {
                    "id": span.id,
                    "parent": span.parent or None,
                    "service": span.service,
                    "name": span.name,
                    "kind": span.kind,
                    "at": span.at,
                    "seconds": span.seconds,
                    "error": span.error,
                    "attributes": dict(span.attributes),
                }
                for span in spans
            ],
        }

    async def _sagas(self, request: Request) -> Any:
        asked = request.query_params
        return await self._actions.sagas(
            status=asked.get("status", ""), service=asked.get("service", ""), limit=_limit(request)
        )

    async def _saga(self, request: Request) -> Any:
        return await self._actions.saga(request.path_params["service"], request.path_params["id"])

    async def _change_saga(self, request: Request) -> Any:
        path, asked = request.path_params, await _asked(request)
        return await self._actions.change_saga(path["service"], path["id"], path["act"], asked)

    async def _dead(self, request: Request) -> Any:
        return await self._actions.dead(service=request.query_params.get("service", ""), limit=_limit(request))

    async def _letter(self, request: Request) -> Any:
        return await self._actions.letter(request.path_params["service"], request.path_params["id"])

    async def _change_letter(self, request: Request) -> Any:
        path, asked = request.path_params, await _asked(request)
        return await self._actions.change_letter(path["service"], path["id"], path["act"], asked)

    async def _audited(self, _request: Request) -> Any:
        return {"audit": self._audit.records()}

    async def _strangler(self, _request: Request) -> Any:
        ask = self._picture.sources.strangler
        return [] if ask is None else list(await asyncio.to_thread(ask))

    async def _checks(self, _request: Request) -> Any:
        running = self._checking is not None and not self._checking.done()
        available = self._picture.sources.check is not None
        return {"checks": self._checked, "available": available, "running": running, "error": self._check_failed}

    async def _run_checks(self, request: Request) -> Any:
        """Begin a check, unless one is under way, and wait for it as long as a page does."""
        check = self._picture.sources.check
        if check is None:
            raise Absent("this console was not told which code belongs to the system")
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check(check), name="console: check")
        await asyncio.wait({self._checking}, timeout=CHECK_AWAITED)
        return await self._checks(request)

    async def _check(self, check: Callable[[], Mapping[str, Any]]) -> None:
        try:
            self._checked, self._check_failed = dict(await asyncio.to_thread(check)), ""
        except SkerryError as error:
            self._check_failed = str(error)


def _told(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """As JSON that nobody keeps, or the error in a sentence."""

    async def respond(request: Request) -> Response:
        status = 200
        try:
            body = await answer(request)
        except Unreadable as error:
            status, body = error.status, {"error": str(error)}
        except (Absent, UnknownSaga) as error:
            status, body = 404, {"error": str(error)}
        except NotNow as error:
            status, body = 409, {"error": str(error)}
        except ConfigurationError as error:
            status, body = 400, {"error": str(error)}
        except (SkerryError, TimeoutError) as error:
            status, body = 502, {"error": str(error) or "it took too long"}
        return JSONResponse(body, status, headers={"cache-control": "no-store"})

    return respond


async def _asked(request: Request) -> Asked:
    body = await body_of(request, most=MAX_ASKED, patience=PATIENCE)
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise Unreadable(400, "the body is no JSON") from None
    if not isinstance(given, dict):
        raise Unreadable(400, "the body is no JSON object")
    fields = {"confirm": "confirm", "reason": "reason", "step": "step", "as": "outcome"}
    found = {own: given[name] for name, own in fields.items() if given.get(name) is not None}
    if isinstance(found.get("confirm"), int) and not isinstance(found["confirm"], bool):
        found["confirm"] = str(found["confirm"])  # a letter's id is a number
    if not isinstance(found.get("confirm"), str) or not all(isinstance(value, str) for value in found.values()):
        raise Unreadable(400, 'the body has to be {"confirm": ID, "reason": TEXT}')
    return Asked(**found)


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", "100")
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MOST):
        raise ConfigurationError(f"limit has to be a number from 1 to {MOST}")
    return int(text)
