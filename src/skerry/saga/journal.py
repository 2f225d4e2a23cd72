"""The journal: what happened to each saga, in the database of the service that owns it.

A finished step is one row; that the next step may be under way is implied, so n steps cost n + 1 commits. Rows that are
ready at the same moment share a commit.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from contextvars import Context
from importlib.resources import files
from typing import Any, ClassVar

from pydantic_core import to_json

from skerry.clock import SYSTEM, Clock
from skerry.errors import ReceiptConflict
from skerry.saga.entry import Entry, Pause, Record, SagaStatus, Start, TurnBack
from skerry.saga.redaction import WHOLE, redacted
from skerry.store import Database, Lease, OpenDatabase, Queries, Schema, Transaction, Tx, migrate

SQL = Queries("skerry.saga", "sql/journal.sql")
PAGE = 500
TOGETHER = 500
"""Transitions that share a commit at most."""
LANES = 8
"""Commits under way at the same time when transitions do not share them, where the database takes several."""


class Journal:
    """Reads and writes the journal. `write` may be called by many sagas at once.

    `failure` is the class of the error that kept the last commit from happening; empty when there was none. Once `lease` is
    set, nothing is written without it. Without `together` each transition has a commit of its own, to see what sharing is worth.
    """

    schema: ClassVar[Schema] = Schema("skerry.saga", files("skerry.saga").joinpath("sql/migrations"))

    def __init__(self, database: OpenDatabase, *, clock: Clock = SYSTEM) -> None:
        self._database = database
        self._clock = clock
        self._pending: list[tuple[tuple[Entry, ...], asyncio.Future[Any]]] = []
        self._flushing: set[asyncio.Task[None]] = set()
        self.together: bool = True
        self.failure: str = ""
        self.lease: Lease | None = None

    @staticmethod
    async def prepare(database: Database) -> None:
        """Create the tables in `database`."""
        await migrate(database, Journal.schema.component, Journal.schema.folder)

    async def start(self, tx: Tx, new: Start) -> str:
        """Write the start of a saga into the caller's transaction; its id, or that of the one with the same key.

        Raises `ReceiptConflict` when the key was used with another input.
        """
        now = self._clock.now()
        values = (*_columns(new), now, now)
        return new.id if await tx.execute(SQL["start"], values) else await _older(tx, new)

    async def begin(self, new: Start) -> str:
        """`start` in a transaction of the journal's own, which what waits at the same time shares."""
        begun = (await self._share(new))[new.id]
        if isinstance(begun, ReceiptConflict):
            raise begun
        return str(begun)

    async def load(self, saga_id: str) -> SagaStatus | None:
        """A saga as it stands, or None."""
        return await read(self._database, SQL["by_id"], saga_id)

    async def find(self, name: str, key: str) -> SagaStatus | None:
        """The saga started with a key, or None."""
        return await read(self._database, SQL["by_key"], name, key)

    async def cancelled(self) -> list[tuple[str, str]]:
        """Sagas that go forward although somebody asked to cancel them, each with the note that was left."""
        return [(row[0], row[1]) for row in await self._database.fetch_all(SQL["cancelled"])]

    async def open_after(self, saga_id: str) -> list[str]:
        """The next page of sagas that have not ended, by id."""
        return [row[0] for row in await self._database.fetch_all(SQL["open"], (saga_id, PAGE))]

    async def due(self) -> list[str]:
        """Sagas whose wait is over, those that waited longest for their turn first."""
        return [row[0] for row in await self._database.fetch_all(SQL["due"], (self._clock.now(), PAGE))]

    async def told(self, name: str, key: str, signal: str) -> str | None:
        """The first of what a saga was sent as `signal`, as JSON; None when nothing was."""
        row = await self._database.fetch_one(SQL["told"], (name, key, signal))
        return None if row is None else str(row[0])

    async def forget(self, before: float) -> None:
        """Drop signals that are older, unless their saga may still ask for them."""
        async with self._database.transaction() as tx:
            await tx.execute(SQL["forget"], (before,))

    async def counts(self) -> dict[str, int]:
        """How many sagas there are of each status."""
        return {row[0]: row[1] for row in await self._database.fetch_all(SQL["count"])}

    async def open(self) -> int:
        """How many sagas have not ended."""
        return int((await self._database.fetch_one(SQL["count_open"]))[0])

    async def stuck(self) -> int:
        """How many sagas wait for a person."""
        return int((await self._database.fetch_one(SQL["count_stuck"]))[0])

    def write(self, *records: Record) -> Awaitable[object]:
        """Make a transition durable, all of it or nothing; done once it is. What waits at the same time shares one commit.

        Whoever is cancelled meanwhile, or gets an error, does not know: read the journal before acting on it again.
        """
        return self._share(*records)

    async def pause(self, *entries: Start | Pause | TurnBack) -> set[str]:
        """Let a saga wait, for children too that begin with this, or turn back; the ids of those that have begun."""
        begun: Mapping[str, object] = await self._share(*entries)
        return {entry.id for entry in entries if isinstance(entry, Start) and begun[entry.id] == entry.id}

    def _share(self, *records: Entry) -> asyncio.Future[Any]:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending.append((records, done))
        self._flushing = {task for task in self._flushing if not task.done()}
        if len(self._flushing) < (1 if self.together else LANES):
            self._flushing.add(asyncio.create_task(self._flush(), name="saga-journal", context=Context()))
        return done

    async def settle(self) -> None:
        """Return once nothing is being written."""
        if self._flushing:
            await asyncio.wait(self._flushing)

    async def _flush(self) -> None:
        most = TOGETHER if self.together else 1
        while self._pending:
            batch, self._pending = self._pending[:most], self._pending[most:]
            await self._commit(batch)

    async def _commit(self, batch: list[tuple[tuple[Entry, ...], asyncio.Future[Any]]]) -> None:
        """Write it all, and tell each what became of it; raises nothing but a cancellation."""
        records = [record for records, _ in batch for record in records]
        fenced = self.lease if any(not isinstance(record, Start) or record.parent for record in records) else None
        try:
            async with (fenced or self._database).transaction() as tx:
                begun = await self._apply(tx, records)
        except Exception as error:
            self.failure = type(error).__name__
            for _, done in batch:
                _tell(done, error)
        else:
            self.failure = ""
            for _, done in batch:
                _tell(done, begun)

    async def _apply(self, tx: Transaction, entries: list[Entry]) -> dict[str, str | ReceiptConflict]:
        """Write all of it; for each start by its id, the id of the saga that there is now, or what speaks against it."""
        starts, appended, changed, rare = _sorted(entries)
        for lock in sorted(
            set(filter(None, map(_lock, rare)))
        ):  # before any row: who tells sagas something does so too
            await tx.lock(lock)
        now = self._clock.now()
        begun = await self._start_all(tx, starts, now) if starts else {}
        if appended:
            tx.later(SQL["append_many"], (_rows(appended), now))
        if changed:
            tx.later(SQL["change_many"], (_rows(changed), now))
        if rare:
            await self._apply_rare(tx, rare, now)
        return begun

    async def _apply_rare(self, tx: Transaction, entries: list[Record | Pause | TurnBack], now: float) -> None:
        """What else is to be written: of sagas that wait, that have kin, or whose fields are erased at the end."""
        records = [entry for entry in entries if isinstance(entry, Record)]
        if waited := [(r.saga_id,) for r in records if r.waited]:
            await tx.execute_many(SQL["unpark"], waited)
        if parents := [(r.parent,) for r in records if r.parent and r.ends]:
            await tx.execute_many(SQL["unpark_parent"], parents)
        if pauses := [entry for entry in entries if isinstance(entry, Pause)]:
            await self._pause_all(tx, pauses, now)
        for back in (entry for entry in entries if isinstance(entry, TurnBack)):
            await _turn_back(tx, back, now)
        for saga_id in [r.saga_id for r in records if r.erases and r.ends and not r.parent]:
            await erase(tx, saga_id)

    async def _pause_all(self, tx: Transaction, pauses: list[Pause], now: float) -> None:
        if waits := [(p.id, p.step, p.until, now) for p in pauses if not p.back]:
            await tx.execute_many(SQL["wait"], waits)
        await tx.execute_many(SQL["park"], [(p.due, p.id) for p in pauses])
        if told := [(p.id, p.step) for p in pauses if not p.child]:
            await tx.execute_many(SQL["told_already"], told)
        if children := [(p.id, p.child, "compensated" if p.back else "completed") for p in pauses if p.child]:
            await tx.execute_many(SQL["ended_already"], children)

    async def _start_all(self, tx: Transaction, starts: list[Start], now: float) -> dict[str, str | ReceiptConflict]:
        rows = _rows([_columns(start) for start in starts])
        new = {row[0] for row in await tx.fetch_all(SQL["start_many"], (rows, now))}
        begun: dict[str, str | ReceiptConflict] = {}
        for start in starts:
            try:
                begun[start.id] = start.id if start.id in new else await _older(tx, start)
            except ReceiptConflict as error:
                begun[start.id] = error
        return begun


