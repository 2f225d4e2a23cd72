"""What a policy and its parts have in common: a name, a clock, and three ways to put them around a function."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import wraps
from types import CoroutineType
from typing import Any, ParamSpec, TypeVar, cast

from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

Matcher = type[BaseException] | tuple[type[BaseException], ...] | Callable[[Exception], bool]
"""Which exceptions are meant: a class, several, or a predicate."""


class Part(ABC):
    """Something that stands around a call. Use it as `await part.call(fn, ...)`, `part.call_sync(fn, ...)` or `@part`."""

    def __init__(self, name: str, clock: Clock | None) -> None:
        self._name = name
        self._clock = clock
        self._now: Callable[[], float] = self.clock.monotonic

    @property
    def name(self) -> str:
        """What signals and errors call it."""
        return self._name or type(self).__name__

    @property
    def clock(self) -> Clock:
        """Where its time and randomness come from."""
        return self._clock or SYSTEM

    @property
    def own_clock(self) -> Clock | None:
        """The clock it was given, or took from a policy."""
        return self._clock

    def join(self, policy: Part) -> None:
        """Take from the first policy it belongs to what it was not given itself: name and clock."""
        self._name = self._name or policy.name
        self._clock = self._clock or policy.clock
        self._now = self._clock.monotonic

    def adopt(self, other: Part) -> bool:  # noqa: ARG002 - for those that have something to keep
        """Take the numbers of `other` and keep what was counted and who is inside; false when it is not of the same kind."""
        return False

    @abstractmethod
    async def call(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `fn(*args, **kwargs)` and return its result."""

    @abstractmethod
    def call_sync(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `fn(*args, **kwargs)`. Raises `TypeError` when `fn` is an async function."""

    @abstractmethod
    def describe(self) -> str:
        """One line of plain words and numbers."""

    def __call__(self, fn: F) -> F:
        """Decorate a `def` or an `async def`; its signature stays. Raises `TypeError` for a generator function."""
        if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
            raise TypeError(f"{fn.__qualname__} is a generator: calling it runs nothing that could be protected")
        if inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__):

            @wraps(fn)
            async def protected(*args: Any, **kwargs: Any) -> Any:
                return await self.call(fn, *args, **kwargs)

            return cast("F", protected)

        @wraps(fn)
        def protected_sync(*args: Any, **kwargs: Any) -> Any:
            return self.call_sync(fn, *args, **kwargs)

        return cast("F", protected_sync)


def plain(result: T) -> T:
    """Pass on the result of a sync function; a coroutine here means that nothing has run yet."""
    if isinstance(result, CoroutineType):
        result.close()
        raise TypeError("call_sync was given an async function: use `await call(...)`")
    return result


def matches(on: Matcher) -> Callable[[Exception], bool]:
    """`on` as a predicate."""
    if isinstance(on, type | tuple):
        classes = on
        return lambda error: isinstance(error, classes)
    return on


def names(on: Matcher) -> str:
    """`on` in words."""
    if isinstance(on, tuple):
        return ", ".join(cls.__name__ for cls in on)
    return on.__name__ if isinstance(on, type) else getattr(on, "__name__", "a predicate")


def require(true: bool, message: str) -> None:
    """Raise `ConfigurationError(message)` unless `true`. Compare so that NaN fails."""
    if not true:
        raise ConfigurationError(message)
