"""The one error of everything that reads from a connection."""

from __future__ import annotations


class BadMessage(Exception):
    """What came cannot be taken: `status` for the client, a stable word `code`, a sentence `detail` that repeats nothing of it.

    The connection it came on cannot be used any more, for nobody knows where the next message begins.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        self.status: int = status
        self.code: str = code
        self.detail: str = detail
        super().__init__(detail)
