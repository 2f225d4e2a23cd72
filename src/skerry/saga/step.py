"""One step of a saga: what is done, what undoes it, and how its result is kept."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal, TypeVar, get_type_hints

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

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
        self,
        name: str,
        kind: Kind,
        action: Callable[..., Any],
        *,
        retry: Retry,
        timeout: float,
        group: int = 0,
        redact: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.kind = kind
        self.action: StepFunction = _asynchronous(action, name)
        self.retry = retry
        self.timeout = timeout
        self.group: int = group
        self.redact: tuple[str, ...] = redact
        self.compensation: StepFunction | None = None
        self.compensation_retry = FORWARD_RETRY
        self._result = adapter(_returned(action), f"what {name!r} returns")

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

    @property
    def undoable(self) -> bool:
        """Whether there is something that undoes it."""
        return self.compensation is not None

    def signature(self) -> str:
        """What a running saga must find as it was."""
        return f"{self.kind} {self.name}{self._what()}" + (f" in group {self.group}" if self.group else "")

    def _what(self) -> str:
        return " with compensation" if self.undoable else ""

    def dump(self, result: Any) -> str:
        """A result as the journal keeps it. Raises a `ValueError` when it could not be read from there again."""
        return self.kept(result)[0]

    def kept(self, result: Any) -> tuple[str, Any]:
        """`dump`, and the result as it will be read from the journal: what later steps get in this process too."""
        return dumped(self._result, result)

    def load(self, text: str | None) -> Any:
        """A result as the step returned it; None when there is none."""
        return None if text is None else self._result.validator.validate_json(text)


class Wait(Step):
    """A step that does nothing but wait: for a signal, or for `seconds` to pass; see `Saga.receive` and `Saga.sleep`."""

    def __init__(
        self,
        name: str,
        kind: Kind,
        *,
        receives: bool,
        seconds: float | None,
        result: Any = None,
        group: int = 0,
        redact: tuple[str, ...] = (),
    ) -> None:
        super().__init__(name, kind, nothing, retry=STEP_RETRY, timeout=5.0, group=group, redact=redact)
        self.receives: bool = receives
        self.seconds: float | None = seconds
        self._result = adapter(result, f"what {name!r} receives")

    def compensate(self, function: S) -> S:  # noqa: ARG002 - there is none
        """Raises `DefinitionError`: there is nothing to undo."""
        raise DefinitionError(f"{self.name!r} only waits: there is nothing to undo")

    def _what(self) -> str:
        # how long it waits may change; what waits already goes on as it began
        return " receives" if self.receives else " sleeps"


async def nothing(_ctx: StepContext, _input: Any) -> None:
    """What a step does that waits."""


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


def adapter(annotation: Any, what: str) -> TypeAdapter[Any]:
    """What reads and writes an annotation. Raises `DefinitionError` when nothing can."""
    try:
        return TypeAdapter(annotation)
    except PydanticUserError as error:
        raise DefinitionError(f"{what} cannot be kept as JSON: {error.message.splitlines()[0]}") from None


def dumped(adapter: TypeAdapter[Any], value: Any) -> tuple[str, Any]:
    """`value` as JSON from which the same type can be read again, and what is read there."""
    # the adapter's own methods pass on a dozen options that are not set, which takes longer than a small value
    written = adapter.serializer.to_json(value, by_alias=True, round_trip=True, warnings=False)
    return written.decode(), adapter.validator.validate_json(written)
