"""What is told of each attempt of a call over gRPC: a span, and how long it took, while anybody wants to know.

Source: OpenTelemetry semantic conventions 1.45.0, gRPC client spans and metrics; for what they do not name, gRFC A72.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import grpc

from skerry.clock import Clock
from skerry.context import CallContext
from skerry.signals import HUB, RpcSent, emit
from skerry.telemetry.conventions import rpc_of
from skerry.telemetry.encoding import Value
from skerry.telemetry.spans import span, wanted


@dataclass(frozen=True, slots=True)
class Peer:
    """The other side of a channel, as its address was given."""

    service: str
    address: str
    port: int


class Attempt:
    """One attempt of a call, after `resent` others. Its `context` is what travels; `code` names the status, once there is one.

    A stream's begins before it is sent and ends when gRPC says that it is over, whoever reads it or does not.
    """

    __slots__ = ("_closing", "_method", "_over", "_peer", "_sent", "_then", "_work", "code", "context")

    def __init__(
        self,
        peer: Peer,
        method: str | bytes,
        around: CallContext,
        *,
        resent: int = 0,
        ambient: bool = True,
        clock: Clock,
    ) -> None:
        self.code: str = ""
        self._peer = peer
        self._method = (method.decode() if isinstance(method, bytes) else method).lstrip("/")
        self._over: bool = False
        self._sent: bool = False
        told = self._asked(resent) if wanted() else None
        self._work = span(self._method, "client", around, attributes=told, ambient=ambient, clock=clock)
        self.context: CallContext = self._work.context

    def _asked(self, resent: int) -> dict[str, Value]:
        told = rpc_of(self._method)
        told["server.address"] = self._peer.address
        told["server.port"] = self._peer.port
        told["service.peer.name"] = self._peer.service
        if resent:
            told["previous-rpc-attempts"] = resent
        return told

    def follow(self, call: Any, *, then: Callable[[grpc.StatusCode], None]) -> None:
        """Sent: it ends when `call` does, and `then` is told the status."""
        self._sent = True
        self._then = then
        call.add_done_callback(self._closes)

    def unless_sent(self, answering: asyncio.Task[Any]) -> None:
        """Ends here when it never was sent."""
        if not self._sent:
            failure = None if answering.cancelled() else answering.exception()
            self.end("CancelledError" if failure is None else type(failure).__name__)

    def end(self, error: str) -> None:
        """Over, once. `error` counts where there is no code."""
        if self._over:
            return
        self._over = True
        failed = error if not self.code else "" if self.code == "OK" else self.code
        if self.code and wanted():
            self._work.attributes["rpc.status_code"] = self.code
        self._work.end(failed)
        if HUB.measured:
            emit(
                RpcSent(
                    service=self._peer.service,
                    method=self._method,
                    address=self._peer.address,
                    port=self._peer.port,
                    code=self.code,
                    seconds=self._work.seconds,
                    error=failed,
                )
            )

    def _closes(self, call: Any) -> None:
        self._closing: asyncio.Future[None] = asyncio.ensure_future(self._closed(call))

    async def _closed(self, call: Any) -> None:
        code = await call.code()
        self.code = code.name
        self.end("")
        self._then(code)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self.end("" if kind is None else kind.__name__)
