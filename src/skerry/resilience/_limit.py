"""What every bound on the calls at once has in common, so that a policy can stand any of them in the same place."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from types import TracebackType

from skerry.errors import DeadlineExceeded, Refused, StatusError
from skerry.resilience._part import P, Part, T, plain

OVERLOAD_STATUSES = frozenset([429, 503])
"""With these a service says that it takes no more right now (RFC 6585, section 4; RFC 9110, section 15.6.4)."""


class Limit(Part):
    """What bounds the calls at once.

    A call takes a place with `enter`, or else `wait`s for one, and gives it back with `leave`.
    """

    timed: bool = False
    """Whether `leave` needs to know how long the call took; without it nobody reads the clock."""

    @abstractmethod
    def enter(self) -> bool:
        """Take a place if one is free now.

        Never waits, never raises; the path of almost every call, so it costs as little as can be.
        """

    @abstractmethod
    async def wait(self, policy: str, priority: int = 0) -> None:
        """After `enter` said no: stand in the queue until a place is held.

        Raises `BulkheadFull`, or another `Refused` with its own reason, or `DeadlineExceeded`; then nothing is held. A cancelled
        waiter leaves nothing behind. `policy` is the name for signals and errors. `priority` is 0 to 9 as in the context; 0 takes
        the context's own.
        """

    @abstractmethod
    def wait_sync(self, policy: str, priority: int = 0) -> None:
        """The same for a thread."""

    @abstractmethod
    def leave(self, seconds: float = 0.0, failed: bool | None = False) -> None:  # noqa: FBT002 - called for every call
        """Give the place back.

        `seconds`: how long the call took (only where `timed`); `failed`: it ended in a time-out, a refusal by the callee or
        another sign of overload; None when how it ended says nothing about that.
        """

    async def call(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `fn(...)` in a place of its own. Raises `Refused`, `DeadlineExceeded`, and what `fn` raises."""
        if not self.enter():
            await self.wait(self.name)
        begun = self.clock.monotonic() if self.timed else 0.0
        failed: bool | None = False
        try:
            return await fn(*args, **kwargs)
        except BaseException as error:
            failed = overload(error)
            raise
        finally:
            self.leave(self.clock.monotonic() - begun if self.timed else 0.0, failed)

    def call_sync(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `fn(...)`, run in a place of its own. Raises `Refused`, `DeadlineExceeded`, and what `fn` raises."""
        if not self.enter():
            self.wait_sync(self.name)
        begun = self.clock.monotonic() if self.timed else 0.0
        failed: bool | None = False
        try:
            return plain(fn(*args, **kwargs))
        except BaseException as error:
            failed = overload(error)
            raise
        finally:
            self.leave(self.clock.monotonic() - begun if self.timed else 0.0, failed)

    def slot(self, policy: str = "") -> Slot:
        """A place for one block, `with` or `async with`; `policy` is the name for signals and errors."""
        return Slot(self, policy or self.name)


class Slot:
    """One block's stay within a limit, for a task or for a thread."""

    __slots__ = ("_began", "_limit", "_policy")

    def __init__(self, limit: Limit, policy: str) -> None:
        self._limit = limit
        self._policy = policy

    def __enter__(self) -> None:
        if not self._limit.enter():
            self._limit.wait_sync(self._policy)
        self._began = self._limit.clock.monotonic() if self._limit.timed else 0.0

    async def __aenter__(self) -> None:
        if not self._limit.enter():
            await self._limit.wait(self._policy)
        self._began = self._limit.clock.monotonic() if self._limit.timed else 0.0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = self._limit.clock.monotonic() - self._began if self._limit.timed else 0.0
        self._limit.leave(seconds, failed=False if error is None else overload(error))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


def overload(error: BaseException) -> bool | None:
    """Whether a call that ended so tells of overload: it took too long, or the callee refused it with 429 or 503.

    None when it tells nothing: it was cancelled, or refused on this side, or ended by its caller's own deadline; who is in a
    hurry must not take places from others.
    """
    if isinstance(error, Refused) or not isinstance(error, Exception):  # a cancellation is not an Exception
        return None
    if isinstance(error, DeadlineExceeded):
        return None if error.imposed else True
    if isinstance(error, StatusError):
        return error.status in OVERLOAD_STATUSES
    return isinstance(error, TimeoutError)
