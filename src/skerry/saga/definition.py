"""What a saga is made of: steps in order, their kinds, and what undoes them.

Kinds, after Garcia-Molina and Salem, "Sagas" (1987), and microservices.io: *compensatable* steps come first, then at most
one *pivot*, whose success means the saga will complete, then *retriable* steps that are tried until they succeed.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
import json
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError

from skerry.errors import DefinitionError
from skerry.resilience import Retry

Kind = Literal["step", "pivot", "retriable"]
StepFunction = Callable[..., Awaitable[Any]]
S = TypeVar("S", bound=Callable[..., Any])

STEP_RETRY = Retry(5, base=0.1, cap=2.0)
FORWARD_RETRY = Retry(30, base=0.2, cap=30.0)
"""For what has to happen in the end (retriable steps, compensations): about six minutes, then STUCK."""


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step or compensation is told. `key` stays the same however often the action is tried: pass it on.

    `results` holds what the steps before returned, by step name; like the saga's input it is there to be read, not changed.
    `attempt` counts from 1 since the process started.
    """

    saga: str
    saga_id: str
    step: str
    key: str
    attempt: int
    results: Mapping[str, Any] = field(default_factory=dict)


class Step:
    """One step, as its decorator left it. `@the_step.compensate` adds what undoes it."""

    def __init__(
        self, name: str, kind: Kind, action: Callable[..., Any], *, retry: Retry, timeout: float, group: int = 0
    ) -> None:
        self.name = name
        self.kind = kind
        self.action: StepFunction = _asynchronous(action, name)
        self.retry = retry
        self.timeout = timeout
        self.group: int = group
        self.compensation: StepFunction | None = None
        self.compensation_retry = FORWARD_RETRY
        self._result = _adapter(_returned(action), f"what {name!r} returns")

    def compensate(self, function: S) -> S:
        """Register `undo(ctx, input, result)`; `result` is None when the outcome of the step is unknown.

        It may be called for a step that never took effect, and more than once: undo by `ctx.key`.
        """
        if self.kind == "retriable":
            raise DefinitionError(
                f"the retriable step {self.name!r} is after the point of no return: nothing undoes it"
            )
        if self.compensation is not None:
            raise DefinitionError(f"the step {self.name!r} has a compensation already")
        self.compensation = _asynchronous(function, self.name)
        return function

    def signature(self) -> str:
        """What a running saga must find as it was."""
        undone = " with compensation" if self.compensation else ""
        return f"{self.kind} {self.name}{undone}" + (f" in group {self.group}" if self.group else "")

    def dump(self, result: Any) -> str:
        """A result as the journal keeps it. Raises a `ValueError` when it could not be read from there again."""
        return _dump(self._result, result)

    def load(self, text: str | None) -> Any:
        """A result as the step returned it; None when there is none."""
        return None if text is None else self._result.validate_json(text)


class Wait(Step):
    """A step that does nothing but wait: for a signal, or for `seconds` to pass; see `Saga.receive` and `Saga.sleep`."""

    def __init__(self, name: str, kind: Kind, *, receives: bool, seconds: float | None, result: Any = None) -> None:
        super().__init__(name, kind, _nothing, retry=STEP_RETRY, timeout=5.0)
        self.receives: bool = receives
        self.seconds: float | None = seconds
        self._result = _adapter(result, f"what {name!r} receives")

    def compensate(self, function: S) -> S:  # noqa: ARG002 - there is none
        """Raises `DefinitionError`: there is nothing to undo."""
        raise DefinitionError(f"{self.name!r} only waits: there is nothing to undo")

    def signature(self) -> str:
        """See `Step.signature`. How long it waits may change; what waits already goes on as it began."""
        return f"{self.kind} {self.name} {'receives' if self.receives else 'sleeps'}"


