"""The clients: an open loop. They ask at the planned time, whatever became of the calls before, and write down the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2

from .lines import Lines
from .plan import STEPS, Request

TIMEOUT = 3.0
ATTEMPTS = 3
PAUSE = 0.3


class Clients:
    """Carry out the plan. `url` gives the address of a process."""

    def __init__(self, history: Lines, url: Callable[[str], str]) -> None:
        self._history = history
        self._url = url
        self._http = httpx2.AsyncClient(
            timeout=TIMEOUT,
            trust_env=False,
            limits=httpx2.Limits(max_connections=400, max_keepalive_connections=50),
        )
        self.done = 0

    async def run(self, plan: list[Request]) -> None:
        """Send every request at its time; returns when the last one has its answer or was given up."""
        begin = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for request in plan:
                await asyncio.sleep(max(0.0, begin + request.at - asyncio.get_running_loop().time()))
                group.create_task(self._send(request))

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _send(self, request: Request) -> None:
        status, answer = await self._insist(request)
        if request.what == "event":
            self._tell_event(request, status, answer)
        else:
            kind = "saga_started" if status == 200 else "saga_start_unknown"
            self._history.write(kind, saga=request.identity, steps=list(STEPS))
        self.done += 1

    def _tell_event(self, request: Request, status: int, answer: Any) -> None:
        aggregate = request.body["aggregate"]
        if status == 200:
            self._history.write("publish_ok", event_id=request.identity, aggregate=aggregate, seq=answer["seq"])
        elif status == 409 and answer.get("code") == "refused":
            self._history.write("publish_fail", event_id=request.identity)
        else:
            self._history.write("publish_unknown", event_id=request.identity)

    async def _insist(self, request: Request) -> tuple[int, Any]:
        """Try a few times under one key, at another replica each time; status 0 when nobody knows."""
        for attempt in range(1, ATTEMPTS + 1):
            process = request.processes[(attempt - 1) % len(request.processes)]
            headers = {"idempotency-key": request.identity, "x-attempt": str(attempt)}
            try:
                reply = await self._http.post(self._url(process) + request.path, json=request.body, headers=headers)
                if reply.status_code < 500:
                    return reply.status_code, reply.json()
            except (httpx2.HTTPError, ValueError):
                pass  # killed, stopped, or the reply was lost: another try tells
            await asyncio.sleep(PAUSE)
        return 0, None
