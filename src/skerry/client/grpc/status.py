"""How a call over gRPC ended, in skerry's words: the same errors as over HTTP, so what handles the one handles the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from grpc.aio import AioRpcError

from skerry.errors import AttemptTimeout, CallError, ConnectionLost, ReplyTooLarge, SkerryError, StatusError

PUSHBACK = "grpc-retry-pushback-ms"
"""Trailing metadata: after how many milliseconds to try again; negative: not at all (gRFC A6)."""
CODE = "skerry-code"
"""Trailing metadata: the short stable word of a problem."""
MAX_DETAIL, MAX_CODE, MAX_DIGITS = 500, 100, 9

HTTP_STATUS: dict[grpc.StatusCode, int] = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
"""What each code is over HTTP, as google/rpc/code.proto has it."""
_TOO_LARGE = ("CLIENT: Received message larger", "Stream removed (received metadata size exceeds hard limit")


class Busy(StatusError, ConnectionError):
    """The service takes no more right now and says when to ask again: to `Retry` the same as no connection."""


def told(service: str, error: AioRpcError) -> SkerryError:
    """The error of a call that gRPC ended with `error`.

    UNAVAILABLE does not say how far the request came, so it is `ConnectionLost`, unless the service itself sent it and says
    when to ask again, or that nobody should.
    """
    code, detail = error.code(), (error.details() or "")[:MAX_DETAIL]
    trailing = _texts(error.trailing_metadata())
    wait = _seconds(trailing.get(PUSHBACK, ""))
    word = trailing.get(CODE, "")[:MAX_CODE] or code.name.lower()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return AttemptTimeout(f"{service}: no answer in the time it had")
    if code is grpc.StatusCode.UNAVAILABLE and PUSHBACK not in trailing:
        return ConnectionLost(service, f"no whole reply came back ({detail})")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:  # which here is also said of limits of our own
        if any(words in detail for words in _TOO_LARGE):
            return ReplyTooLarge(service, "the reply, or its metadata, is larger than is taken")
        if "CLIENT: Sent message larger" in detail:
            return CallError(service, "a message is larger than is sent, so it was not")
    if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED} and wait is not None:
        return Busy(service, HTTP_STATUS[code], detail, code=word, retry_after=wait)
    return StatusError(service, HTTP_STATUS[code], detail, code=word, retry_after=wait)


def _texts(metadata: Iterable[Any] | None) -> dict[str, str]:
    return {name: value for name, value in metadata or () if isinstance(value, str)}


def _seconds(pushback: str) -> float | None:
    if not pushback.isascii() or not pushback.isdigit() or len(pushback) > MAX_DIGITS:
        return None
    return int(pushback) / 1000
