"""What a saga is made of: steps in order, their kinds, and what undoes them.

Kinds, after Garcia-Molina and Salem, "Sagas" (1987), and microservices.io: *compensatable* steps come first, then at most
one *pivot*, whose success means the saga will complete, then *retriable* steps that are tried until they succeed.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_type_hints

from pydantic import TypeAdapter, ValidationError

from skerry.errors import DefinitionError
from skerry.resilience import Retry

Kind = Literal["step", "pivot", "retriable"]
StepFunction = Callable[..., Awaitable[Any]]

STEP_RETRY = Retry(5, base=0.1, cap=2.0)
FORWARD_RETRY = Retry(30, base=0.2, cap=30.0)
"""For what has to happen in the end (retriable steps, compensations): about ten minutes, then STUCK."""


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step or compensation is told. `key` stays the same however often the action is tried: pass it on.

    `results` holds what the steps before returned, by step name. `attempt` counts from 1 since the process started.
    """

    saga: str
    saga_id: str
    step: str
    key: str
    attempt: int
    results: Mapping[str, Any] = field(default_factory=dict)


class Step:
    """One step, as its decorator left it. `@the_step.compensate` adds what undoes it."""

    def __init__(self, name: str, kind: Kind, action: StepFunction, *, retry: Retry, timeout: float) -> None:
        self.name = name
        self.kind = kind
        self.action = action
        self.retry = retry
        self.timeout = timeout
        self.compensation: StepFunction | None = None
        self.compensation_retry = FORWARD_RETRY
        self._result: TypeAdapter[Any] = TypeAdapter(get_type_hints(action).get("return", Any))

    def compensate(self, function: StepFunction) -> StepFunction:
        """Register `async def undo(ctx, input, result)`; `result` is None when the outcome of the step is unknown.

        It may be called for a step that never took effect, and more than once: undo by `ctx.key`.
        """
        if self.kind == "retriable":
            raise DefinitionError(
                f"the retriable step {self.name!r} is after the point of no return: nothing undoes it"
            )
        if self.compensation is not None:
            raise DefinitionError(f"the step {self.name!r} has a compensation already")
        _demand_async(function, self.name)
        self.compensation = function
        return function

    def dump(self, result: Any) -> str:
        """A result as the journal keeps it."""
        return self._result.dump_json(result).decode()

    def load(self, text: str | None) -> Any:
        """A result as the step returned it; None when there is none."""
        return None if text is None else self._result.validate_json(text)


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

    A running saga keeps the version it was started with. Time-outs are in seconds and bound one attempt.
    """

    def __init__(self, name: str, *, version: int = 1, input: Any = Any) -> None:  # noqa: A002 - the contract's name
        self.name = name
        self.version = version
        self.steps: list[Step] = []
        self._input: TypeAdapter[Any] = TypeAdapter(input)

    def step(self, *, retry: Retry = STEP_RETRY, timeout: float = 5.0) -> Callable[[StepFunction], Step]:
        """Add a compensatable step."""
        return self._adder("step", retry, timeout)

    def pivot(self, *, retry: Retry = STEP_RETRY, timeout: float = 5.0) -> Callable[[StepFunction], Step]:
        """Add the step whose success decides that the saga completes.

        Its compensation, if it has one, is used only while its outcome is unknown; without one the saga is then STUCK.
        """
        return self._adder("pivot", retry, timeout)

    def retriable(self, *, retry: Retry = FORWARD_RETRY, timeout: float = 5.0) -> Callable[[StepFunction], Step]:
        """Add a step that is tried until it succeeds; after its last attempt the saga is STUCK."""
        return self._adder("retriable", retry, timeout)

    def signature(self) -> str:
        """Names and kinds of the steps: what a running saga was started with must still be so."""
        return json.dumps([f"{step.kind} {step.name}" for step in self.steps])

    def dump(self, value: Any) -> str:
        """An input as the journal keeps it. Raises `DefinitionError` when it does not fit the declared type."""
        try:
            return self._input.dump_json(self._input.validate_python(value), by_alias=True).decode()
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DefinitionError(f"the input of {self.name!r} does not fit: {where}: {first['msg']}") from None

    def load(self, text: str) -> Any:
        """An input as the steps get it."""
        return self._input.validate_json(text)

    def _adder(self, kind: Kind, retry: Retry, timeout: float) -> Callable[[StepFunction], Step]:
        def add(function: StepFunction) -> Step:
            name = getattr(function, "__name__", "")
            _demand_async(function, name)
            self._check_place(kind, name)
            step = Step(name, kind, function, retry=retry, timeout=timeout)
            self.steps.append(step)
            return step

        return add

    def _check_place(self, kind: Kind, name: str) -> None:
        if not name.isidentifier() or any(step.name == name for step in self.steps):
            raise DefinitionError(f"the saga {self.name!r} needs another name for the step {name!r}")
        kinds = [step.kind for step in self.steps]
        if kind != "retriable" and ("pivot" in kinds or "retriable" in kinds):
            raise DefinitionError(f"{name!r} comes after the point of no return: only retriable steps may follow")


def _demand_async(function: Any, name: str) -> None:
    if not inspect.iscoroutinefunction(function):
        raise DefinitionError(f"{name!r} has to be an async def")
