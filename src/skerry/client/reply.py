"""What a service answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from skerry.client.headers import Headers
from skerry.clock import SYSTEM, Clock
from skerry.errors import CallError, StatusError

MAX_RETRY_AFTER = 3600.0
"""Seconds. A peer that asks to be left alone for longer is not believed."""
MAX_DETAIL = 500


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply: its status, its headers and its decoded body.

    `headers` is a mapping that ignores case; `headers.multi_items()` also shows repeated ones.

        reply = await stock.get("/items/42")
        if reply.status == 404: ...
        item = reply.raise_for_status().json()
    """

    service: str
    status: int
    headers: Headers
    content: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The body as UTF-8; what is not UTF-8 becomes replacement characters."""
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON. Raises `CallError` when it is something else."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError) as error:
            raise CallError(self.service, f"answered {self.status} with a body that is not JSON") from error

    def raise_for_status(self) -> Reply:
        """Itself when the status is 2xx; else raises `StatusError` with what an RFC 9457 problem body says."""
        if 200 <= self.status < 300:
            return self
        problem = self._problem()
        raise StatusError(
            self.service,
            self.status,
            str(problem.get("detail") or problem.get("title") or "")[:MAX_DETAIL],
            code=str(problem.get("code") or "")[:MAX_DETAIL],
            retry_after=self.retry_after(),
        )

    def retry_after(self, clock: Clock = SYSTEM) -> float | None:
        """Seconds from `Retry-After` in either form (RFC 9110, section 10.2.3); None when absent or absurd."""
        value = self.headers.get("retry-after", "")
        if value.isascii() and value.isdigit() and len(value) <= 9:
            seconds = float(value)
        else:
            try:
                told = parsedate_to_datetime(value)
                # a date without a zone, as in the older forms, is in GMT (RFC 9110, section 5.6.7), wherever this runs
                seconds = (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() - clock.now()
            except (ValueError, OverflowError):
                return None
        return seconds if 0 <= seconds <= MAX_RETRY_AFTER else None

    def _problem(self) -> Mapping[str, Any]:
        if not self.headers.get("content-type", "").startswith("application/problem+json"):
            return {}
        try:
            problem = json.loads(self.content)
        except (ValueError, RecursionError):
            return {}
        return problem if isinstance(problem, dict) else {}
