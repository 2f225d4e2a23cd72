"""SyncServiceClient: the same client for code that is not asynchronous, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from skerry.client.client import DEFAULT_MAX_REPLY, ServiceClient
from skerry.client.headers import Headers
from skerry.client.plan import Options
from skerry.client.reply import Reply
from skerry.client.stream import Stream
from skerry.client.transport import Transport
from skerry.clock import SYSTEM, Clock
from skerry.errors import ConfigurationError, ConnectionLost
from skerry.resilience import Policy
from skerry.resilience._fork import Forked

T = TypeVar("T")


class SyncServiceClient:
    """Calls one service over HTTP and blocks the calling thread until the reply is here.

    Promises, options and errors are those of `ServiceClient`, deadlines included: it is the same client, driven on an event loop
    in a thread of its own. Any number of threads may use one. What is ambient in the calling thread (`with deadline(1.0)`, the
    trace) holds for the call. After a fork make a new one, unless none of its calls came before. Not for use inside an event
    loop, which it would block.

        with SyncServiceClient("inventory") as inventory:
            reservation = inventory.post("/reservations", json=order, idempotency_key=key).raise_for_status().json()
    """

    def __init__(
        self,
        service: str,
        *,
        url: str | None = None,
        policy: Policy | None = None,
        transport: Transport | None = None,
        tls: ssl.SSLContext | None = None,
        max_reply: int = DEFAULT_MAX_REPLY,
        clock: Clock = SYSTEM,
    ) -> None:
        self._client = ServiceClient(
            service, url=url, policy=policy, transport=transport, tls=tls, max_reply=max_reply, clock=clock
        )
        self.service: str = service
        self.url: str = self._client.url
        self.policy: Policy = self._client.policy
        self._loop = _LoopThread(service)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections and end the thread. Calls under way in other threads raise `ConnectionLost`."""
        if self._loop.runs:
            self._loop.stop(self._client.aclose())

    def request(self, method: str, path: str, **options: Unpack[Options]) -> Reply:
        """One call, repeated where that is safe; see `Options` for what it takes."""
        return self._loop.run(self._client.request(method, path, **options))

    def get(self, path: str, **options: Unpack[Options]) -> Reply:
        """GET; options as for `request`."""
        return self.request("GET", path, **options)

    def head(self, path: str, **options: Unpack[Options]) -> Reply:
        """HEAD; options as for `request`."""
        return self.request("HEAD", path, **options)

    def post(self, path: str, **options: Unpack[Options]) -> Reply:
        """POST; options as for `request`. Repeated only with `idempotency_key`, or when nothing was sent."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Unpack[Options]) -> Reply:
        """PUT; options as for `request`."""
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Unpack[Options]) -> Reply:
        """PATCH; options as for `request`. Repeated only with `idempotency_key`, or when nothing was sent."""
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Unpack[Options]) -> Reply:
        """DELETE; options as for `request`."""
        return self.request("DELETE", path, **options)

    @contextmanager
    def stream(self, method: str, path: str, **options: Unpack[Options]) -> Iterator[SyncStream]:
        """A call whose reply is read while it comes; see `ServiceClient.stream`."""
        opened = self._client.stream(method, path, **options)
        stream = self._loop.run(_begun(opened))
        try:
            yield SyncStream(stream, self._loop)
        finally:
            self._loop.run(_ended(opened))


class SyncStream:
    """As `Stream`, read with `for`."""

    def __init__(self, stream: Stream, loop: _LoopThread) -> None:
        self.service: str = stream.service
        self.status: int = stream.status
        self.headers: Headers = stream.headers
        self._stream = stream
        self._loop = loop

    def iter_bytes(self) -> Iterator[bytes]:
        """The body, decoded. Raises as `Stream.aiter_bytes`."""
        pieces = self._stream.aiter_bytes()
        while piece := self._loop.run(_next(pieces)):
            yield piece

    def iter_lines(self) -> Iterator[str]:
        """The body's lines. Raises as `Stream.aiter_lines`."""
        lines = self._stream.aiter_lines()
        while (line := self._loop.run(_next(lines))) is not None:
            yield line

    def reply(self) -> Reply:
        """All of it. Raises as `Stream.reply`."""
        return self._loop.run(self._stream.reply())


class _LoopThread(Forked):
    """An event loop in a daemon thread that is begun with the first call."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._name = f"skerry-client-{service}"
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._process = 0
        self.survive_forks()

    def after_fork(self) -> None:
        """The lock may be held by a thread that did not come along."""
        self._lock = threading.Lock()

    @property
    def runs(self) -> bool:
        """Whether there is a thread, and in this process."""
        return self._thread is not None and self._process == os.getpid()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """What `call` returns, run there in the context of this thread. Interrupted here, it is cancelled there."""
        future = self._begun(call)
        try:
            return future.result()
        except CancelledError:
            raise ConnectionLost(self._service, "the client was closed while the call was under way") from None
        finally:
            future.cancel()  # done, mostly, and then this is nothing

    def stop(self, last: Coroutine[Any, Any, None]) -> None:
        """End what is under way, await `last`, and end the thread. The next call begins another."""
        with self._lock:  # to the end: connections of a loop that still runs are not for the next one
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
            if loop is None or thread is None:
                last.close()
                return
            asyncio.run_coroutine_threadsafe(_alone(last), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _begun(self, call: Coroutine[Any, Any, T]) -> Future[T]:
        with self._lock:  # until it is handed over: a loop that was stopped in between would never run it
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._process = os.getpid()
                self._thread = threading.Thread(target=self._loop.run_forever, name=self._name, daemon=True)
                self._thread.start()
            elif self._process != os.getpid():
                call.close()
                raise ConfigurationError(
                    f"{self._name} was used before this process was forked: make one in each process"
                )
            return asyncio.run_coroutine_threadsafe(call, self._loop)  # which takes this thread's context along


async def _alone(last: Coroutine[Any, Any, None]) -> None:
    """Await `last` when no other task is left: whoever waits for one in another thread would do so for ever."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    await last


async def _next(iterator: Any) -> Any:
    return await anext(iterator, None)


async def _begun(opened: Any) -> Any:
    return await opened.__aenter__()


async def _ended(opened: Any) -> None:
    await opened.__aexit__(None, None, None)
