"""The engine: drives the sagas of one service, forward or back, until each has ended.

One engine per database works at a time (an exclusive role ends with its process). On start it takes up whatever is open in
the journal. A step whose answer never came is tried again with the same key; when that does not settle it, it is treated as
one that may have taken effect, and compensated too.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from skerry.clock import SYSTEM, Clock
from skerry.errors import DefinitionError, UnknownSaga
from skerry.saga.definition import Saga
from skerry.saga.journal import Journal, Record, SagaStatus
from skerry.saga.run import Run
from skerry.signals import SagaChanged, SagasRecovered, emit
from skerry.store import Database, adapt

MAX_RUNNING = 200
"""Sagas driven at the same time; more wait in the journal, so a restart with many open ones is paced."""
LOOK = 0.5
"""Seconds between looks into the journal for sagas that were started through other connections."""


class Engine:
    """The saga engine of the service `service`, on its own database."""

    def __init__(self, service: str, database: Database, *, clock: Clock = SYSTEM) -> None:
        self._service = service
        self._database = database
        self._clock = clock
        self._journal = Journal(database, clock=clock)
        self._sagas: dict[tuple[str, int], Saga] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._look = asyncio.Event()
        self._stopping = False
        self.failure = ""

    def add(self, *sagas: Saga) -> None:
        """Take on definitions. Several versions of one saga may stand beside each other while the old ones finish."""
        for saga in sagas:
            self._sagas[saga.name, saga.version] = saga

    @property
    def has_sagas(self) -> bool:
        """Whether there is anything to drive."""
        return bool(self._sagas)

    async def start(self, tx: object, saga: Saga, value: Any, *, key: str) -> str:
        """Start a saga in the caller's transaction: it runs if, and only if, that commits. Returns the saga's id.

        The same key and input give the same saga; the same key with another input raises `ReceiptConflict`. Raises
        `UnknownSaga` when the saga was not added, `NoTransaction` when `tx` has none open.
        """
        if (saga.name, saga.version) not in self._sagas:
            raise UnknownSaga(f"{saga.name!r} version {saga.version} was not added to the service {self._service!r}")
        adapted = adapt(tx)
        saga_id = await self._journal.start(
            adapted,
            saga_id=str(self._clock.uuid()),
            name=saga.name,
            version=saga.version,
            key=key,
            steps=saga.signature(),
            data=saga.dump(value),
        )
        adapted.on_commit(self._look.set)
        return saga_id

    async def run(self, saga: Saga, value: Any, *, key: str) -> SagaStatus:
        """Start a saga in a transaction of its own and wait until it has ended. For callers without local state."""
        async with self._database.transaction() as tx:
            saga_id = await self.start(tx, saga, value, key=key)
        return await self.wait(saga_id)

    async def wait(self, saga_id: str) -> SagaStatus:
        """Wait until a saga has ended: completed, compensated or stuck. Raises `UnknownSaga`."""
        while True:
            ended = self._ended.setdefault(saga_id, asyncio.Event())
            status = await self._journal.load(saga_id)
            if status is None:
                raise UnknownSaga(f"no saga {saga_id}")
            if status.ended:
                self._ended.pop(saga_id, None)
                return status
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await ended.wait()

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
        status = await self._journal.load(saga_id)
        if status is None or status.status != "stuck":
            return False
        going_back = not {"rejected", "failed", "unknown"}.isdisjoint(status.steps.values())
        back = going_back or "undone" in status.steps.values()
        await self._journal.write(Record(saga_id, status="compensating" if back else "running"))
        self._look.set()
        return True

    async def serve(self) -> None:
        """Drive sagas until `stop`. Trouble with the database is reported and tried again."""
        async with self._database.lead("saga"):
            first = True
            while not self._stopping:
                self._look.clear()
                try:
                    found = await self._take_up()
                except Exception as error:  # the loop that serves all sagas must not die of one failed look
                    self.failure = type(error).__name__
                else:
                    self.failure = ""
                    if first and found:
                        emit(SagasRecovered(service=self._service, count=found))
                    first = False
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK):
                        await self._look.wait()

    async def stop(self, task: asyncio.Task[None], *, within: float) -> None:
        """Let steps under way finish, at most `within` seconds, then stop. Nothing is lost: the journal knows."""
        self._stopping = True
        self._look.set()
        running = list(self._running.values())
        if running:
            await asyncio.wait(running, timeout=within)
        for run in self._running.values():
            run.cancel()
        task.cancel()
        await asyncio.gather(task, *self._running.values(), return_exceptions=True)

    async def _take_up(self) -> int:
        """Begin to drive every open saga that is not driven yet, as far as there is room."""
        after, taken = "", 0
        while len(self._running) < MAX_RUNNING:
            page = await self._journal.open_after(after)
            for saga_id in page:
                if saga_id not in self._running and len(self._running) < MAX_RUNNING:
                    self._running[saga_id] = asyncio.create_task(self._drive(saga_id), name=f"saga:{saga_id}")
                    taken += 1
            if not page:
                break
            after = page[-1]
        return taken

    async def _drive(self, saga_id: str) -> None:
        try:
            status = await self._journal.load(saga_id)
            if status is None or status.ended:
                return
            try:
                run = self._resume(status)
            except DefinitionError as error:
                await self._journal.write(Record(saga_id, status="stuck", reason=str(error)))
                emit(SagaChanged(saga=status.name, key=status.key, status="stuck", reason=str(error)))
            else:
                await run.to_the_end()
        except Exception as error:  # such as a full disk: the saga stays open and is taken up again at the next look
            self.failure = type(error).__name__
            await self._clock.sleep(LOOK)
        finally:
            self._running.pop(saga_id, None)
            self._look.set()
            ended = self._ended.pop(saga_id, None)
            if ended is not None:
                ended.set()

    def _resume(self, status: SagaStatus) -> Run:
        """A saga with its definition. Raises `DefinitionError` when they do not fit; never guesses."""
        saga = self._sagas.get((status.name, status.version))
        if saga is None:
            known = sorted(version for name, version in self._sagas if name == status.name)
            raise DefinitionError(f"version {status.version} of {status.name!r} is not known here, only {known}")
        if status.signature != saga.signature():
            raise DefinitionError(
                f"the steps changed without a new version: started with {status.signature}, now {saga.signature()}"
            )
        try:
            return Run(saga, status, self._journal, stopping=lambda: self._stopping, clock=self._clock)
        except ValueError as error:  # pydantic's: the journal holds data of another shape
            raise DefinitionError(
                f"the journal does not fit the types of {status.name!r}: {type(error).__name__}"
            ) from None
