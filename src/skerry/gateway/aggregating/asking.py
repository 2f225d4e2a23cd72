"""A route whose answer is put together from several services'.

The answer is one JSON object: every part under its name, null when there is none, and `missing`, which lists the optional
parts that should be there and are not, with the reason.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from skerry import context
from skerry.client import ServiceClient
from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, DeadlineExceeded, SkerryError
from skerry.gateway.aggregating.addressing import Address
from skerry.gateway.aggregating.shaping import Shaping
from skerry.gateway.model import Aggregate, Part
from skerry.gateway.strict_json import loads
from skerry.service import problem
from skerry.service.problem import Answer, Problem

MISSING = "missing"
_PASSED_ON = frozenset([401, 403, 404, 410])
"""Statuses of a required part that mean the same for the whole."""
_NONE = frozenset([204, 404])
"""Statuses that say of an optional part: there is none, and nothing is wrong."""
_OF_ONE_DOCUMENT = frozenset(["accept", "accept-encoding", "range"])


@dataclass(frozen=True, slots=True)
class _Ready:
    """A part with what can be put together beforehand. `instead` is the JSON text for when there is none."""

    part: Part
    client: ServiceClient
    address: Address
    shaping: Shaping
    instead: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class _Found:
    """JSON text, and why it is not the service's own; empty when it is."""

    text: bytes
    reason: str = ""


class Aggregator:
    """Asks all parts at the same time within one deadline.

    A required part that cannot be had makes the whole a problem at once, and nobody waits for the others: 504 when it was
    late, its own status for 401, 403, 404 and 410, and 502 for everything else. An optional one is its fallback, else null,
    and named in `missing` with the reason; one that answers 204 or 404 is not missing: there simply is none. The client's
    query goes to no part, but for the parameters that a part names. `clients` are by the names of parts; they bound the
    bodies of replies. Raises `ConfigurationError` for a part without a client, or a fallback that is no JSON.
    """

    def __init__(self, aggregate: Aggregate, clients: Mapping[str, ServiceClient], clock: Clock = SYSTEM) -> None:
        self._deadline = aggregate.deadline
        self._clock = clock
        self._parts = [_ready(part, clients) for part in aggregate.parts]
        if len({ready.key for ready in self._parts} - {_key(MISSING)}) < len(self._parts) or not self._parts:
            raise ConfigurationError(f"aggregate: its parts have names of their own, none of them {MISSING!r}")

    async def answer(self, headers: Iterable[tuple[str, str]], variables: Mapping[str, str], query: str = "") -> Answer:
        """The object. `headers` are those to send on, `variables` percent-encoded as in the path. Raises `Problem`."""
        paths = [ready.address.filled(variables, query) for ready in self._parts]
        passed = _for_parts(headers)
        until = self._clock.monotonic() + self._deadline
        with context.use(context.current().until(until)):
            found = await self._ask_all(paths, passed)
        return self._assembled(found)

    async def _ask_all(self, paths: list[str], headers: list[tuple[str, str]]) -> list[_Found]:
        asked = zip(self._parts, paths, strict=True)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_ask(ready, path, headers)) for ready, path in asked]
        except* Problem as failed:
            first = failed.exceptions[0]
            assert isinstance(first, Problem)
            raise first from None
        return [task.result() for task in tasks]

    def _assembled(self, found: list[_Found]) -> Answer:
        missing = [
            {"part": ready.part.name, "reason": each.reason}
            for ready, each in zip(self._parts, found, strict=True)
            if each.reason
        ]
        pieces = [ready.key + each.text for ready, each in zip(self._parts, found, strict=True)]
        pieces.append(_key(MISSING) + json.dumps(missing, separators=(",", ":")).encode())
        headers = [(b"content-type", b"application/json")]
        if missing:
            headers.append((b"cache-control", b"no-store"))
        return Answer(200, headers, b"{" + b",".join(pieces) + b"}")


async def _ask(ready: _Ready, path: str, headers: list[tuple[str, str]]) -> _Found:
    part = ready.part
    try:
        reply = await ready.client.get(path, headers=headers, timeout=part.timeout)
        if reply.status in _PASSED_ON and part.required:
            detail = f"The part {part.name!r} of the answer was refused or is not there."
            raise Problem(reply.status, f"error_{reply.status}", detail)
        if reply.status in _NONE:
            return _Found(ready.instead)
        return _Found(ready.shaping.text(reply.raise_for_status().content))
    except (SkerryError, ValueError) as error:
        if part.required:
            raise _gone(part, error) from error
        return _Found(ready.instead, problem.reason(error))


def _gone(part: Part, error: Exception) -> Problem:
    """Without this part there is no answer: 504 when it is late, 502 for all other reasons."""
    detail = f"The part {part.name!r} of the answer could not be had."
    return Problem(504 if isinstance(error, DeadlineExceeded) else 502, problem.reason(error), detail)


def _ready(part: Part, clients: Mapping[str, ServiceClient]) -> _Ready:
    if part.name not in clients:
        raise ConfigurationError(f"aggregate: there is no client for the part {part.name!r}")
    instead = b"null" if part.fallback is None else part.fallback.strip().encode()
    try:
        loads(instead)
    except ValueError as error:
        raise ConfigurationError(f"aggregate: the fallback of the part {part.name!r} is no JSON: {error}") from None
    return _Ready(part, clients[part.name], Address(part), Shaping(part.shape), instead, _key(part.name))


def _for_parts(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of these, the ones that make sense for a part, whose own answer is another document."""
    kept = [(n, v) for n, v in headers if n not in _OF_ONE_DOCUMENT and not n.startswith(("if-", "content-"))]
    return [*kept, ("accept", "application/json"), ("accept-encoding", "identity")]


def _key(name: str) -> bytes:
    return json.dumps(name).encode() + b":"
