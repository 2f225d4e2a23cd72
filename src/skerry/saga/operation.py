"""What people do about sagas: look at them, and settle those that wait for somebody.

It works on the database of the service, beside the running engine, which goes on by itself. Every act is written down with
its note, in the transaction of what it changes.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple, NoReturn

from skerry.clock import SYSTEM, Clock
from skerry.errors import NotNow, UnknownSaga
from skerry.saga.entry import SagaStatus, Status
from skerry.saga.journal import SQL, erase, household, read, tell
from skerry.signals import SagaChanged, SagaSignalled, emit
from skerry.store import OpenDatabase, Transaction

OPEN: Final[tuple[Status, ...]] = ("running", "compensating", "stuck")
TAKEN_BACK: Final = "taken back"
"""What happened to a child that had completed when its parent turned back."""
MAX_NOTE: Final = 300
"""Characters of a note that are kept."""


@dataclass(frozen=True, slots=True)
class SagaLine:
    """One saga in a list. Times are seconds since 1970."""

    id: str
    name: str
    version: int
    key: str
    status: Status
    reason: str
    started_at: float
    changed_at: float


@dataclass(frozen=True, slots=True)
class Happened:
    """One entry of a saga's timeline: what happened to a step, or what a person did (`by_hand`)."""

    at: float
    what: str
    step: str = ""
    note: str = ""
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class SagaCount:
    """How many sagas of a version have a status; `oldest` is when the first of them was started."""

    name: str
    version: int
    status: Status
    sagas: int
    oldest: float


