"""The seam: what `ServiceClient` asks of whatever carries a request to a service, and nothing more."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from skerry.client.headers import Given, Headers

Body = bytes | AsyncIterable[bytes]


@dataclass(slots=True)
class Request:
    """One request as it is to go out: an absolute URL, encoded; headers complete but for what frames the body.

    `body` is bytes, or pieces to be sent as they come. `service` is the name for errors. `host` is given where the URL leads to
    one instance by its address: the name and port it is asked for by, in the Host header and in its certificate.
    """

    service: str
    method: str
    url: str
    headers: list[tuple[str, str]]
    body: Body = b""
    host: str = ""

    @property
    def replayable(self) -> bool:
        """Whether its body can be sent a second time. An iterator is used up by the first."""
        return isinstance(self.body, bytes) or not isinstance(self.body, AsyncIterator)


class Response:
    """A reply whose head is here and whose body may still be on its way, in pieces, as encoded by the service.

    Built from `body`, it is a whole one, for transports in tests; those over a network override `read` and `close`.
    """

    __slots__ = ("_body", "headers", "status")

    def __init__(self, status: int, *, headers: Headers | Given = (), body: bytes = b"") -> None:
        self.status: int = status
        self.headers: Headers = headers if type(headers) is Headers else Headers(headers)
        self._body = body

    async def read(self) -> bytes:
        """The next piece; empty at the end and ever after. Raises `ConnectionLost` when the reply breaks off."""
        piece, self._body = self._body, b""
        return piece

    def close(self) -> None:
        """Done with it. The connection is used again only if the body was read to its end. Never raises, and may be repeated."""


class Transport(Protocol):
    """Carries requests to services.

    It follows no redirects, keeps no cookies, decodes no body, repeats nothing that may have taken effect, and has no time-out
    but one for making a connection: the caller cancels it. Cancelled, it gives up the connection. Its errors are skerry's:
    `Unreachable` (nothing was sent), `Untrusted`, `ConnectionLost` (no whole reply), `ReplyTooLarge` (its head), `BulkheadFull`
    (all its connections are in use).
    """

    async def send(self, request: Request) -> Response:
        """Send it, and return when the head of the reply is here."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