def _sorted(
    entries: list[Entry],
) -> tuple[list[Start], list[tuple[Any, ...]], list[tuple[Any, ...]], list[Record | Pause | TurnBack]]:
    """What begins, rows of the log, rows of sagas, and what else there is to write. In one go: there may be hundreds."""
    starts: list[Start] = []
    appended: list[tuple[Any, ...]] = []
    changed: list[tuple[Any, ...]] = []
    rare: list[Record | Pause | TurnBack] = []
    for entry in entries:
        if isinstance(entry, Start):
            starts.append(entry)
            continue
        if isinstance(entry, Record):
            if entry.step:
                appended.append((entry.saga_id, entry.step, entry.what, entry.result))
            if entry.status:
                changed.append((entry.saga_id, entry.status, as_text(entry.reason)))
            if not (entry.waited or entry.parent or entry.erases):
                continue
        rare.append(entry)
    return starts, appended, changed, rare


def _rows(rows: list[Any]) -> str:
    """Rows as JSON, in an eighth of the time that `json.dumps` takes for them."""
    return to_json(rows).decode()


def _columns(start: Start) -> tuple[object, ...]:
    return (
        start.id,
        start.name,
        start.version,
        start.key,
        start.signature,
        start.input,
        start.traceparent,
        start.parent,
        start.redact,
    )