async def _nothing(_ctx: StepContext, _input: Any) -> None:
    """What a step does that waits."""


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
    counts as a failed attempt. Raises `DefinitionError` for what cannot work.
    """

    def __init__(
        self,
        name: str,
        *,
        version: int = 1,
        input: Any = Any,  # noqa: A002 - the contract's name
        deadline: float | None = None,
    ) -> None:
        if deadline is not None and not 0 < deadline < math.inf:
            raise DefinitionError(f"the deadline of {name!r} is {deadline}; give seconds above 0, or None")
        self.deadline = deadline
        self.name = name
        self.version = version
        self.steps: list[Step] = []
        self._group = 0
        self._input = _adapter(input, f"the input of {name!r}")

    def step(self, *, retry: Retry = STEP_RETRY, timeout: float = 5.0) -> Callable[[Callable[..., Any]], Step]:
        """Add a compensatable step."""
        return self._adder("step", retry, timeout)

    def pivot(self, *, retry: Retry = STEP_RETRY, timeout: float = 5.0) -> Callable[[Callable[..., Any]], Step]:
        """Add the step whose success decides that the saga completes.

        Its compensation, if it has one, is used only while its outcome is unknown; without one the saga is then STUCK, and
        a `Rejected` is believed even after attempts whose outcome is unknown.
        """
        return self._adder("pivot", retry, timeout)

    def retriable(self, *, retry: Retry = FORWARD_RETRY, timeout: float = 5.0) -> Callable[[Callable[..., Any]], Step]:
        """Add a step that is tried until it succeeds; after its last attempt the saga is STUCK."""
        return self._adder("retriable", retry, timeout)

    @contextmanager
    def parallel(self) -> Iterator[None]:
        """Steps that are added inside the block run at the same time; the saga goes on when all of them have succeeded.

            with fulfil.parallel():

                @fulfil.step()
                async def reserve(ctx, order): ...

                @fulfil.step()
                async def check_address(ctx, order): ...

        They are all compensatable, or all retriable, and do not see each other's results. When a compensatable one fails the
        others begin no further attempt; once all have ended, what was done, or may have been, is undone one after the other.
        """
        if self._group:
            raise DefinitionError(f"the groups of {self.name!r} stand inside each other")
        self._group = max((step.group for step in self.steps), default=0) + 1
        try:
            yield
        finally:
            self._group = 0

    def receive(self, name: str, type: Any = Any, *, timeout: float | None = None) -> Step:  # noqa: A002 - what comes
        """Add a step that waits until the saga is sent the signal `name`, see `Engine.signal`; its result is what came.

        When nothing has come `timeout` seconds after the saga has got here, it turns back; behind the pivot it is STUCK, and
        waits anew when it is told to go on. Without a time-out it waits for as long as it takes. A saga that waits takes no
        memory, survives restarts, and accepts what came before it got here, even before it was started.

            approval = order.receive("approval", Approval, timeout=3 * 86_400.0)
        """
        if timeout is not None and not 0 < timeout < math.inf:
            raise DefinitionError(f"the time-out of {name!r} is {timeout}; give seconds above 0, or None")
        return self._wait(name, receives=True, seconds=timeout, result=type)

    def sleep(self, name: str, seconds: float) -> Step:
        """Add a step that waits for so many seconds, also through restarts; the saga goes on within a second of then."""
        if not 0 < seconds < math.inf:
            raise DefinitionError(f"{name!r} sleeps for {seconds}; give seconds above 0")
        return self._wait(name, receives=False, seconds=seconds)

    def _wait(self, name: str, *, receives: bool, seconds: float | None, result: Any = None) -> Step:
        kind: Kind = "step" if all(step.kind == "step" for step in self.steps) else "retriable"
        self._check_place(kind, name)
        if self._group:
            raise DefinitionError(f"{name!r} stands alone: nothing waits in a group")
        step = Wait(name, kind, receives=receives, seconds=seconds, result=result)
        self.steps.append(step)
        return step

    def groups(self) -> list[list[Step]]:
        """The steps in the order in which they run; those that stand together run at the same time."""
        return [list(steps) for _, steps in itertools.groupby(self.steps, key=lambda step: step.group or step.name)]

    def signature(self) -> str:
        """What the steps are called, their kinds, and which can be undone: a running saga must find it as it was."""
        return json.dumps([step.signature() for step in self.steps])

    def dump(self, value: Any) -> str:
        """An input as the journal keeps it. Raises `DefinitionError` when it does not fit the declared type."""
        try:
            return _dump(self._input, self._input.validate_python(value))
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DefinitionError(f"the input of {self.name!r} does not fit: {where}: {first['msg']}") from None
        except PydanticSerializationError as error:
            raise DefinitionError(f"the input of {self.name!r} cannot be written as JSON: {error}") from None

    def load(self, text: str) -> Any:
        """An input as the steps get it."""
        return self._input.validate_json(text)

    def _adder(self, kind: Kind, retry: Retry, timeout: float) -> Callable[[Callable[..., Any]], Step]:
        def add(function: Callable[..., Any]) -> Step:
            name = getattr(function, "__name__", "")
            self._check_place(kind, name)
            if not 0 < timeout < math.inf:
                raise DefinitionError(f"the time-out of {name!r} is {timeout}; give seconds above 0")
            step = Step(name, kind, function, retry=retry, timeout=timeout, group=self._group)
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


def _asynchronous(function: Any, name: str) -> StepFunction:
    """The function itself, or one that runs it on a thread."""
    if inspect.iscoroutinefunction(function):
        asynchronous: StepFunction = function
        return asynchronous
    if not inspect.isroutine(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DefinitionError(f"{name!r} has to be a function that does its work, async or not")

    @functools.wraps(function)
    async def on_a_thread(*arguments: Any) -> Any:
        return await asyncio.to_thread(function, *arguments)

    return on_a_thread


def _returned(action: Callable[..., Any]) -> Any:
    """The annotation of what `action` returns; the others may be names that only a type checker knows."""
    function: Any = inspect.unwrap(action)
    only = SimpleNamespace(__annotations__={"return": function.__annotations__.get("return", Any)})
    try:
        return get_type_hints(only, globalns=function.__globals__, include_extras=True)["return"]
    except NameError as error:
        raise DefinitionError(f"what {function.__name__!r} returns is not known at run time: {error}") from None


def _adapter(annotation: Any, what: str) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation)
    except PydanticUserError as error:
        raise DefinitionError(f"{what} cannot be kept as JSON: {error.message.splitlines()[0]}") from None


def _dump(adapter: TypeAdapter[Any], value: Any) -> str:
    """`value` as JSON from which the same type can be read again; the reading is tried."""
    text = adapter.dump_json(value, by_alias=True, round_trip=True, warnings=False).decode()
    adapter.validate_json(text)
    return text
