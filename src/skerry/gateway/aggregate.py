"""A route whose answer is put together from several services.

The answer is one JSON object: every part under its name, null when there is none, and `missing`, which lists the optional
parts that should be there and are not, with the reason.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from skerry import context
from skerry.client import ServiceClient
from skerry.clock import Clock
from skerry.errors import DeadlineExceeded, SkerryError
from skerry.gateway.exchange import Request
from skerry.gateway.headers import for_part
from skerry.gateway.routing import Match
from skerry.gateway.spec import Aggregate, Part, fill
from skerry.service import problem
from skerry.service.problem import Answer, Problem

_PASSED_ON = frozenset([401, 403, 404, 410])
"""Statuses of a required part that mean the same for the whole."""


@dataclass(frozen=True, slots=True)
class _Missing:
    reason: str


class AggregateTarget:
    """Asks all parts at the same time within one deadline.

    A required part that is missing makes the whole a problem at once; an optional one is null and named in `missing`. An
    optional part that answers 404 is null and not missing: there simply is none.
    """

    def __init__(self, aggregate: Aggregate, clients: Mapping[str, ServiceClient], clock: Clock) -> None:
        self._aggregate = aggregate
        self._clients = clients
        self._clock = clock

    async def answer(self, request: Request, match: Match) -> Answer:
        """The object. Raises `Problem` for a required part."""
        values = {name: quote(value, safe="") for name, value in match.variables.items()}
        headers = for_part(request.headers)
        until = self._clock.monotonic() + self._aggregate.deadline
        with context.use(context.current().until(until)):
            found = await self._ask_all(values, headers)
        return _assemble(found)

    async def aclose(self) -> None:
        """Close the connections to the services."""
        for client in self._clients.values():
            await client.aclose()

    async def _ask_all(self, values: Mapping[str, str], headers: list[tuple[str, str]]) -> dict[str, Any]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {
                    part.name: group.create_task(self._ask(part, fill(part.path, values), headers))
                    for part in self._aggregate.parts
                }
        except* Problem as failed:
            first = failed.exceptions[0]
            assert isinstance(first, Problem)
            raise first from None
        return {name: task.result() for name, task in tasks.items()}

    async def _ask(self, part: Part, path: str, headers: list[tuple[str, str]]) -> Any:
        try:
            reply = await self._clients[part.name].get(path, headers=headers)
            if reply.status in _PASSED_ON and part.required:
                detail = f"The part {part.name!r} of the answer was refused or is not there."
                raise Problem(reply.status, f"error_{reply.status}", detail)
            if reply.status in {204, 404}:
                return None
            return reply.raise_for_status().json()
        except SkerryError as error:
            if part.required:
                raise _gone(part, error) from error
            return _Missing(problem.reason(error))


def _gone(part: Part, error: SkerryError) -> Problem:
    """Without this part there is no answer: 504 when it is late, 502 for all other reasons."""
    detail = f"The part {part.name!r} of the answer could not be had."
    return Problem(504 if isinstance(error, DeadlineExceeded) else 502, problem.reason(error), detail)


def _assemble(found: Mapping[str, Any]) -> Answer:
    missing = [{"part": name, "reason": part.reason} for name, part in found.items() if isinstance(part, _Missing)]
    body = {name: None if isinstance(part, _Missing) else part for name, part in found.items()}
    headers = [(b"content-type", b"application/json")]
    if missing:
        headers.append((b"cache-control", b"no-store"))
    encoded = json.dumps({**body, "missing": missing}, separators=(",", ":"), ensure_ascii=False).encode()
    return Answer(200, headers, encoded)
