"""What every bound on the calls at once has in common, so that a policy can stand any of them in the same place."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from types import TracebackType

from skerry.resilience._part import P, Part, T, plain


class Limit(Part):
    """What bounds the calls at once.

    A call takes a place with `enter`, or else `wait`s for one, and gives it back with `leave`.
    """

    timed = False
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
        waiter leaves nothing behind. `policy` is the name for signals and errors.
        """

    @abstractmethod
    def wait_sync(self, policy: str, priority: int = 0) -> None:
        """The same for a thread."""

    @abstractmethod
    def leave(self, seconds: float = 0.0, failed: bool = False) -> None:  # noqa: FBT002 - called for every call
        """Give the place back.

        `seconds`: how long the call took (only where `timed`); `failed`: it ended in a time-out, a refusal by the callee or
        another sign of overload.
        """

    async def call(self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await `fn(...)` in a place of its own. Raises `Refused`, `DeadlineExceeded`, and what `fn` raises."""
        if not self.enter():
            await self.wait(self.name)
        begun = self.clock.monotonic() if self.timed else 0.0
        failed = False
        try:
            return await fn(*args, **kwargs)
        except BaseException as error:
            failed = overloaded(error)
            raise
        finally:
            self.leave(self.clock.monotonic() - begun if self.timed else 0.0, failed)

    def call_sync(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `fn(...)`, run in a place of its own. Raises `Refused`, `DeadlineExceeded`, and what `fn` raises."""
        if not self.enter():
            self.wait_sync(self.name)
        begun = self.clock.monotonic() if self.timed else 0.0
        failed = False
        try:
            return plain(fn(*args, **kwargs))
        except BaseException as error:
            failed = overloaded(error)
            raise
        finally:
            self.leave(self.clock.monotonic() - begun if self.timed else 0.0, failed)

    def slot(self, policy: str = "") -> Slot:
        """A place for one block, `with` or `async with`; `policy` is the name for signals and errors."""
        return Slot(self, policy or self.name)


class Slot:
    """One block's stay within a limit, for a task or for a thread. How long it took and how it ended is not told."""

    __slots__ = ("_limit", "_policy")

    def __init__(self, limit: Limit, policy: str) -> None:
        self._limit = limit
        self._policy = policy

    def __enter__(self) -> None:
        if not self._limit.enter():
            self._limit.wait_sync(self._policy)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limit.leave()

    async def __aenter__(self) -> None:
        if not self._limit.enter():
            await self._limit.wait(self._policy)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limit.leave()


def overloaded(error: BaseException) -> bool:
    """Whether a call that ended so tells of an overload: it ran out of time, or was refused, or told to come back later."""
    return isinstance(error, TimeoutError) or getattr(error, "retry_after", None) is not None
