"""Answers that say what went wrong: RFC 9457 problem details.

They tell a stable code and a sentence, never a stack trace, a host name or an upstream's own words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from skerry.errors import ConnectionLost, DeadlineExceeded, Refused, ReplyTooLarge, StatusError, Unreachable

Headers = Sequence[tuple[bytes, bytes]]
MEDIA_TYPE = b"application/problem+json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the client: never streamed, so it is whole or it is not sent."""

    status: int
    headers: Headers
    body: bytes


class Problem(Exception):
    """Raised anywhere on the way of a request to end it with a problem body. `code` is a short stable word."""

    def __init__(self, status: int, code: str, detail: str, *, headers: Headers = ()) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers
        super().__init__(detail)

    def answer(self, *, instance: str, trace_id: str) -> Answer:
        """The problem as an answer. `instance` is the request's path."""
        body = {
            "type": f"urn:skerry:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
            "trace_id": trace_id,
        }
        encoded = json.dumps(body, separators=(",", ":")).encode()
        return Answer(self.status, [(b"content-type", MEDIA_TYPE), *self.headers], encoded)


def of(error: Exception) -> Problem:
    """The problem that a failed call to a service is for our client."""
    if isinstance(error, Problem):
        return error
    code = reason(error)
    if isinstance(error, Refused):
        wait = max(1, math.ceil(error.retry_after or 1.0))
        retry = [(b"retry-after", b"%d" % wait)]
        return Problem(503, code, "The service behind this path takes no calls right now.", headers=retry)
    if isinstance(error, DeadlineExceeded):
        return Problem(504, code, "The service behind this path did not answer in time.")
    return Problem(502, code, "The service behind this path gave no usable answer.")


def reason(error: Exception) -> str:
    """A short stable word for a failed call."""
    if isinstance(error, Problem):
        return error.code
    if isinstance(error, Refused):
        return error.reason
    if isinstance(error, StatusError):
        return f"error_{error.status}"
    return next((word for kind, word in _WORDS.items() if isinstance(error, kind)), "bad_reply")


_WORDS: dict[type[Exception], str] = {
    DeadlineExceeded: "timed_out",
    Unreachable: "unreachable",
    ConnectionLost: "connection_lost",
    ReplyTooLarge: "reply_too_large",
}
