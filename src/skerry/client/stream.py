"""A reply that is read while it comes, every read of it within the time that the whole call has."""

from __future__ import annotations

from collections.abc import AsyncIterator

from skerry.client.decoding import inflater, whole
from skerry.client.headers import Headers
from skerry.client.reply import Reply
from skerry.client.transport import Response
from skerry.clock import Clock
from skerry.errors import DeadlineExceeded, ReplyTooLarge
from skerry.resilience.within import within
from skerry.signals import CallTimedOut, emit

MAX_LINE = 2**20
"""Bytes of one line."""


class Stream:
    """The head of a reply, and its body in pieces. Read it once, by one of its methods, inside its `async with`.

    However slowly a body drips, reading it ends at the call's deadline. It may be of any size, for a piece at a time is in
    memory. The connection is used again only after a body that was read to its end.
    """

    def __init__(self, response: Response, timing: Timing, *, most: int) -> None:
        self.service: str = timing.service
        self.status: int = response.status
        self.headers: Headers = response.headers
        self._timing = timing
        self._response = _Timely(response, timing)
        self._most = most

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        """The body, decoded. Raises `ConnectionLost` when it breaks off, `DeadlineExceeded` when time is over."""
        inflate = inflater(self.service, self._response)
        while raw := await self._response.read():
            if inflate is None:
                yield raw
                continue
            for number, piece in enumerate(inflate.pieces(raw)):
                if number:  # a thousand pieces may lie in one that came, and nothing else would happen meanwhile
                    await self._timing.rest()
                yield piece
        if inflate is not None:
            inflate.end()

    async def aiter_lines(self) -> AsyncIterator[str]:
        """The body's lines without their ends, as UTF-8. Raises as `aiter_bytes`, and `ReplyTooLarge` for one over `MAX_LINE`."""
        rest = b""
        async for piece in self.aiter_bytes():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line.removesuffix(b"\r").decode(errors="replace")
            if len(rest) > MAX_LINE:
                raise ReplyTooLarge(self.service, f"a line of the reply is over {MAX_LINE} bytes")
        if rest:
            yield rest.decode(errors="replace")

    async def reply(self) -> Reply:
        """All of it, within the client's `max_reply`: for an error's body, say. Raises as `aiter_bytes`, and `ReplyTooLarge`."""
        return await whole(self.service, self._response, most=self._most)


class Timing:
    """Until when one call may go on, and what is said when that is over."""

    def __init__(self, service: str, until: float | None, seconds: float, clock: Clock, *, imposed: bool) -> None:
        self.service = service
        self._until = until
        self._seconds = seconds
        self._clock = clock
        self._imposed = imposed

    async def read(self, response: Response) -> bytes:
        """The next piece of the body. Raises `DeadlineExceeded`."""
        if self._until is None:
            return await response.read()
        left = self._until - self._clock.monotonic()
        if left > 0:
            try:
                return await within(left, response.read())
            except TimeoutError:  # a transport raises none, so it is ours
                pass
        raise self._over()

    async def rest(self) -> None:
        """Let others have their turn. Raises `DeadlineExceeded`."""
        if self._until is not None and self._clock.monotonic() >= self._until:
            raise self._over()
        await self._clock.sleep(0)

    def _over(self) -> DeadlineExceeded:
        emit(CallTimedOut(policy=self.service, scope="total", seconds=self._seconds))
        error = DeadlineExceeded(f"{self.service}: the reply took longer than the {self._seconds:.3g} s the call had")
        error.imposed = self._imposed
        return error


class _Timely(Response):
    """A response that is read in time."""

    __slots__ = ("_response", "_timing")

    def __init__(self, response: Response, timing: Timing) -> None:
        super().__init__(response.status, headers=response.headers)
        self._response = response
        self._timing = timing

    async def read(self) -> bytes:
        return await self._timing.read(self._response)

    def close(self) -> None:
        self._response.close()
