"""Which status a problem is over gRPC: the twin of its status over HTTP."""

from __future__ import annotations

import grpc

from skerry.client.grpc.status import CODE, MAX_CODE, MAX_DETAIL, PUSHBACK
from skerry.service.problem import Problem

_BY_CODE: dict[str, grpc.StatusCode] = {
    "rejected": grpc.StatusCode.FAILED_PRECONDITION,
    "key_reused": grpc.StatusCode.ALREADY_EXISTS,
    "duplicate_value": grpc.StatusCode.ALREADY_EXISTS,
}
_BY_STATUS: dict[int, grpc.StatusCode] = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ABORTED,
    412: grpc.StatusCode.FAILED_PRECONDITION,
    423: grpc.StatusCode.ABORTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}

Told = tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]
"""A code, a sentence, and trailing metadata."""


def told(problem: Problem) -> Told:
    """The problem as gRPC tells it: its word and its `Retry-After` go along as trailing metadata."""
    rest = grpc.StatusCode.INTERNAL if problem.status >= 500 else grpc.StatusCode.INVALID_ARGUMENT
    code = _BY_CODE.get(problem.code) or _BY_STATUS.get(problem.status, rest)
    trailing: list[tuple[str, str]] = []
    if problem.code.isascii() and problem.code.isprintable():
        trailing.append((CODE, problem.code[:MAX_CODE]))
    for name, value in problem.headers:
        if name == b"retry-after" and value.isdigit():
            trailing.append((PUSHBACK, str(1000 * int(value))))
    return code, problem.detail[:MAX_DETAIL], tuple(trailing)
