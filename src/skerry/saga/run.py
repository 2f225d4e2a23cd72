"""One saga's way to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from skerry import context
from skerry.clock import SYSTEM, Clock
from skerry.context import CallContext
from skerry.errors import Refused, Rejected, Unreachable
from skerry.resilience import Retry
from skerry.resilience.within import cancelled_here, within
from skerry.saga.barrier import DO, UNDO, action_key
from skerry.saga.definition import Child, Saga
from skerry.saga.entry import Pause, Record, SagaStatus, Start, Status, TurnBack, What, beginning
from skerry.saga.journal import Journal, as_text
from skerry.saga.slots import Slots
from skerry.saga.step import Step, StepContext, StepFunction, Wait
from skerry.signals import SagaChanged, SagaStepFailed, SagaWaits, emit
from skerry.telemetry.encoding import Value
from skerry.telemetry.spans import span, tell, wanted

NEVER = 1e12
"""Seconds since 1970: when a wait ends that has no time-out."""

BESIDE = "a step beside it failed"

_log = logging.getLogger("skerry.saga")


async def until(event: asyncio.Event, seconds: float) -> None:
    """Wait for `event`, at most so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class _Stopped(Exception):
    """The engine stops; the saga stays open."""


class _GaveUp(Exception):
    """All attempts failed. `unknown`: one of them may have taken effect."""

    def __init__(self, reason: str, *, unknown: bool) -> None:
        self.reason = reason
        self.unknown = unknown
        super().__init__(reason)


class _Waits(Exception):
    """A step waits; `entries` tell the journal so."""

    def __init__(self, *entries: Start | Pause) -> None:
        self.entries = entries
        super().__init__()


class _Parked(Exception):
    """The saga waits; nobody has to drive it until then."""


_Failure = Rejected | _GaveUp


def _what(error: _Failure) -> What:
    if isinstance(error, Rejected):
        return "rejected"
    return "unknown" if error.unknown else "failed"


