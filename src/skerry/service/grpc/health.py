"""The standard health service, grpc.health.v1: what load balancers ask over gRPC (gRPC, doc/health-checking.md).

Its two messages have one field each, so they are read and written here; the published package would bind users to a protobuf.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

import grpc

from skerry.clock import Clock
from skerry.health import HealthReport

HEALTH = "grpc.health.v1.Health"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
WATCH_EVERY = 0.2
"""Seconds between two looks of a watcher; the checks behind are asked once a second at most."""
MAX_WATCHERS = 100
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
"""Wire types (protobuf, encoding)."""


class Owner(Protocol):
    """What health asks of its service."""

    async def readiness(self) -> HealthReport:
        """Whether it can do its work now."""
        ...


class Health:
    """Answers Check and Watch from the service's readiness.

    The empty name and those in `names` are known. At most 100 watch at a time; more are refused with RESOURCE_EXHAUSTED. When the
    service stops a watcher is told NOT_SERVING, and its stream ends.
    """

    def __init__(self, owner: Owner, *, clock: Clock) -> None:
        self.names: set[str] = {""}
        self._owner = owner
        self._clock = clock
        self._watchers = 0
        self._stopping = False

    def handlers(self) -> grpc.GenericRpcHandler:
        """For a server."""
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Check": grpc.unary_unary_rpc_method_handler(self.check),
            "Watch": grpc.unary_stream_rpc_method_handler(self.watch),
        }
        return grpc.method_handlers_generic_handler(HEALTH, methods)

    def stop(self) -> None:
        """End the streams of watchers, so that they do not hold up a server that stops."""
        self._stopping = True

    async def check(self, request: bytes, call: Any) -> bytes:
        """The status now. NOT_FOUND for a name that is not known."""
        name = await _asked(request, call)
        if name not in self.names:
            await call.abort(grpc.StatusCode.NOT_FOUND, "There is no such service here.")
        return _reply(await self._status(name))

    async def watch(self, request: bytes, call: Any) -> AsyncIterator[bytes]:
        """The status now, and each time it has changed."""
        name = await _asked(request, call)
        if self._watchers >= MAX_WATCHERS:
            await call.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many watch already.")
        self._watchers += 1
        try:
            last = 0
            while True:  # until the caller goes, or the service does
                ends = self._stopping
                status = await self._status(name)
                if status != last:
                    yield _reply(status)
                    last = status
                if ends:
                    return
                await self._clock.sleep(WATCH_EVERY)
        finally:
            self._watchers -= 1

    async def _status(self, name: str) -> int:
        if name not in self.names:
            return SERVICE_UNKNOWN
        report = await self._owner.readiness()
        return SERVING if report.ok else NOT_SERVING


async def _asked(request: bytes, call: Any) -> str:
    """HealthCheckRequest: `string service = 1`."""
    try:
        return _service(request)
    except (IndexError, ValueError):
        await call.abort(grpc.StatusCode.INVALID_ARGUMENT, "This is no HealthCheckRequest.")
        raise


def _reply(status: int) -> bytes:
    """HealthCheckResponse: `ServingStatus status = 1`."""
    return bytes((1 << 3 | _VARINT, status))


def _service(message: bytes) -> str:
    name, at = "", 0
    while at < len(message):
        tag, at = _number(message, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _number(message, at)
            continue
        size, at = (8, at) if kind == _EIGHT else (4, at) if kind == _FOUR else _number(message, at)
        if kind not in {_EIGHT, _FOUR, _BYTES} or at + size > len(message):
            raise ValueError("malformed")
        if tag == (1 << 3 | _BYTES):
            name = message[at : at + size].decode()
        at += size
    return name


def _number(message: bytes, at: int) -> tuple[int, int]:
    """A varint, of at most ten bytes, and where it ends."""
    number = 0
    for index in range(10):
        byte = message[at + index]
        number |= (byte & 127) << (7 * index)
        if byte < 128:
            return number, at + index + 1
    raise ValueError("malformed")
