"""Answers that say what went wrong: RFC 9457 problem details, and which error becomes which.

They tell a stable code and a sentence, never a stack trace, a host name or another service's own words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from skerry.errors import (
    CallError,
    ConnectionLost,
    DeadlineExceeded,
    DuplicateValue,
    Held,
    InvalidDocument,
    InvalidQuery,
    LateAction,
    Locked,
    ProjectionBehind,
    RateLimited,
    ReceiptConflict,
    RedirectRefused,
    Refused,
    Rejected,
    ReplyTooLarge,
    StatusError,
    StoreBusy,
    StoreUnavailable,
    Unreachable,
    Untrusted,
    VersionConflict,
)

Headers = Sequence[tuple[bytes, bytes]]
MEDIA_TYPE = b"application/problem+json"
_PHRASES: dict[int, str] = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the client: never streamed, so it is whole or it is not sent."""

    status: int
    headers: Headers
    body: bytes


class Problem(Exception):
    """Raise it anywhere on the way of a request to end it with a problem body.

    `code` is a short stable word; `detail` a sentence for people; `more` further members of the body.
    """

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Headers = (), more: Mapping[str, Any] | None = None
    ) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers
        self.more: dict[str, Any] = dict(more or {})
        super().__init__(detail)

    def answer(self, *, instance: str, trace_id: str) -> Answer:
        """The problem as an answer. `instance` is the request's path."""
        body = {
            "type": f"urn:skerry:problem:{self.code}",
            "title": _PHRASES.get(self.status, "Error"),
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "code": self.code,
            "trace_id": trace_id,
            **self.more,
        }
        encoded = json.dumps(body, separators=(",", ":")).encode()
        headers = [(b"content-type", MEDIA_TYPE), (b"content-length", b"%d" % len(encoded)), *self.headers]
        return Answer(self.status, headers, encoded)


def of(error: Exception, *, what: str = "A service behind this one") -> Problem | None:
    """The problem that one of skerry's errors is for our own caller; None for an error nobody foresaw.

    `what` names, for the sentence, where a failed call went.
    """
    if isinstance(error, Problem):
        return error
    code = reason(error)
    for kind, told in _TOLD.items():
        if isinstance(error, kind):
            return Problem(*told, headers=_wait(error.retry_after) if isinstance(error, Refused) else ())
    match error:
        case (
            ProjectionBehind() | Held()
        ):  # no 5xx: by tokens of his own a stranger could open the circuit in front of us
            problem = Problem(409, code, "What you asked for is not shown yet.", headers=_wait(1.0))
        case Rejected():
            problem = Problem(409, "rejected", str(error))
        case StoreBusy() | StoreUnavailable():
            problem = Problem(503, code, "This service cannot get at its data right now.", headers=_wait(1.0))
        case Refused():
            problem = Problem(503, code, f"{what} takes no calls right now.", headers=_wait(error.retry_after))
        case DeadlineExceeded():
            problem = Problem(504, code, f"{what} did not answer in time.")
        case CallError():
            problem = Problem(502, code, f"{what} gave no usable answer.")
        case _:
            return None
    return problem


def reason(error: Exception) -> str:
    """A short stable word for a failed call."""
    if isinstance(error, Problem):
        return error.code
    if isinstance(error, Refused):
        return error.reason
    if isinstance(error, StatusError):
        return f"error_{error.status}"
    return next((word for kind, word in _WORDS.items() if isinstance(error, kind)), "bad_reply")


def _wait(seconds: float | None) -> Headers:
    return [(b"retry-after", b"%d" % max(1, math.ceil(seconds or 1.0)))]


_TOLD: dict[type[Exception], tuple[int, str, str]] = {
    ReceiptConflict: (422, "key_reused", "This idempotency key was used before with another request."),
    RateLimited: (429, "rate_limited", "These were too many requests in too short a time."),
    LateAction: (409, "late_action", "This action was compensated already and has no effect any more."),
    # no 5xx: that two sagas want the same thing says nothing against the service that holds it
    Locked: (423, "locked", "Somebody else is working on this right now."),
    VersionConflict: (409, "changed_meanwhile", "Somebody else has changed this meanwhile: read it again."),
    DuplicateValue: (409, "duplicate_value", "Another one has this value already."),
    InvalidDocument: (422, "invalid_document", "This cannot be stored: it is too large, or no plain JSON."),
    InvalidQuery: (400, "invalid_query", "This filter, order, limit or cursor cannot be used."),
}
_WORDS: dict[type[Exception], str] = {
    StoreBusy: "busy",
    StoreUnavailable: "data_unavailable",
    ProjectionBehind: "behind",
    Held: "held",
    DeadlineExceeded: "timed_out",
    Unreachable: "unreachable",
    ConnectionLost: "connection_lost",
    ReplyTooLarge: "reply_too_large",
    RedirectRefused: "redirect_refused",
    Untrusted: "untrusted",
}
