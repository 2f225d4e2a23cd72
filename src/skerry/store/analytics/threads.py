"""Blocking calls beside the event loop, a bounded number of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from skerry.errors import StoreBusy

T = TypeVar("T")

MAX_WAITING = 1000


class Threads:
    """At most `count` calls at a time; the others wait in line, at most `MAX_WAITING`.

    A call that is cancelled while it waits is not made; one that has begun goes on, and its outcome is dropped.
    """

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._count = count
        self._inside = 0

    async def run(self, function: Callable[[], T]) -> T:
        """Call `function` there. Raises `StoreBusy` when too many wait, and what it raises."""
        if self._inside >= self._count + MAX_WAITING:
            raise StoreBusy(f"{self._inside} calls already wait for {self._name}")
        self._inside += 1
        job = asyncio.get_running_loop().run_in_executor(self._pool, function)
        job.add_done_callback(self._ended)
        return await job

    def close(self) -> None:
        """Take no more; what runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ended(self, job: asyncio.Future[T]) -> None:
        self._inside -= 1
        if not job.cancelled():
            job.exception()  # it was looked at, even if nobody waits any more
