"""What a saga is made of: steps in order, their kinds, and what undoes them.

Kinds, after Garcia-Molina and Salem, "Sagas" (1987), and microservices.io: *compensatable* steps come first, then at most
one *pivot*, whose success means the saga will complete, then *retriable* steps that are tried until they succeed.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from skerry.errors import DefinitionError
from skerry.resilience import Retry
from skerry.saga.redaction import WHOLE, checked
from skerry.saga.step import (
    FORWARD_RETRY,
    STEP_RETRY,
    Kind,
    S,
    Step,
    StepContext,
    Wait,
    adapter,
    dumped,
    nothing,
)


class Saga:
    """A saga's definition.

        fulfil = Saga("order-fulfilment", version=1, input=Order)

        @fulfil.step(timeout=2.0)
        async def reserve(ctx, order): ...

        @reserve.compensate
        async def release(ctx, order, reservation): ...

        @fulfil.pivot(timeout=5.0)
        async def charge(ctx, order): ...

        @fulfil.retriable()
        async def ship(ctx, order): ...

    A running saga keeps the version it was started with. Time-outs are in seconds and bound one attempt. Of a `Retry` the
    number of attempts and the delays count: every error but `Rejected` is tried again, whatever its `on` says. With a
    `deadline`, in seconds since its start, a saga begins no further attempt after it and turns back, unless it has passed its
    pivot, or may have.

    Steps and compensations are async, or plain functions that then run on a thread. A thread cannot be ended: what runs there
    needs time-outs of its own, and one that outlives its attempt may still have its effect, as a late action.

    What a step returns and the saga's `input` are kept as JSON, by their annotations; a result that does not fit its own
    counts as a failed attempt. `redact` names fields, such as "customer.email" or "items.note", of the input, and of a step of
    what it returns: nobody is shown them, and when the saga has ended, and is not stuck, they are erased from the journal.

    Raises `DefinitionError` for what cannot work.
    """

    def __init__(
        self,
        name: str,
        *,
        version: int = 1,
        input: Any = Any,  # noqa: A002 - the contract's name
        deadline: float | None = None,
        redact: Collection[str] = (),
    ) -> None:
        if deadline is not None and not 0 < deadline < math.inf:
            raise DefinitionError(f"the deadline of {name!r} is {deadline}; give seconds above 0, or None")
        self.deadline = deadline
        self.name = name
        self.version = version
        self.steps: list[Step] = []
        self._group = 0
        self._input = adapter(input, f"the input of {name!r}")
        self._redact = checked(redact, f"the input of {name!r}")
        self._signed: tuple[list[object], str] = ([], "")
        self._grouped: tuple[int, list[list[Step]]] = (0, [])

    def step(
        self, *, retry: Retry = STEP_RETRY, timeout: float = 5.0, redact: Collection[str] = ()
    ) -> Callable[[Callable[..., Any]], Step]:
        """Add a compensatable step."""
        return self._adder("step", retry, timeout, redact)

    def pivot(
        self, *, retry: Retry = STEP_RETRY, timeout: float = 5.0, redact: Collection[str] = ()
    ) -> Callable[[Callable[..., Any]], Step]:
        """Add the step whose success decides that the saga completes.

        Its compensation, if it has one, is used only while its outcome is unknown; without one the saga is then STUCK, and
        a `Rejected` is believed even after attempts whose outcome is unknown.
        """
        return self._adder("pivot", retry, timeout, redact)

    def retriable(
        self, *, retry: Retry = FORWARD_RETRY, timeout: float = 5.0, redact: Collection[str] = ()
    ) -> Callable[[Callable[..., Any]], Step]:
        """Add a step that is tried until it succeeds; after its last attempt the saga is STUCK."""
        return self._adder("retriable", retry, timeout, redact)

    @contextmanager
    def parallel(self) -> Iterator[None]:
        """Steps that are added inside the block run at the same time; the saga goes on when all of them have succeeded.

            with fulfil.parallel():

                @fulfil.step()
                async def reserve(ctx, order): ...

                @fulfil.step()
                async def check_address(ctx, order): ...

        They are all compensatable, or all retriable, and do not see each other's results. When a compensatable one fails the
        others begin no further attempt, and those that wait do so no longer; then what was done, or may have been, is undone
        one after the other.
        """
        if self._group:
            raise DefinitionError(f"the groups of {self.name!r} stand inside each other")
        self._group = max((step.group for step in self.steps), default=0) + 1
        try:
            yield
        finally:
            self._group = 0

    def receive(
        self,
        name: str,
        type: Any = Any,  # noqa: A002 - what comes
        *,
        timeout: float | None = None,
        redact: Collection[str] = (),
    ) -> Step:
        """Add a step that waits until the saga is sent the signal `name`, see `Engine.signal`; its result is what came.

        When nothing has come `timeout` seconds after the saga has got here, it turns back; behind the pivot it is STUCK, and
        waits anew when it is told to go on. Without a time-out it waits for as long as it takes. A saga that waits takes no
        memory, survives restarts, and accepts what came before it got here, even before it was started.

            approval = order.receive("approval", Approval, timeout=3 * 86_400.0)
        """
        if timeout is not None and not 0 < timeout < math.inf:
            raise DefinitionError(f"the time-out of {name!r} is {timeout}; give seconds above 0, or None")
        return self._wait(name, receives=True, seconds=timeout, result=type, redact=redact)

    def sleep(self, name: str, seconds: float) -> Step:
        """Add a step that waits for so many seconds, also through restarts; the saga goes on within a second of then."""
        if not 0 < seconds < math.inf:
            raise DefinitionError(f"{name!r} sleeps for {seconds}; give seconds above 0")
        return self._wait(name, receives=False, seconds=seconds)

    def child(self, name: str, saga: Saga, input: Callable[[StepContext, Any], Any]) -> Step:  # noqa: A002 - its input
        """Add a step that is a saga of its own, with its own entry in the journal, which the same engine drives.

            parcel = order.child("parcel", shipping, lambda ctx, order: Parcel(order_id=order.id, address=order.address))

        `input` makes its input; it is called in the event loop, and called again after a crash. The step is done when the child
        has completed, and its result maps the child's steps to theirs; it is rejected when the child has turned back. Meanwhile
        this saga waits, and takes no memory. A child that is stuck is settled like any other saga, and this one goes on.

        What the child is decides what it is here: one of compensatable steps only is a compensatable step; one of retriable
        steps only is retriable; any other is the pivot. Where this saga turns back, a compensatable child turns back too, even
        one that has completed, step by step as it would have. A pivot that is under way is asked to turn back when this saga is
        cancelled or its deadline passes.
        """
        if saga is self or any(each is self for each in saga.family()):
            raise DefinitionError(f"the saga {saga.name!r} would be its own child")
        kinds = {step.kind for step in saga.steps}
        if not kinds:
            raise DefinitionError(f"the saga {saga.name!r} has no steps: nothing is known of it yet")
        kind: Kind = next(iter(kinds)) if len(kinds) == 1 else "pivot"
        self._check_place(kind, name)
        step = Child(name, kind, saga, input, group=self._group)
        self.steps.append(step)
        return step

    def family(self) -> Iterator[Saga]:
        """The sagas of its steps, and those of theirs."""
        for step in self.steps:
            if isinstance(step, Child):
                yield step.saga
                yield from step.saga.family()

    def every_step(self) -> list[Step]:
        """Its steps, and those of the sagas that are steps of it."""
        return [step for saga in (self, *self.family()) for step in saga.steps]

    def redactions(self) -> dict[str, tuple[str, ...]]:
        """What is redacted: of the input as "", and of what steps return."""
        hidden = {step.name: step.redact for step in self.steps if step.redact}
        return {WHOLE: self._redact, **hidden} if self._redact else hidden

    def _wait(
        self,
        name: str,
        *,
        receives: bool,
        seconds: float | None,
        result: Any = None,
        redact: Collection[str] = (),
    ) -> Step:
        kind: Kind = "step" if all(step.kind == "step" for step in self.steps) else "retriable"
        self._check_place(kind, name)
        step = Wait(
            name,
            kind,
            receives=receives,
            seconds=seconds,
            result=result,
            group=self._group,
            redact=checked(redact, repr(name)),
        )
        self.steps.append(step)
        return step

    def groups(self) -> list[list[Step]]:
        """The steps in the order in which they run; those that stand together run at the same time."""
        if self._grouped[0] != len(self.steps):  # steps are only ever added
            by = itertools.groupby(self.steps, key=lambda step: step.group or step.name)
            self._grouped = (len(self.steps), [list(steps) for _, steps in by])
        return self._grouped[1]

    def signature(self) -> str:
        """What the steps are called, their kinds, and which can be undone: a running saga must find it as it was."""
        made_of: list[object] = [part for step in self.steps for part in (step, step.compensation)]
        if self._signed[0] != made_of:
            self._signed = (made_of, json.dumps([step.signature() for step in self.steps]))
        return self._signed[1]

    def dump(self, value: Any) -> str:
        """An input as the journal keeps it. Raises `DefinitionError` when it does not fit the declared type."""
        try:
            return dumped(self._input, self._input.validator.validate_python(value))[0]
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DefinitionError(f"the input of {self.name!r} does not fit: {where}: {first['msg']}") from None
        except PydanticSerializationError as error:
            raise DefinitionError(f"the input of {self.name!r} cannot be written as JSON: {error}") from None

    def load(self, text: str) -> Any:
        """An input as the steps get it."""
        return self._input.validator.validate_json(text)

    def _adder(
        self, kind: Kind, retry: Retry, timeout: float, redact: Collection[str]
    ) -> Callable[[Callable[..., Any]], Step]:
        def add(function: Callable[..., Any]) -> Step:
            name = getattr(function, "__name__", "")
            self._check_place(kind, name)
            if not 0 < timeout < math.inf:
                raise DefinitionError(f"the time-out of {name!r} is {timeout}; give seconds above 0")
            hidden = checked(redact, repr(name))
            step = Step(name, kind, function, retry=retry, timeout=timeout, group=self._group, redact=hidden)
            self.steps.append(step)
            return step

        return add

    def _check_place(self, kind: Kind, name: str) -> None:
        if not name.isidentifier() or any(step.name == name for step in self.steps):
            raise DefinitionError(f"the saga {self.name!r} needs another name for the step {name!r}")
        beside = {step.kind for step in self.steps if step.group == self._group} if self._group else set()
        if self._group and (kind == "pivot" or beside - {kind}):
            raise DefinitionError(
                f"{name!r} is {kind}: a group is all steps, or all retriable steps, and a pivot stands alone"
            )
        kinds = [step.kind for step in self.steps]
        if kind != "retriable" and ("pivot" in kinds or "retriable" in kinds):
            raise DefinitionError(f"{name!r} comes after the point of no return: only retriable steps may follow")


class Child(Step):
    """A step that is a saga of its own; see `Saga.child`."""

    def __init__(
        self, name: str, kind: Kind, saga: Saga, given: Callable[[StepContext, Any], Any], *, group: int
    ) -> None:
        hidden = tuple(f"{step.name}.{path}" for step in saga.steps for path in step.redact)
        super().__init__(name, kind, nothing, retry=STEP_RETRY, timeout=5.0, group=group, redact=hidden)
        self.saga: Saga = saga
        self.given: Callable[[StepContext, Any], Any] = given

    @property
    def undoable(self) -> bool:
        """See `Step.undoable`: it is undone by what undoes its steps."""
        return self.kind == "step"

    def compensate(self, function: S) -> S:  # noqa: ARG002 - there is none
        """Raises `DefinitionError`: what it did is undone by its own compensations."""
        raise DefinitionError(f"{self.name!r} is a saga: its own compensations undo it")

    def collected(self, results: Mapping[str, str | None]) -> str:
        """Its result, of what the child's steps returned, each as JSON."""
        return json.dumps({name: json.loads(text) for name, text in results.items() if text is not None})

    def load(self, text: str | None) -> Any:
        """See `Step.load`: what the child's steps returned, by their names."""
        results: Mapping[str, Any] = json.loads(text or "{}")
        return {
            step.name: step.load(json.dumps(results[step.name])) for step in self.saga.steps if step.name in results
        }

    def _what(self) -> str:
        # in the form of an address, for what follows a blank has a meaning of its own
        return f"{super()._what()} child={quote(self.saga.name)}@{self.saga.version}"