async def _each(actions: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All of them at the same time, each to its end; then raise what the first raised."""
    waiting = list(actions)
    if len(waiting) == 1:
        await waiting[0]
        return
    for error in await asyncio.gather(*waiting, return_exceptions=True):
        if error is not None:
            raise error


class Run:
    """Drives one saga from where the journal says it stands.

    `fresh`: surely no step was ever tried, at first. Each attempt takes one of `slots`, which the sagas of an engine share.
    `begins` is told of children that have begun, `changes` the id of one that turns back, `rests` 1 when it waits between two
    attempts and -1 when it goes on. Raises pydantic's `ValidationError` when the journal does not fit the definition.
    """

    def __init__(
        self,
        saga: Saga,
        status: SagaStatus,
        journal: Journal,
        *,
        fresh: bool,
        slots: Slots,
        stopping: asyncio.Event,
        begins: Callable[[Start], None],
        changes: Callable[[str], None],
        rests: Callable[[int], None],
        clock: Clock = SYSTEM,
    ) -> None:
        self.saga: Saga = saga
        self.fresh: bool = fresh
        self._journal = journal
        self._slots = slots
        self._stopping = stopping
        self._begins = begins
        self._changes = changes
        self._rests = rests
        self._clock = clock
        self._id = status.id
        self._key = status.key
        self._status: Status = status.status
        self._reason = status.reason
        self._input = saga.load(status.input)
        self._begun_as = status
        self._steps = dict(status.steps)
        self._texts = dict(status.results)
        self._waits = dict(status.waits)
        self._results = {
            step.name: step.load(self._texts[step.name]) for step in saga.steps if step.name in self._texts
        }
        self._seen = MappingProxyType(self._results)
        # what the steps do is within the saga's own span, which began with it and outlives processes
        self._ambient = CallContext(traceparent=status.traceparent)
        self._hurry = asyncio.Event()
        self._cancelled = ""
        self._erases = bool(status.redact) or any(each.redactions() for each in saga.family())
        self._until = math.inf if saga.deadline is None else status.started_at + saga.deadline

    def status(self) -> SagaStatus:
        """The saga as it stands, as far as it is written down."""
        begun = self._begun_as  # not `replace`, which takes twice as long
        return SagaStatus(
            begun.id,
            begun.name,
            begun.version,
            begun.key,
            self._status,
            self._reason,
            begun.signature,
            begun.traceparent,
            begun.input,
            dict(self._steps),
            dict(self._texts),
            begun.started_at,
            begun.waits,
            begun.parent,
            begun.taken_back,
            begun.redact,
        )

    @property
    def ended(self) -> bool:
        """Whether nothing more happens without a person."""
        return self._status not in {"running", "compensating"}

    @property
    def parent(self) -> str:
        """The saga that waits for this one; empty when none does."""
        return self._begun_as.parent

    async def to_the_end(self) -> None:
        """Go forward, and back if need be. Returns early, with the saga open, when it waits or the engine stops.

        Raises only what the journal raises; the saga is then open still.
        """
        with context.use(self._ambient), contextlib.suppress(_Stopped, _Parked):
            if self._status == "running":
                await self._forward()
            if self._status == "compensating":
                await self._back()

    def hurry(self) -> None:
        """Look at once whether the engine stops, rather than after the wait before the next attempt."""
        self._hurry.set()

    def cancel(self, note: str) -> None:
        """Turn back before the next attempt, unless the point of no return is passed, or may be."""
        if not self._cancelled:  # it is said again at each look
            self._cancelled = f"cancelled: {note}" if note else "cancelled"
            self.hurry()

    async def _forward(self) -> None:
        # what was under way when an earlier process died may have taken effect: its outcome is unknown
        unknown = not self.fresh
        groups = self.saga.groups()
        for group in groups:
            if len(group) == 1 and type(group[0]) is Step:  # neither together with others nor waiting: most steps
                if self._steps.get(group[0].name) == "done":
                    continue
                failures: list[tuple[Step, _Failure]] = []
                await self._take(group[0], failures, [], unknown=unknown, ends=group is groups[-1])
            else:
                left = [step for step in group if self._steps.get(step.name) != "done"]
                if not left:
                    continue
                ends = group is groups[-1] and len(group) == 1
                failures = await self._together(left, unknown=unknown, ends=ends)
            if failures:
                await self._fail(failures)
                return
            unknown = self.fresh = False
        if self._status == "running":
            await self._change("completed", "", self.saga.steps[-1].name)

    async def _together(self, steps: list[Step], *, unknown: bool, ends: bool) -> list[tuple[Step, _Failure]]:
        """Take steps at the same time, and return once each has ended; those that failed, in the order in which they did.

        `ends`: the success of the one step is that of the saga. Raises `_Parked` when it is only to wait.
        """
        failures: list[tuple[Step, _Failure]] = []
        waits: list[tuple[Step, _Waits]] = []
        for is_written in (False, True):  # once it is, look again: what came in that moment wakes nobody
            left = [step for step in steps if self._steps.get(step.name) != "done"]
            waits.clear()
            await _each(self._take(step, failures, waits, unknown=unknown, ends=ends) for step in left)
            if failures or not waits:
                break
            if not is_written:
                await self._pause_for(waits)
        if waits and not failures:
            for step, _ in waits:
                emit(SagaWaits(saga=self.saga.name, key=self._key, step=step.name, until=self._waits[step.name]))
            raise _Parked
        # nobody waits for the others any longer; a child may have had its effect
        return failures + [(step, _GaveUp(BESIDE, unknown=isinstance(step, Child))) for step, _ in waits]

    async def _take(
        self,
        step: Step,
        failures: list[tuple[Step, _Failure]],
        waits: list[tuple[Step, _Waits]],
        *,
        unknown: bool,
        ends: bool,
    ) -> None:
        """Take one step, and write down that it is done; or see why it is not."""
        try:
            if isinstance(step, Wait):
                text = await self._wait(step, failures)
            elif isinstance(step, Child):
                text = await self._child(step, failures)
            else:
                text, result = await self._attempts(
                    step, step.action, DO, step.retry, unknown=unknown, failures=failures
                )
        except (Rejected, _GaveUp) as error:
            failures.append((step, error))
            self._hurry.set()
        except _Waits as error:
            waits.append((step, error))
        else:
            await self._write(step, "done", text, "completed" if ends else None)
            self._texts[step.name] = text
            self._results[step.name] = step.load(text) if isinstance(step, (Wait, Child)) else result

    async def _pause_for(self, waits: list[tuple[Step, _Waits]]) -> None:
        """Write down what steps wait for; nobody has to look at the saga before one of them is over."""
        entries = [entry for _, wait in waits for entry in wait.entries]
        due = min(entry.due for entry in entries if isinstance(entry, Pause))
        begun = await self._journal.pause(
            *(replace(entry, due=due) if isinstance(entry, Pause) else entry for entry in entries)
        )
        for entry in entries:
            if isinstance(entry, Start) and entry.id in begun:
                self._begins(entry)

    async def _fail(self, failures: list[tuple[Step, _Failure]]) -> None:
        """Write down what has become of steps that failed, and which way the saga goes."""
        first, why = failures[0]
        reason = f"{first.name}: {why.reason if isinstance(why, _GaveUp) else why}"
        unknown = isinstance(why, _GaveUp) and why.unknown
        if first.kind == "retriable" or (first.kind == "pivot" and unknown and first.compensation is None):
            await self._change("stuck", reason, first.name)
            return
        became: dict[str, What] = {step.name: _what(error) for step, error in failures}
        owed = self._owed({**self._steps, **became})
        status: Status = "compensating" if owed else "compensated"
        records = [self._record(step, what) for step, what in became.items()]
        records[0] = replace(records[0], status=status, reason=reason)
        await self._journal.write(*records)
        self._steps.update(became)
        self._became(status, reason, first.name)

    async def _back(self) -> None:
        self._hurry.clear()  # it was for the way forward
        owed = self._owed(self._steps)
        for step in owed:
            try:
                if isinstance(step, Child):
                    await self._take_back(step)
                else:
                    assert step.compensation is not None
                    await self._attempts(step, step.compensation, UNDO, step.compensation_retry, unknown=True)
            except _GaveUp as error:
                await self._change("stuck", f"undoing {step.name}: {error}", step.name)
                return
            await self._write(step, "undone", None, "compensated" if step is owed[-1] else None, self._reason)

    def _owed(self, steps: dict[str, Any]) -> list[Step]:
        """What has to be undone, last step first: all that took effect or may have."""
        return [
            step for step in reversed(self.saga.steps) if step.undoable and steps.get(step.name) in {"done", "unknown"}
        ]

    async def _attempts(
        self,
        step: Step,
        function: StepFunction,
        action: str,
        retry: Retry,
        *,
        unknown: bool,
        failures: Collection[object] = (),
    ) -> tuple[str, Any]:
        """Try until it succeeds; see `_once`. Raises `Rejected`, `_GaveUp`, or `_Stopped` when the engine stops first.

        `failures` are those of steps beside it: when there is one, a compensatable step begins no further attempt.
        """
        for attempt in range(1, retry.attempts + 1):
            if self._stopping.is_set():
                raise _Stopped
            if action == DO and (reason := self._turns_back(step, failures, unknown=unknown)):
                raise _GaveUp(reason, unknown=unknown)
            try:
                return await self._once(step, function, action, attempt)
            except _Stopped:
                raise
            except Exception as error:
                if isinstance(error, Rejected) and action == DO and step.kind != "retriable":
                    if unknown and step.compensation is not None:
                        # an earlier attempt may still be on its way to the participant: leave a tombstone there
                        raise _GaveUp(str(error), unknown=True) from error
                    raise
                unknown = unknown or not isinstance(error, (Refused, Unreachable, Rejected))
                self._report(step, action, attempt, error)
                failure = error
            if attempt < retry.attempts and not (action == DO and self._turns_back(step, failures, unknown=unknown)):
                await self._pause(retry.delay(attempt, failure, clock=self._clock))
        _log.warning("%s %s of %s %s: gave up", action, step.name, self.saga.name, self._key, exc_info=failure)
        raise _GaveUp(f"{type(failure).__name__}: {failure}"[:300], unknown=unknown) from failure

    async def _wait(self, step: Wait, failures: Collection[object]) -> str:
        """What a step waits for. Raises `_Waits` while it has not come, `Rejected` when it has not come in time."""
        if self._stopping.is_set():
            raise _Stopped
        if (came := await self._received(step)) is not None:
            return came
        if reason := self._turns_back(step, failures, unknown=False):
            raise _GaveUp(reason, unknown=False)
        now = self._clock.now()
        until = self._waits.get(step.name)
        if until is None:
            until = self._waits[step.name] = NEVER if step.seconds is None else now + step.seconds
        if until <= now:
            if step.receives:
                raise Rejected("nothing has come in time")
            return step.dump(None)
        raise _Waits(self._paused(step, until))

    def _paused(self, step: Step, until: float, child: str = "", *, back: bool = False) -> Pause:
        """What the journal is told of a step that waits; its saga is looked at when the deadline passes, too."""
        passes = self._until if self._until > self._clock.now() and not back else NEVER
        return Pause(self._id, self.saga.name, self._key, step.name, until, min(until, passes), child, back)

    async def _child(self, step: Child, failures: Collection[object]) -> str:
        """What a child has come to. Raises `_Waits` while it is under way, `Rejected` when it has turned back."""
        if self._stopping.is_set():
            raise _Stopped
        child = await self._find(step)
        if child is not None and child.status == "completed":
            return step.collected(child.results)
        if child is not None and child.status == "compensated":
            raise Rejected(f"it has turned back: {child.reason}")
        if reason := self._turns_back(step, failures, unknown=child is not None and step.kind != "pivot"):
            if child is None or step.undoable:
                raise _GaveUp(reason, unknown=child is not None)
            await self._journal.pause(TurnBack(child.id, self._id, reason, completed=False))
            self._changes(child.id)
        self._waits.setdefault(step.name, NEVER)
        if child is not None:
            raise _Waits(self._paused(step, NEVER, child.id))
        new = self._born(step)
        raise _Waits(new, self._paused(step, NEVER, new.id))

    async def _find(self, step: Child) -> SagaStatus | None:
        return await self._journal.find(step.saga.name, f"{self._id}:{step.name}")

    def _born(self, step: Child) -> Start:
        """A child that begins. Raises `_GaveUp` when there is no input for it."""
        try:
            text = step.saga.dump(step.given(self._context(step, DO, 1), self._input))
        except Exception as error:
            _log.warning("the input of %s of %s %s", step.name, self.saga.name, self._key, exc_info=error)
            raise _GaveUp(f"{type(error).__name__}: {error}"[:300], unknown=False) from error
        return beginning(
            step.saga,
            text,
            f"{self._id}:{step.name}",
            trace=self._ambient.traceparent,
            parent=self._id,
            clock=self._clock,
        )

    async def _take_back(self, step: Child) -> None:
        """See that nothing is left of a child; raises `_Parked` while something may be."""
        for is_written in (False, True):
            child = await self._find(step)
            if child is None or child.status == "compensated":
                return
            if not is_written:
                pause = self._paused(step, NEVER, child.id, back=True)
                await self._journal.pause(
                    TurnBack(child.id, self._id, f"its parent turned back: {self._reason}", completed=True), pause
                )
                if child.status == "completed":
                    emit(
                        SagaChanged(
                            saga=child.name, key=child.key, status="compensating", reason="its parent turned back"
                        )
                    )
                self._changes(child.id)
        raise _Parked

    async def _received(self, step: Wait) -> str | None:
        """The signal that a step waits for, if it has come. One that does not fit is a no: nothing of it will ever fit."""
        if not step.receives:
            return None
        text = await self._journal.told(self.saga.name, self._key, step.name)
        try:
            return None if text is None else step.dump(step.load(text))
        except ValueError as error:
            raise Rejected(f"what came does not fit: {type(error).__name__}") from None

    async def _pause(self, seconds: float) -> None:
        """Between two attempts; less when the engine stops or the saga is cancelled, and no longer than to its deadline."""
        left = self._until - self._clock.now()
        if not self._stopping.is_set():
            self._rests(1)
            try:
                await until(self._hurry, min(seconds, left) if left > 0 else seconds)
            finally:
                self._rests(-1)
        self._hurry.clear()

    def _turns_back(self, step: Step, failures: Collection[object], *, unknown: bool) -> str:
        """Why no further attempt is begun; empty when one is, as behind the pivot, and where the pivot may be done and nothing
        would undo it.
        """
        if step.kind == "retriable" or (step.kind == "pivot" and unknown and step.compensation is None):
            return ""
        if self._cancelled or failures:
            return self._cancelled or BESIDE
        return "the deadline has passed" if self._clock.now() >= self._until else ""

    async def _once(self, step: Step, function: StepFunction, action: str, attempt: int) -> tuple[str, Any]:
        """One attempt, in one of the slots; the result as the journal keeps it, and as it is read from there."""
        if not self._slots.take():
            await self._slots.turn()
        try:
            if self._stopping.is_set():
                raise _Stopped
            if wanted():
                with self._span(step, action, attempt) as work:
                    result = await self._call(step, function, action, attempt, work.context)
            else:
                result = await self._call(step, function, action, attempt, self._ambient)
            return step.kept(result) if action == DO else ("", None)
        finally:
            self._slots.give()

    def _span(self, step: Step, action: str, attempt: int) -> span:
        """That of one attempt."""
        name = f"{self.saga.name} {step.name}" if action == DO else f"{self.saga.name} undo {step.name}"
        told: dict[str, Value] = {"saga.key": self._key, "saga.attempt": attempt}
        return span(name, "internal", self._ambient, attributes=told, clock=self._clock)

    async def _call(self, step: Step, function: StepFunction, action: str, attempt: int, own: CallContext) -> Any:
        """What a step or compensation returns, called within its time and inside the span `own`."""
        ctx = self._context(step, action, attempt)
        arguments = (ctx, self._input) if action == DO else (ctx, self._input, self._results.get(step.name))
        # the engine retries, so the clients inside do not: one layer only
        with context.use(own, deadline=self._clock.monotonic() + step.timeout, retried=True):
            try:
                return await within(step.timeout, function(*arguments))
            except asyncio.CancelledError as error:
                # one that nobody asked of this task, such as that of another task it waits for, is a failure like others
                if cancelled_here():
                    raise
                raise RuntimeError("it was cancelled from inside") from error

    def _context(self, step: Step, action: str, attempt: int) -> StepContext:
        results: Mapping[str, Any] = self._seen
        if step.group and action == DO:
            beside = {other.name for other in self.saga.steps if other.group == step.group}
            results = {name: result for name, result in self._results.items() if name not in beside}
        key = action_key(self._id, step.name, action)
        return StepContext(self.saga.name, self._id, step.name, key, attempt, results)

    def _report(self, step: Step, action: str, attempt: int, error: Exception) -> None:
        emit(
            SagaStepFailed(
                saga=self.saga.name,
                key=self._key,
                step=step.name,
                action=action,
                attempt=attempt,
                error=type(error).__name__,
            )
        )

    async def _write(self, step: Step, what: Any, result: str | None, status: Status | None, reason: str = "") -> None:
        waited = isinstance(step, (Wait, Child))
        await self._journal.write(
            Record(self._id, step.name, what, result, status, reason, waited, self.parent, self._erases)
        )
        self._steps[step.name] = what
        if status is not None:
            self._became(status, reason, step.name)

    def _record(self, step: str = "", what: What = "done", *, status: Status | None = None, reason: str = "") -> Record:
        return Record(self._id, step, what, status=status, reason=reason, parent=self.parent, erases=self._erases)

    async def _change(self, status: Status, reason: str, step: str) -> None:
        await self._journal.write(self._record(status=status, reason=reason))
        self._became(status, reason, step)

    def _became(self, status: Status, reason: str, step: str) -> None:
        self._status, self._reason = status, as_text(reason)
        emit(SagaChanged(saga=self.saga.name, key=self._key, status=status, step=step, reason=reason))
        if self.ended and wanted():
            tell(
                self.saga.name,
                "internal",
                own=self._ambient.traceparent,
                parent="",
                seconds=self._clock.now() - self._begun_as.started_at,
                error="stuck" if status == "stuck" else "",
                attributes={"saga.key": self._key, "saga.status": status},
                clock=self._clock,
            )
