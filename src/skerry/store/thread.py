"""One thread beside the event loop, for calls that block.

`ThreadPoolExecutor` gives each call a future with a lock of its own and chains it to one of the event loop, which takes nearly as
long as the way to the thread and back. Here there is a queue, and the loop's own future.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar, TypeVarTuple, cast

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_Queue = SimpleQueue[tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]] | None]


class OneThread:
    """Calls run in the order in which they are asked for, one at a time; the thread begins with the first.

    A call that is cancelled before its turn is not made; one that has begun goes on, and its outcome is dropped. How many wait is
    bounded by who calls. A thread that nobody has closed ends with its owner, and keeps no process from ending.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: _Queue = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # the last one that handed a call on to the thread
        self._closed = False

    def run(self, function: Callable[[*Ts], T], *arguments: *Ts) -> asyncio.Future[T]:
        """Call it there.

        The first call goes by the event loop, for one on virtual time does it at once. One that handed it on is not asked again:
        its questions take as long as the way to the thread.
        """
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return self.submit(function, *arguments)
        return loop.run_in_executor(cast("Executor", self), function, *arguments)

    def submit(self, function: Callable[[*Ts], T], *arguments: *Ts) -> asyncio.Future[T]:
        """What `run_in_executor` asks for; a future of its own kind it takes as it is. Raises `RuntimeError` after `close`."""
        if self._closed:
            raise RuntimeError(f"the thread {self._name} is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=_work, args=(self._queue,), name=self._name, daemon=True)
            self._thread.start()
            weakref.finalize(self, self._queue.put, None)
        self._loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put((future, function, arguments))
        return future

    def close(self) -> None:
        """Let the thread end once it has nothing left to do. Safe to call twice."""
        self._closed = True
        self._queue.put(None)


def _work(queue: _Queue) -> None:
    while (job := queue.get()) is not None:
        if not job[0].cancelled():
            _answer(*job)
        del job  # while it waits it keeps nothing alive


def _answer(future: asyncio.Future[Any], function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    tell: Callable[[Any], None] = future.set_result
    try:
        answer = function(*arguments)
    except BaseException as error:  # whatever it raises belongs to who awaits the future
        tell, answer = future.set_exception, error
    with suppress(RuntimeError):  # the event loop is closed: nobody awaits it any more
        future.get_loop().call_soon_threadsafe(_settle, future, tell, answer)
    del future, function, arguments, tell, answer  # an error knows this frame, and must not be known by it


def _settle(future: asyncio.Future[Any], tell: Callable[[Any], None], answer: Any) -> None:
    if not future.cancelled():
        tell(answer)
