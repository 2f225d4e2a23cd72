"""The instances of a service as they are known here: asked for by one task in the background, and never forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from skerry.client.discovery.endpoint import MAX_ENDPOINTS, Answer, Endpoint, Resolver
from skerry.clock import Clock
from skerry.errors import SkerryError, Unreachable
from skerry.resilience.within import cancelled_here
from skerry.signals import DiscoveryFailed, InstancesChanged, emit

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds after a failed question until the next; doubled with each that fails, less up to a half at random."""
LEAST_TTL, MOST_TTL = 1.0, 60.0
"""Seconds between two questions, whatever an answer says of how long it holds."""
BETWEEN_CHANGES = 0.01
"""Seconds after an answer of a resolver that waits for changes, so that a storm of them is taken in steps."""
ANSWER_TIMEOUT = 5.0
"""Seconds for the first answer; a resolver that watches may be silent as long as it likes after that."""


class Directory:
    """Keeps the instances of one service up to date, from the first call on.

    The last good answer stands until there is another: a resolver that fails, or that knows of no instance, changes nothing but
    a signal. `changed` is called with all endpoints whenever they are others than before. It belongs to one event loop at a
    time, that of its latest call.
    """

    def __init__(
        self, service: str, resolver: Resolver, *, changed: Callable[[Sequence[Endpoint]], None], clock: Clock
    ) -> None:
        self._service = service
        self._resolver = resolver
        self._changed = changed
        self._clock = clock
        self._known: frozenset[Endpoint] = frozenset()
        self._trouble = ""
        self._task: asyncio.Task[None] | None = None
        self._asked: asyncio.Event = asyncio.Event()

    async def ready(self) -> None:
        """Return when an instance is known, which after the first call is at once. Raises `Unreachable` when none is."""
        self._running()
        if not self._known:
            await self._asked.wait()
            if not self._known:
                raise Unreachable(self._service, f"no instance of it is known ({self._trouble}); nothing was sent")

    async def aclose(self) -> None:
        """Stop asking."""
        task, self._task = self._task, None
        try:
            if task is not None and task.get_loop() is asyncio.get_running_loop():
                task.cancel()
                await asyncio.wait([task])  # whose cancellation is told from one of who closes it
        finally:
            await self._resolver.aclose()

    def _running(self) -> None:
        if self._task is None or self._task.get_loop() is not asyncio.get_running_loop():
            self._asked = asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._keep(), name=f"instances of {self._service}")

    async def _keep(self) -> None:
        failed = 0
        while True:  # until it is closed
            try:
                async with asyncio.timeout(None if self._known and not failed else ANSWER_TIMEOUT):
                    answer = await self._resolver.resolve()
                self._take(answer)
            except (Exception, asyncio.CancelledError) as error:
                # a resolver may raise whatever it likes, also what became of another task; what is known stands
                if isinstance(error, asyncio.CancelledError) and cancelled_here():
                    raise
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failed, 16)) * (1.0 - self._clock.random() / 2)
                failed += 1
                self._trouble = str(error) if isinstance(error, SkerryError) else type(error).__name__
                emit(DiscoveryFailed(service=self._service, error=self._trouble, kept=len(self._known), delay=pause))
            else:
                failed = 0
                pause = min(MOST_TTL, max(LEAST_TTL, answer.ttl)) if answer.ttl > 0 else BETWEEN_CHANGES
            self._asked.set()
            await self._clock.sleep(pause)

    def _take(self, answer: Answer) -> None:
        told = frozenset(answer.endpoints)
        if not told:
            raise Unreachable(self._service, "the answer names no instance, which is not taken for there being none")
        if len(told) > MAX_ENDPOINTS:
            raise Unreachable(
                self._service, f"the answer names {len(told)} instances; at most {MAX_ENDPOINTS} are taken"
            )
        before, self._known = self._known, told
        if told != before:
            self._changed(sorted(told, key=lambda endpoint: (endpoint.host, endpoint.port, endpoint.instance)))
            added, removed = len(told - before), len(before - told)
            emit(InstancesChanged(service=self._service, count=len(told), added=added, removed=removed))