async def _older(tx: Tx, new: Start) -> str:
    """The id of the saga that has the key already. Raises `ReceiptConflict` when it has another input."""
    row = (await tx.fetch_all(SQL["by_key"], (new.name, new.key)))[0]
    hidden = json.loads(row["redact"] or "{}").get(WHOLE, ())  # of one that has ended, only that much is known
    if json.loads(redacted(row["input"], hidden)) != json.loads(redacted(new.input, hidden)):
        raise ReceiptConflict(f"the saga {new.name!r} was started before with the key {new.key!r} and another input")
    return str(row["id"])


async def tell(tx: Tx, name: str, key: str, signal: str, value: str, *, id: str, now: float) -> bool:  # noqa: A002
    """Keep a signal for a saga, and have the saga looked at; whether the `id` is new."""
    await tx.lock(_mailbox(name, key))
    new = await tx.execute(SQL["tell"], (name, key, signal, id, value, now))
    await tx.execute(SQL["unpark_told"], (name, key))
    return bool(new)


async def _turn_back(tx: Transaction, back: TurnBack, now: float) -> None:
    await tx.execute(SQL["ask_back"], (back.id, back.reason, now))
    if back.completed and await tx.execute(SQL["take_back"], (back.id, now)):
        await tx.execute(SQL["turn_back"], (back.id, back.reason, now))


async def erase(tx: Transaction, saga_id: str) -> None:
    """Redact what the journal keeps of a saga that has ended, and of its children."""
    for row in await tx.fetch_all(SQL["family"], (saga_id,)):
        paths = json.loads(row["redact"])
        await tx.execute(SQL["redact_input"], (redacted(row["input"], paths.get(WHOLE, ())), row["id"]))
        for step, result in await tx.fetch_all(SQL["results"], (row["id"],)):
            if step in paths:
                await tx.execute(SQL["redact_result"], (redacted(result, paths[step]), row["id"], step))
        for signal, signal_id, _at, value in await tx.fetch_all(SQL["all_told"], (row["name"], row["key"])):
            if signal in paths:
                hidden = redacted(value, paths[signal])
                await tx.execute(SQL["redact_signal"], (hidden, row["name"], row["key"], signal, signal_id))


def _lock(entry: Record | Pause | TurnBack) -> str:
    """What an entry must be alone with, in the whole database."""
    if isinstance(entry, Pause):
        return household(entry.id) if entry.child else _mailbox(entry.name, entry.key)
    if isinstance(entry, TurnBack):
        return household(entry.parent)
    return household(entry.parent) if entry.parent and entry.ends else ""


def household(parent: str) -> str:
    """The lock of a saga that goes to sleep until a child has ended, and of whoever ends one."""
    return f"skerry.saga:{parent}"


def _mailbox(name: str, key: str) -> str:
    """The lock of those who put something in for a saga, and of the saga when it looks in and then goes to sleep."""
    return f"skerry.saga:{name}:{key}"


def _tell(done: asyncio.Future[Any], what: object) -> None:
    """Unless whoever asked was cancelled meanwhile."""
    if done.done():
        return
    if isinstance(what, Exception):
        done.set_exception(what)
    else:
        done.set_result(what)


def as_text(reason: str) -> str:
    """The text of an exception may hold what is no text to a database."""
    return reason[:500].replace("\x00", "\ufffd").encode(errors="replace").decode()


async def read(source: OpenDatabase | Transaction, sql: str, *parameters: str) -> SagaStatus | None:
    """The saga that a query finds, with what happened to its steps."""
    row = await source.fetch_one(sql, parameters)
    if row is None:
        return None
    log = await source.fetch_all(SQL["log"], (row["id"],))
    return SagaStatus(
        id=row["id"],
        name=row["name"],
        version=row["version"],
        key=row["key"],
        signature=row["steps"],
        traceparent=row["traceparent"],
        input=row["input"],
        status=row["status"],
        reason=row["reason"],
        steps={entry["step"]: entry["what"] for entry in log if entry["step"]},
        results={entry["step"]: entry["result"] for entry in log if entry["what"] == "done"},
        started_at=row["started_at"],
        waits={entry["step"]: float(entry["result"]) for entry in log if entry["what"] == "waits"},
        parent=row["parent"],
        taken_back=any(not entry["step"] for entry in log),
        redact=row["redact"],
    )
