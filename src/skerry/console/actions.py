"""What a person looks at and does about sagas and dead letters, on the service's own database, beside the running service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeVar, get_args

from skerry.clock import SYSTEM, Clock
from skerry.console.audit import Audit
from skerry.console.sources import Sources
from skerry.errors import ConfigurationError, SkerryError, StoreError
from skerry.events import DeadLetters
from skerry.saga import Sagas
from skerry.saga.entry import Status
from skerry.saga.operation import OPEN
from skerry.store import Database

STATUSES: Final = get_args(Status)
SAGA_ACTS: Final = ("retry", "skip", "resolve")
DEAD_ACTS: Final = ("replay", "drop")
LARGEST_ID: Final = 2**63 - 1

T = TypeVar("T")


class Absent(SkerryError):
    """There is no such service, saga, letter or act."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person asked for: `confirm` repeats the id, so that a slip of the hand changes nothing."""

    confirm: str
    reason: str = ""
    step: str = ""
    outcome: str = ""


class Actions:
    """Reads may be done any time; every change leaves an audit record, also one that was refused."""

    def __init__(self, sources: Sources, audit: Audit, *, clock: Clock = SYSTEM) -> None:
        self._sources = sources
        self._audit = audit
        self._clock = clock

    async def sagas(self, *, status: str = "", service: str = "", limit: int = 100) -> dict[str, Any]:
        """Sagas of one status, of all that have not ended, or of `all`; stuck ones first, then the oldest."""
        if status and status not in {*STATUSES, "all"}:
            raise Absent(f"there is no status {status[:40]!r}: there are {', '.join(STATUSES)} and all")
        wanted: Any = STATUSES if status == "all" else [status] if status else OPEN

        async def read(database: Database) -> list[dict[str, Any]]:
            found = await Sagas(database, clock=self._clock).found(statuses=wanted, limit=limit)
            return [asdict(line) for line in found]

        lines, errors = await self._each(service, read)
        lines.sort(key=lambda line: (line["status"] != "stuck", line["started_at"]))
        return {"sagas": lines[:limit], "errors": errors}

    async def saga(self, service: str, saga_id: str) -> dict[str, Any]:
        """One saga with its timeline; no input and no results, which may hold personal data."""

        async def read(database: Database) -> dict[str, Any]:
            sagas = Sagas(database, clock=self._clock)
            status = await sagas.get(saga_id)
            return {
                "service": service,
                "id": status.id,
                "saga": status.name,
                "version": status.version,
                "key": status.key,
                "status": status.status,
                "reason": status.reason,
                "trace": status.traceparent[3:35],
                "parent": status.parent or None,
                "steps": dict(status.steps),
                "stands_at": sagas.stands_at(status),
                "children": [asdict(line) for line in await sagas.children(saga_id)],
                "timeline": [asdict(entry) for entry in await sagas.timeline(saga_id)],
            }

        return await self._on(service, read)

    async def change_saga(self, service: str, saga_id: str, act: str, asked: Asked) -> dict[str, Any]:
        """Retry, skip or resolve a stuck saga. Raises `NotNow` or `UnknownSaga` when that does not fit.

        `skip` takes the step it stands at, unless another is named; `resolve` ends it as what it was on its way to.
        """
        if act not in SAGA_ACTS:
            raise Absent(f"a saga can be told to {', '.join(SAGA_ACTS)}")

        async def change(database: Database) -> dict[str, Any]:
            sagas = Sagas(database, clock=self._clock)
            status = await sagas.get(saga_id)
            if act == "retry":
                status = await sagas.retry(saga_id, note=asked.reason)
            elif act == "skip":
                status = await sagas.skip(saga_id, asked.step or sagas.stands_at(status), note=asked.reason)
            else:
                likely: Any = "compensated" if status.turned_back else "completed"
                status = await sagas.resolve(saga_id, _outcome(asked.outcome) or likely, note=asked.reason)
            return {"service": service, "id": status.id, "status": status.status, "reason": status.reason}

        return await self._act(service, "saga", saga_id, act, asked, change)

    async def dead(self, *, service: str = "", limit: int = 100) -> dict[str, Any]:
        """Dead letters, the oldest first, without what is in them."""
        totals: list[int] = []

        async def read(database: Database) -> list[dict[str, Any]]:
            letters = DeadLetters(database, clock=self._clock)
            totals.append(await letters.count())
            now = self._clock.now()
            found = await letters.dead(limit=limit)
            return [{**asdict(each), "age": max(0.0, now - each.parked_at)} for each in found]

        lines, errors = await self._each(service, read)
        lines.sort(key=lambda line: line["parked_at"])
        return {"dead": lines[:limit], "total": sum(totals), "errors": errors}

    async def letter(self, service: str, letter_id: str) -> dict[str, Any]:
        """All of one dead or held event, with its envelope, which may hold personal data."""
        number = _number(letter_id)

        async def read(database: Database) -> dict[str, Any]:
            letters = DeadLetters(database, clock=self._clock)
            letter = await letters.get(number)
            if letter is None:
                raise Absent(f"{service} has no parked event {number}")
            values = {"service": service, **asdict(letter), "held": await letters.behind(number)}
            envelope = _parsed(letter.body)
            age = max(0.0, self._clock.now() - letter.parked_at)
            return {**values, "age": age, "envelope": envelope, "body": letter.body if envelope is None else None}

        return await self._on(service, read)

    async def change_letter(self, service: str, letter_id: str, act: str, asked: Asked) -> dict[str, Any]:
        """Try a dead letter again, or give it up; those held behind it follow."""
        if act not in DEAD_ACTS:
            raise Absent(f"a dead letter can be told to {', '.join(DEAD_ACTS)}")
        number = _number(letter_id)

        async def change(database: Database) -> dict[str, Any]:
            letters = DeadLetters(database, clock=self._clock)
            done = await (letters.retry(number) if act == "replay" else letters.drop(number))
            if not done:
                raise Absent(f"{service} has no dead letter {number}: somebody else was faster, or it never had")
            return {"service": service, "id": number, "done": True}

        return await self._act(service, "dead", letter_id, act, asked, change)

    async def _act(
        self, service: str, kind: str, target: str, act: str, asked: Asked, change: Callable[[Database], Awaitable[T]]
    ) -> T:
        if asked.confirm != target:
            raise ConfigurationError("`confirm` does not repeat the id: nothing was changed")
        if service not in self._sources.stores:
            raise Absent(f"there is no service {service[:60]!r} with a database")
        record = await asyncio.to_thread(
            self._audit.begin, service=service, kind=kind, target=target, action=act, reason=asked.reason
        )
        try:
            done = await self._on(service, change)
        except SkerryError as error:
            await asyncio.to_thread(self._audit.end, record, f"refused: {error}")
            raise
        await asyncio.to_thread(self._audit.end, record, "done")
        return done

    async def _on(self, service: str, question: Callable[[Database], Awaitable[T]]) -> T:
        opened = self._sources.open_store
        if opened is None or service not in self._sources.stores:
            raise Absent(f"there is no service {service[:60]!r} with a database")
        async with opened(service) as database:
            return await question(database)

    async def _each(
        self, service: str, question: Callable[[Database], Awaitable[Sequence[dict[str, Any]]]]
    ) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
        """The answers of all databases, and of which one said why there is none."""
        found: list[dict[str, Any]] = []
        errors: list[dict[str, str]] = []
        for name in self._sources.stores:
            if service in {"", name}:
                try:
                    found.extend({"service": name, **each} for each in await self._on(name, question))
                except StoreError:  # the tables of sagas are only where there are sagas
                    continue
                except SkerryError as error:
                    errors.append({"service": name, "error": str(error)[:300]})
        return found, errors


def _outcome(text: str) -> Any:
    if text in {"", "completed", "compensated"}:
        return text
    raise ConfigurationError("a saga is resolved as completed or compensated")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 19 and int(text) <= LARGEST_ID):
        raise Absent("a dead letter's id is a whole number from 1")
    return int(text)


def _parsed(body: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