class Sagas:
    """The sagas in a service's own database.

        async with database...:
            for saga in await Sagas(database).found(statuses=["stuck"]):
                print(saga.key, saga.reason)

    Acts raise `UnknownSaga` for an id that is none, and `NotNow` when they do not fit where the saga stands.
    """

    def __init__(self, database: OpenDatabase, *, clock: Clock = SYSTEM) -> None:
        self._database = database
        self._clock = clock

    async def found(
        self, *, statuses: Collection[Status] = OPEN, name: str = "", key: str = "", limit: int = 100
    ) -> list[SagaLine]:
        """Sagas of these statuses, the stuck ones first, then the oldest."""
        rows = await self._database.fetch_all(SQL["listed"], (json.dumps(list(statuses)), name, key, limit))
        return [SagaLine(*row) for row in rows]

    async def stats(self) -> list[SagaCount]:
        """How many sagas there are, by name, version and status."""
        return [SagaCount(*row) for row in await self._database.fetch_all(SQL["stats"])]

    async def get(self, saga_id: str) -> SagaStatus:
        """A saga as it stands."""
        status = await read(self._database, SQL["by_id"], saga_id)
        return status if status is not None else _unknown(saga_id)

    @staticmethod
    def stands_at(status: SagaStatus) -> str:
        """The step a saga stands at in the direction it goes; empty when none is left."""
        return next(iter(_left(status)), "")

    async def children(self, saga_id: str) -> list[SagaLine]:
        """The sagas that are steps of this one."""
        return [SagaLine(*row) for row in await self._database.fetch_all(SQL["children"], (saga_id,))]

    async def timeline(self, saga_id: str) -> list[Happened]:
        """What happened to a saga, in order of time."""
        times = await self._database.fetch_one(SQL["times"], (saga_id,))
        if times is None:
            _unknown(saga_id)
        found = [Happened(times[0], "started")]
        for step, what, at in await self._database.fetch_all(SQL["history"], (saga_id,)):
            found.append(Happened(at, what, step) if step else Happened(at, TAKEN_BACK))
        for act, step, note, at in await self._database.fetch_all(SQL["acts"], (saga_id,)):
            found.append(Happened(at, act, step, note, by_hand=True))
        status = await self.get(saga_id)
        for signal, signal_id, at, _value in await self._database.fetch_all(SQL["all_told"], (status.name, status.key)):
            found.append(Happened(at, "signalled", signal, signal_id[:MAX_NOTE]))
        if status.ended:
            found.append(Happened(times[1], status.status, note=status.reason))
        return sorted(found, key=lambda entry: entry.at)

    async def retry(self, saga_id: str, *, note: str = "") -> SagaStatus:
        """Let a stuck saga go on where it stood, in the direction it went, with all attempts."""
        async with self._database.transaction() as tx:
            status = await self._stuck(tx, saga_id, "retry")
            back: Status = "compensating" if status.turned_back else "running"
            await tx.execute(SQL["wait_anew"], (saga_id,))
            return await self._settle(tx, status, back, "", act="retry", note=note)

    async def skip(self, saga_id: str, step: str, *, result: Any = None, note: str = "") -> SagaStatus:
        """Take the step at which a stuck saga stands for done, or for undone when it goes back; the saga goes on behind it.

        For what a person did by other means. `result` is what a step would have returned, for the steps behind it.
        """
        async with self._database.transaction() as tx:
            status = await self._stuck(tx, saga_id, "skip")
            left = _left(status)
            if not left or left[0] != step:
                raise NotNow(f"the saga stands at {left[0] if left else 'no step'}, not at {step[:60]!r}")
            if status.turned_back:
                what, ended, goes_on = "undone", "compensated", "compensating"
            else:
                what, ended, goes_on = "done", "completed", "running"
            text = json.dumps(result) if what == "done" else None
            await tx.execute(SQL["append"], (saga_id, step, what, text, self._clock.now()))
            becomes: Any = ended if len(left) == 1 else goes_on
            return await self._settle(tx, status, becomes, "", act="skip", step=step, note=note)

    async def cancel(self, saga_id: str, *, note: str = "") -> SagaStatus:
        """Turn a saga back that has not passed its point of no return: what was done is undone.

        One that runs is told: the engine turns it back before its next attempt. A stuck one turns back at once; of the step
        it stands at is assumed that it may have taken effect or, where nothing undoes it, that it has not: make sure of that.
        """
        async with self._database.transaction() as tx:
            status = await self._read(tx, saga_id)
            if status.status not in {"running", "stuck"} or status.turned_back:
                raise NotNow(f"the saga is {status.status}: there is nothing to turn back")
            left = _left(status)
            at = _steps(status)[left[0]] if left else _Shape("retriable", undoes=False, group=0)
            group = at.group
            if at.kind == "retriable":
                raise NotNow(
                    f"the saga has passed its point of no return and stands at {left[0] if left else 'its end'}"
                )
            if status.status == "running":
                await self._act(tx, saga_id, "cancel", "", note)
                return status
            steps, owed = _steps(status), any(_steps(status)[done].undoes for done in status.steps)
            for name in left:
                if name == left[0] or (group and steps[name].group == group):  # those beside it may have begun too
                    what = "unknown" if steps[name].undoes else "failed"
                    await tx.execute(SQL["append"], (saga_id, name, what, None, self._clock.now()))
                    owed = owed or steps[name].undoes
            becomes: Status = "compensating" if owed else "compensated"
            return await self._settle(tx, status, becomes, _cancelled(note), act="cancel", step=left[0], note=note)

    async def signal(self, saga_id: str, name: str, value: Any = None, *, id: str = "") -> SagaStatus:  # noqa: A002
        """Send a saga a signal that one of its steps waits for, or will; the same `id` again has no effect.

        The value is JSON; whether it fits is found out by the engine.
        """
        async with self._database.transaction() as tx:
            status = await self._read(tx, saga_id)
            if status.ended and status.status != "stuck":
                raise NotNow(f"the saga is {status.status}: it waits for nothing any more")
            if not _steps(status).get(name, _Shape("", undoes=False, group=0)).receives:
                raise NotNow(f"no step of the saga waits for {name[:60]!r}")
            now = self._clock.now()
            new = await tell(
                tx, status.name, status.key, name, json.dumps(value), id=id or str(self._clock.uuid()), now=now
            )
            told = SagaSignalled(saga=status.name, key=status.key, signal=name, new=new)
            tx.on_commit(lambda: emit(told))
            return status

    async def resolve(
        self, saga_id: str, outcome: Literal["completed", "compensated"], *, note: str = ""
    ) -> SagaStatus:
        """End a stuck saga as it stands. For when a person has set everything right."""
        async with self._database.transaction() as tx:
            status = await self._stuck(tx, saga_id, "resolve")
            reason = f"resolved by hand: {note}" if note else "resolved by hand"
            return await self._settle(tx, status, outcome, reason, act="resolve", note=note)

    async def _read(self, tx: Transaction, saga_id: str) -> SagaStatus:
        status = await read(tx, SQL["by_id"], saga_id)
        return status if status is not None else _unknown(saga_id)

    async def _stuck(self, tx: Transaction, saga_id: str, act: str) -> SagaStatus:
        status = await self._read(tx, saga_id)
        if status.status != "stuck":
            raise NotNow(f"the saga is {status.status}: only a stuck one can be told to {act}")
        return status

    async def _settle(
        self, tx: Transaction, status: SagaStatus, becomes: Status, reason: str, *, act: str, step: str = "", note: str
    ) -> SagaStatus:
        if status.parent:
            await tx.lock(household(status.parent))
        if not await tx.execute(SQL["settle"], (becomes, reason[:MAX_NOTE], self._clock.now(), status.id)):
            raise NotNow("somebody else has settled it just now")
        await self._act(tx, status.id, act, step, note)
        if becomes in {"completed", "compensated"} and status.parent:
            await tx.execute(SQL["unpark_parent"], (status.parent,))
        elif becomes in {"completed", "compensated"}:
            await erase(tx, status.id)
        changed = SagaChanged(saga=status.name, key=status.key, status=becomes, step=step, reason=act)
        tx.on_commit(lambda: emit(changed))
        return replace(status, status=becomes, reason=reason)

    async def _act(self, tx: Transaction, saga_id: str, act: str, step: str, note: str) -> None:
        await tx.execute(SQL["act"], (saga_id, act, step, note[:MAX_NOTE], self._clock.now()))


def _unknown(saga_id: str) -> NoReturn:
    raise UnknownSaga(f"there is no saga {saga_id[:60]!r}")


def _cancelled(note: str) -> str:
    return f"cancelled: {note}" if note else "cancelled"


class _Shape(NamedTuple):
    kind: str
    undoes: bool
    group: int
    receives: bool = False


def _steps(status: SagaStatus) -> dict[str, _Shape]:
    """The steps as the saga was started with them."""
    found = {}
    for line in json.loads(status.signature):
        kind, name, *more = line.split()
        found[name] = _Shape(kind, "compensation" in more, int(more[-1]) if "group" in more else 0, "receives" in more)
    return found


def _left(status: SagaStatus) -> list[str]:
    """The steps that are left in the direction the saga goes, the one it stands at first."""
    steps = _steps(status)
    if status.turned_back:
        return [
            name for name in reversed(steps) if steps[name].undoes and status.steps.get(name) in {"done", "unknown"}
        ]
    return [name for name in steps if status.steps.get(name) != "done"]
