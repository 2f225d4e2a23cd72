"""One connection to NATS: questions to JetStream's API, and messages published without waiting in between.

Source: NATS documentation, "JetStream wire API reference".
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError

from skerry.errors import BrokerUnavailable, EventError
from skerry.events.brokers.address import Address
from skerry.store.patience import cancellable

STREAM_NOT_FOUND: Final = 10059
CONSUMER_NOT_FOUND: Final = 10014
NAME_IN_USE: Final = 10058
WRONG_SEQUENCE: Final = (10070, 10071)
ANSWERED: Final = 32
"""One in so many is answered, so that a slow disk is told from silence."""

Outgoing = tuple[str, dict[str, str], bytes]
"""Subject, headers and payload."""


class Refusal(EventError):
    """JetStream answered with an error. `code` is its number."""

    def __init__(self, where: str, code: int, text: str) -> None:
        self.code = code
        super().__init__(f"{where}: {text} ({code})")

    @classmethod
    def of(cls, where: str, error: Mapping[str, Any]) -> Refusal:
        """The error in an answer."""
        return cls(where, int(error.get("err_code", 0)), str(error.get("description", ""))[:200])


class _Driver(Client):
    """The driver, but a message whose block of headers is broken has none, instead of ending all reading for good."""

    async def _process_headers(self, headers: Any) -> dict[str, str] | None:
        try:
            found: dict[str, str] | None = await super()._process_headers(headers)
        except Exception:  # whatever it stumbles over
            return None
        return found

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        """The driver's own looks at every character of every name."""
        lines = bytes(raw).decode(errors="replace").split("\r\n")
        return {name.strip(): value.strip() for name, mark, value in (line.partition(":") for line in lines) if mark}

    def abort(self) -> None:
        """End the connection without waiting for what is still to be written."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()


class Link:
    """An open connection. `on_lost` is called when it has ended."""

    def __init__(self, address: Address, on_lost: Callable[[], None]) -> None:
        self.address = address
        self.client: Any = _Driver()
        self.lost: bool = False
        self._on_lost = on_lost
        self._inbox = ""
        self._burst: _Burst | None = None
        self._bursts = 0

    async def open(self, name: str) -> None:
        """Connect. Raises `BrokerUnavailable`."""
        address = self.address
        login = {"user": address.user, "password": address.password} if address.user else {}
        try:
            async with asyncio.timeout(address.timeout):
                await self.client.connect(
                    [f"{address.scheme}://{host}" for host in address.hosts],
                    name=name,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0.02,
                    connect_timeout=address.timeout,
                    error_cb=_ignore,
                    disconnected_cb=self._ended,
                    flush_timeout=address.timeout,
                    **login,
                )
                self._inbox = self.client.new_inbox()
                await self.client.subscribe(f"{self._inbox}.*.*", cb=self._acknowledged)
        except (NatsError, OSError, TimeoutError) as error:
            await self.close()
            raise address.unavailable(error) from None
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the connection. Raises nothing, and waits no longer than the time-out."""
        try:
            async with asyncio.timeout(self.address.timeout):
                await self.client.close()
        except (NatsError, OSError, TimeoutError):  # such as a server that takes nothing more
            self.client.abort()
        await self._ended()

    async def ask(self, subject: str, question: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask JetStream's API. Raises `BrokerUnavailable`, `Refusal`."""
        payload = json.dumps(question).encode() if question else b""
        try:
            with cancellable():
                answer = await self.client.request(f"$JS.API.{subject}", payload, timeout=self.address.timeout)
        except (NatsError, OSError, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                await (
                    self._ended()
                )  # the next question goes over a new connection: this one may be dead without saying so
            raise self.address.unavailable(error) from None
        found: dict[str, Any] = json.loads(answer.data)
        if "error" in found:
            raise Refusal.of(str(self.address), found["error"])
        return found

    async def send(self, messages: Sequence[Outgoing]) -> tuple[int, bool]:
        """Publish without waiting in between; the sequence of the last, and whether it was there already.

        Each expects the sequence of the one before, so the answer to the last stands for all. Raises the first `Refusal`,
        and `BrokerUnavailable` when no answer came for the length of the time-out.
        """
        self._bursts += 1
        burst = self._burst = _Burst(str(self.address), len(messages))
        try:
            async with asyncio.timeout(self.address.timeout):
                for number, (subject, headers, payload) in enumerate(messages, 1):
                    answered = number == len(messages) or number % ANSWERED == 0
                    reply = f"{self._inbox}.{self._bursts}.{number}" if answered else ""
                    await self.client.publish(subject, payload, reply=reply, headers=headers)
            while not burst.done.done():
                before = burst.answers
                await asyncio.wait({burst.done}, timeout=self.address.timeout)
                if self.lost or (burst.answers == before and not burst.done.done()):
                    self._burst = None
                    await self._ended()  # likewise
                    raise BrokerUnavailable(f"{self.address}: no answer to what was published")
            return burst.done.result()
        except MaxPayloadError:
            raise EventError(f"{self.address}: an event is larger than the server takes") from None
        except (NatsError, OSError, TimeoutError) as error:
            if isinstance(error, EventError):
                raise
            raise self.address.unavailable(error) from None
        finally:
            self._burst = None
            burst.done.cancel()

    async def _acknowledged(self, msg: Msg) -> None:
        burst, (_, number, at) = self._burst, msg.subject.rsplit(".", 2)
        if burst is not None and int(number) == self._bursts:
            burst.answer(int(at), msg)

    async def _ended(self) -> None:
        if not self.lost:
            self.lost = True
            if self._burst is not None:
                self._burst.fail(self.address.unavailable("the connection was lost"))
            self._on_lost()


class _Burst:
    """Messages on their way, until the last is answered."""

    def __init__(self, where: str, size: int) -> None:
        self._where = where
        self._size = size
        self.answers = 0
        self.done: asyncio.Future[tuple[int, bool]] = asyncio.get_running_loop().create_future()

    def answer(self, at: int, msg: Msg) -> None:
        self.answers += 1
        if not msg.data:  # in an atomic batch it says: so far all has come
            if (msg.headers or {}).get("Status"):
                self.fail(BrokerUnavailable(f"{self._where}: no stream takes the event"))
        elif at == self._size or b'"error"' in msg.data:
            found = json.loads(msg.data)
            if "error" in found:
                self.fail(Refusal.of(self._where, found["error"]))
            elif not self.done.done():
                self.done.set_result((int(found["seq"]), bool(found.get("duplicate"))))

    def fail(self, error: EventError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


async def _ignore(_: Exception) -> None:
    """What goes wrong is seen where it matters: by the question that gets no answer."""
