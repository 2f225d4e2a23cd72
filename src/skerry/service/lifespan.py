"""ASGI's lifespan, in two halves around that of the user's application.

open      the database is there, migrated, before the application starts
          -- the application starts --
begin     relay, handlers and sagas may use what the application made ready
finish    they are done before the application takes it away
          -- the application stops --
close     the last connection closes
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from skerry.errors import SkerryError
from skerry.service.server import ASGIApp, Message, Receive, Scope, Send


class Stages(Protocol):
    """What happens to a service in its life. `finish` and `close` may be called whatever happened before, and again."""

    async def open(self) -> None:
        """Make ready what an application needs to start."""
        ...

    async def begin(self) -> None:
        """Begin to work."""
        ...

    async def finish(self) -> None:
        """Finish the work in hand."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...


class _Server:
    """Who asked for the start. What skerry itself refuses is told in its words: where in the code that was helps nobody."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._refused = ""
        self._told = False

    async def asked(self, stage: Awaitable[None]) -> None:
        """Go through a stage of the start."""
        try:
            await stage
        except SkerryError as error:
            self._refused = str(error)
            raise

    async def tell(self, message: Message) -> None:
        """What the application says, which knows nothing of our words."""
        self._told = True
        await self._send({**message, "message": self._refused} if self._refused else message)

    async def finish(self) -> None:
        """Tell what was refused, where the application said nothing about it."""
        if self._refused and not self._told:
            await self.tell({"type": "lifespan.startup.failed"})


async def live(stages: Stages, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Take part in the lifespan protocol, together with `inner` if it speaks it.

    A start that fails half-way closes what was opened before the failure is told.
    """
    spoken = False
    server = _Server(send)

    async def received() -> Message:
        nonlocal spoken
        message = await receive()
        spoken = True
        if message["type"] == "lifespan.startup":
            await server.asked(stages.open())
        else:
            await stages.finish()
        return message

    async def sent(message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            await server.asked(stages.begin())
        else:  # the application's start failed, or it has stopped
            await _end(stages)
        await server.tell(message)

    try:
        try:
            await inner(scope, received, sent)
        except Exception:
            if spoken:
                raise
        if not spoken:  # ASGI leaves an application free to know nothing of lifespans
            await alone(scope, received, sent)
    except BaseException:
        await _end(stages)
        await server.finish()
        raise


async def alone(_scope: Scope, receive: Receive, send: Send) -> None:
    """The lifespan of an application that has nothing to do in it."""
    for _ in range(2):  # startup, shutdown
        message = await receive()
        await send({"type": f"{message['type']}.complete"})


async def _end(stages: Stages) -> None:
    try:
        await stages.finish()
    finally:
        await stages.close()
