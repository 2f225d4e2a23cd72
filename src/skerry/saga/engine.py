"""The engine: drives the sagas of one service, forward or back, until each has ended.

One engine per database works at a time (an exclusive role ends with its process). On start it takes up whatever is open in
the journal. A step whose answer never came is tried again with the same key; when that does not settle it, it is treated as
one that may have taken effect, and compensated too.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import logging
from collections import deque
from contextvars import Context
from typing import Any
from weakref import WeakValueDictionary

from skerry.clock import SYSTEM, Clock
from skerry.errors import DefinitionError, NotNow, StoreError, UnknownSaga
from skerry.saga.definition import Saga
from skerry.saga.entry import Record, SagaStatus, Start, beginning
from skerry.saga.journal import Journal, tell
from skerry.saga.operation import Sagas
from skerry.saga.run import Run, until
from skerry.saga.slots import Slots
from skerry.saga.step import Wait
from skerry.signals import SagaChanged, SagaSignalled, SagasRecovered, emit
from skerry.store import RETENTION, OpenDatabase, adapt
from skerry.telemetry.spans import child, here

MAX_RUNNING = 200
"""Steps, and looks into the journal, under way at the same time."""
MAX_TAKEN_UP = 100
"""Sagas at work at the same time that were found in the journal, so that after a restart with many open ones those that begin
do not wait behind all of them. One that waits before its next attempt is not at work.
"""
MAX_DRIVEN = 10_000
"""Sagas in memory, about 10 KiB each, most of which wait before their next attempt; more wait in the journal. So a participant
that is down holds up those that need it, not the others.
"""
LOOK = 0.5
"""Seconds between looks into the journal for sagas that were started through other connections."""

FORGET = 3600.0
"""Seconds between two looks for signals that nobody will ask for."""

_log = logging.getLogger("skerry.saga")


class Engine:
    """The saga engine of the service `service`, on its own database."""

    def __init__(self, service: str, database: OpenDatabase, *, clock: Clock = SYSTEM) -> None:
        self._service = service
        self._database = database
        self._clock = clock
        self._journal = Journal(database, clock=clock)
        self._sagas: dict[tuple[str, int], Saga] = {}
        self._operation = Sagas(database, clock=clock)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._runs: dict[str, Run] = {}
        self._backlog: deque[str] = deque()
        self._cancelled: dict[str, str] = {}
        self._cursor = ""
        self._full = False
        self._taken_up = 0
        self._more = False
        self._slots = Slots(MAX_RUNNING)
        self._ended: WeakValueDictionary[str, _Ending] = WeakValueDictionary()
        self._look = asyncio.Event()
        self._stopping = asyncio.Event()
        self._leading = False
        self._recovered = False
        self._trouble = ""
        self._forget_at = self._clock.monotonic() + FORGET

    @property
    def failure(self) -> str:
        """What keeps sagas from going on, such as a full disk: the class of the error; empty when all is well."""
        return self._trouble or self._journal.failure

    def runs(self) -> list[Run]:
        """The sagas that are being driven."""
        return list(self._runs.values())

    def add(self, *sagas: Saga) -> None:
        """Take on definitions. Several versions of one saga may stand beside each other while the old ones finish.

        Those that are steps of others come with them. Raises `DefinitionError` for a second definition of one version.
        """
        for saga in (each for given in sagas for each in (given, *given.family())):
            if self._sagas.setdefault((saga.name, saga.version), saga) is not saga:
                raise DefinitionError(f"there are two definitions of {saga.name!r} version {saga.version}")

    async def needed(self) -> bool:
        """Whether there is anything to drive: definitions, or sagas that an earlier release left behind."""
        return bool(self._sagas) or await self._journal.open() > 0

    async def start(self, tx: object, saga: Saga, value: Any, *, key: str) -> str:
        """Start a saga in the caller's transaction: it runs if, and only if, that commits. Returns the saga's id.

        The same key and input give the same saga; the same key with another input raises `ReceiptConflict`. Raises
        `UnknownSaga` when the saga was not added, `DefinitionError` when it has no steps or `value` does not fit its input,
        `NoTransaction` when `tx` has none open.
        """
        new = self._prepared(saga, value, key)
        adapted = adapt(tx)
        saga_id = await self._journal.start(adapted, new)
        if saga_id == new.id:
            adapted.on_commit(lambda: self._started(new))
        return saga_id

    async def run(self, saga: Saga, value: Any, *, key: str) -> SagaStatus:
        """Start a saga in a transaction of its own and wait until it has ended. For callers without local state.

        Raises what `start` does, and `NestedTransaction` in a transaction, which would wait for this one.
        """
        self._database.demand_outside()
        new = self._prepared(saga, value, key)
        saga_id = await self._journal.begin(new)
        if saga_id == new.id:
            self._started(new)
            while saga_id in self._running:
                ended = self._ended.setdefault(saga_id, _Ending())  # another one when it was taken up again meanwhile
                await ended.event.wait()  # however it ends to be driven, that is told
                if ended.status is not None:
                    return ended.status
        return await self.wait(saga_id)

    def _prepared(self, saga: Saga, value: Any, key: str) -> Start:
        if (saga.name, saga.version) not in self._sagas:
            raise UnknownSaga(f"{saga.name!r} version {saga.version} was not added to the service {self._service!r}")
        if not saga.steps:
            raise DefinitionError(f"the saga {saga.name!r} has no steps")
        if "\x00" in key or not key.isprintable():
            _demand_text(key)
        trace = child(saga.name, "internal", here(), clock=self._clock).traceparent
        return beginning(saga, saga.dump(value), key, trace=trace, clock=self._clock)

    async def wait(self, saga_id: str) -> SagaStatus:
        """Wait until a saga has ended: completed, compensated or stuck. Raises `UnknownSaga`."""
        while True:
            ended = self._ended.setdefault(saga_id, _Ending())
            status = await self._journal.load(saga_id)
            if status is None:
                raise UnknownSaga(f"no saga {saga_id}")
            if status.ended:
                return status
            await until(ended.event, LOOK)

    async def find(self, saga: Saga | str, key: str) -> SagaStatus | None:
        """The saga that was started with `key`, or None."""
        return await self._journal.find(saga if isinstance(saga, str) else saga.name, key)

    async def stats(self) -> dict[str, int]:
        """How many sagas there are of each status."""
        return await self._journal.counts()

    async def stuck(self) -> int:
        """How many sagas wait for a person."""
        return await self._journal.stuck()

    async def retry(self, saga_id: str) -> bool:
        """An operator's way out of STUCK: go on where the saga stood, with all attempts. False unless it is stuck."""
        try:
            await self._operation.retry(saga_id)
        except (NotNow, UnknownSaga):
            return False
        self._look_at(saga_id)
        return True

    async def signal(
        self,
        tx: object,
        saga: Saga,
        key: str,
        name: str,
        value: Any = None,
        *,
        id: str = "",  # noqa: A002 - a signal's
    ) -> bool:
        """Send the saga that has, or will have, this key what `saga.receive(name)` waits for, in the caller's transaction.

        Whether it is new: the same `id`, such as that of the event it comes from, again has no effect. The first one counts.
        One that comes before its saga has begun is kept, for 30 days when it never does. Raises `DefinitionError` when no step
        receives `name` or the value does not fit, `NoTransaction` when `tx` has none open.

            @service.on(Approved)
            async def approved(event: Approved, tx: Transaction) -> None:
                await service.sagas.signal(tx, order, event.order_id, "approval", event.by, id=event.order_id)
        """
        step = next((step for step in saga.steps if step.name == name), None)
        if not isinstance(step, Wait) or not step.receives:
            raise DefinitionError(f"no step of {saga.name!r} receives {name[:60]!r}")
        _demand_text(key)
        try:
            text = step.dump(value)
            step.load(text)
        except ValueError as error:
            raise DefinitionError(
                f"{name!r} of {saga.name!r} does not take this value: {type(error).__name__}"
            ) from None
        adapted = adapt(tx)
        unique = id or str(self._clock.uuid())
        new = await tell(adapted, saga.name, key, name, text, id=unique, now=self._clock.now())
        told = SagaSignalled(saga=saga.name, key=key, signal=name, new=new)
        adapted.on_commit(lambda: self._signalled(told))
        return new

    def _signalled(self, told: SagaSignalled) -> None:
        emit(told)
        self._look.set()

    async def cancel(self, saga_id: str, *, note: str = "") -> SagaStatus:
        """Turn a saga back that has not passed its point of no return; see `Sagas.cancel`. Returns once that is asked for."""
        status = await self._operation.cancel(saga_id, note=note)
        self._look.set()
        return status

    async def serve(self) -> None:
        """Drive sagas until `stop`. Trouble with the database is reported and tried again.

        Cancelled, it cancels what it drives; either way it leads until the last step has ended, so that there are never two.
        """
        while not self._stopping.is_set():
            try:
                await self._lead()
            except StoreError as error:  # the lead cannot be had, or is lost: this loop must not die of it
                self._trouble = type(error).__name__
                await until(self._stopping, LOOK)

    async def _lead(self) -> None:
        async with self._database.lead("saga") as lease:
            self._leading, self._journal.lease = True, lease
            try:
                while not self._stopping.is_set():
                    self._look.clear()
                    lease.check()
                    await self._take_up()
                    await until(self._look, LOOK)
                if self._running:
                    await asyncio.wait(self._running.values())
            finally:
                self._leading = False
                running = list(self._running.values())
                for run in running:
                    run.cancel()
                await asyncio.gather(*running, return_exceptions=True)
                for saga_id in list(self._running):  # cancelled before the first step, so it has not said that it ended
                    del self._running[saga_id]
                    self._tell(saga_id, None)
                self._full, self._taken_up = False, 0
                await self._journal.settle()

    async def stop(self, task: asyncio.Task[None], *, within: float) -> None:
        """Let steps under way finish, at most `within` seconds, then end `task`, which runs `serve`.

        Nobody waits for a saga between two attempts. Nothing is lost: the journal knows.
        """
        self._stopping.set()
        self._look.set()
        for run in self._runs.values():
            run.hurry()
        await asyncio.wait({task}, timeout=within)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def _started(self, new: Start) -> None:
        """A saga of ours was committed: what its first step begins with is no guess."""
        emit(SagaChanged(saga=new.name, key=new.key, status="running"))
        self._begin(new.id, fresh=new.status(self._clock.now()))

    def _look_at(self, saga_id: str) -> None:
        """A saga goes on that nobody drives, or stands at another place."""
        if self._leading:
            self._backlog.append(saga_id)
            self._look.set()

    async def _take_up(self) -> None:
        """Begin to drive every open saga that is not driven yet, oldest first, as far as there is room."""
        try:
            if not self._recovered:
                count = await self._journal.open()
                self._recovered = True
                if count:
                    emit(SagasRecovered(service=self._service, count=count))
            self._more = False
            while self._has_room():
                if not self._backlog:
                    page = await self._journal.open_after(self._cursor)
                    self._cursor = page[-1] if page else ""
                    self._backlog.extend(page)
                    if not page:
                        break
                self._begin(self._backlog.popleft())
            for saga_id in await self._journal.due():
                if not self._has_room():
                    break
                self._begin(saga_id)
            await self._turn_back()
            await self._forget()
        except Exception as error:  # the loop that serves all sagas must not die of one failed look
            self._trouble = type(error).__name__
        else:
            self._trouble = ""

    def _has_room(self) -> bool:
        """Whether another saga of the journal can be taken up; if not, there is another look as soon as one can."""
        self._more = self._more or self._taken_up >= MAX_TAKEN_UP
        return not self._full and not self._more and not self._stopping.is_set()

    def _rested(self, count: int) -> None:
        """So many sagas of the journal are not at work any more; those that go on count below 0."""
        self._taken_up -= count
        if self._full or ((self._more or self._backlog) and self._taken_up <= MAX_TAKEN_UP // 2):
            self._look.set()

    async def _forget(self) -> None:
        """Drop signals of the past, now and then."""
        if self._clock.monotonic() >= self._forget_at:
            self._forget_at = self._clock.monotonic() + FORGET
            await self._journal.forget(self._clock.now() - RETENTION)

    async def _turn_back(self) -> None:
        """Tell those that were cancelled since, and wake those that wait."""
        known, self._cancelled = self._cancelled, dict(await self._journal.cancelled())
        for saga_id, note in list(self._cancelled.items()):
            if (run := self._runs.get(saga_id)) is not None:
                run.cancel(note)
            elif saga_id not in known and not self._begin(saga_id):
                del self._cancelled[saga_id]  # another time

    def _begin(self, saga_id: str, *, fresh: SagaStatus | None = None) -> bool:
        """Drive a saga; whether there was room, and nobody did."""
        if saga_id in self._running or self._full or not self._leading or self._stopping.is_set():
            return False
        if fresh is None:
            self._taken_up += 1
        drive = self._drive(saga_id, fresh=fresh)
        # a context of its own: who started the saga has no say in its deadline
        self._running[saga_id] = asyncio.create_task(drive, name=f"saga:{saga_id}", context=Context())
        self._full = len(self._running) >= MAX_DRIVEN
        return True

    async def _drive(self, saga_id: str, *, fresh: SagaStatus | None) -> None:
        run: Run | None = None
        try:
            status = fresh
            if status is None:
                if not self._slots.take():
                    await self._slots.turn()
                try:
                    status = await self._journal.load(saga_id)
                finally:
                    self._slots.give()
            if status is None or status.ended:
                return
            try:
                run = self._runs[saga_id] = self._resume(status, fresh=fresh is not None)
                if saga_id in self._cancelled:
                    run.cancel(self._cancelled[saga_id])
            except DefinitionError as error:
                await self._journal.write(Record(saga_id, status="stuck", reason=str(error)))
                emit(SagaChanged(saga=status.name, key=status.key, status="stuck", reason=str(error)))
            else:
                await run.to_the_end()
        except Exception as error:  # such as a full disk: the saga stays open and is taken up again
            _log.warning("the saga %s stands still: %s", saga_id, type(error).__name__, exc_info=error)
            await until(self._stopping, LOOK)
            self._backlog.append(saga_id)
        finally:
            del self._running[saga_id]
            self._runs.pop(saga_id, None)
            self._rested(0 if fresh is not None else 1)
            self._full = False
            self._tell(saga_id, run)

    def _tell(self, saga_id: str, run: Run | None) -> None:
        """Those who wait for a saga that is not driven any more; how it ended, if that is known."""
        has_ended = run is not None and run.ended
        ended = self._ended.pop(saga_id, None)
        if ended is not None:
            ended.status = run.status() if run is not None and has_ended else None
            ended.event.set()
        if run is not None and has_ended and run.parent:
            self._look_at(run.parent)

    def _resume(self, status: SagaStatus, *, fresh: bool) -> Run:
        """A saga with its definition. Raises `DefinitionError` when they do not fit; never guesses."""
        saga = self._sagas.get((status.name, status.version))
        if saga is None:
            known = sorted(version for name, version in self._sagas if name == status.name)
            raise DefinitionError(f"version {status.version} of {status.name!r} is not known here, only {known}")
        if not fresh and status.signature != saga.signature():
            raise DefinitionError(f"the steps changed without a new version: {_difference(status.signature, saga)}")
        try:
            return Run(
                saga,
                status,
                self._journal,
                fresh=fresh,
                slots=self._slots,
                stopping=self._stopping,
                begins=self._started,
                changes=self._look_at,
                rests=_nobody if fresh else self._rested,
                clock=self._clock,
            )
        except ValueError as error:  # pydantic's: the journal holds data of another shape
            raise DefinitionError(
                f"the journal does not fit the types of {status.name!r}: {type(error).__name__}"
            ) from None


class _Ending:
    """The end of a saga that somebody waits for; `status` when it is known without asking the journal."""

    def __init__(self) -> None:
        self.event: asyncio.Event = asyncio.Event()
        self.status: SagaStatus | None = None


def _nobody(_count: int) -> None:
    """A saga that began here is not counted."""


def _demand_text(key: str) -> None:
    """A key that no database takes would fail the commit of all that share it."""
    try:
        usable = "\x00" not in key and bool(key.encode())
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise DefinitionError("a saga's key is a text without NUL that can be written as UTF-8")


def _difference(before: str, saga: Saga) -> str:
    """What went, with a minus, and what came, with a plus."""
    lines = difflib.ndiff(json.loads(before), json.loads(saga.signature()))
    return ", ".join(line for line in lines if line[0] in "+-")
