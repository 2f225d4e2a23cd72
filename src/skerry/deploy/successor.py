"""Starting a process beside the one that it is to replace, at the same port, and knowing when it can take over.

Both listen at one port, and the system gives each connection to one of them. So readiness alone would not tell which of them is
ready: a service that is supervised says its process id with it. Behind a sidecar each listens at a socket of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from skerry.clock import Clock
from skerry.deploy.ports import HOST
from skerry.deploy.processes import Launch, Process, describe_exit

POLL: Final = 0.05
READY_WITHIN: Final = 60.0
"""Seconds that a successor may take to be ready."""
_SHOWN_LINES: Final = 5


async def tells_itself(launch: Launch, pid: int) -> bool:
    """Whether the process `pid` is ready where it listens and says that it is the one that answers."""
    return await launch.who(HOST, launch.port) == pid


async def start(launch: Launch, on_line: Callable[[str], None], *, clock: Clock) -> Process | str:
    """Start a process and wait until it is ready; or end it and return why it will not be, with its last lines.

    Cancelled, it leaves nothing behind.
    """
    last: deque[str] = deque(maxlen=_SHOWN_LINES)

    def line(text: str) -> None:
        last.append(text)
        on_line(text)

    try:
        process = await Process.start(launch, line)
    except OSError as error:
        return f"cannot be started: {error.strerror}"
    ended = asyncio.create_task(process.wait())
    try:
        why = await _ready(launch, process, ended, clock)
        if not why:
            ended.cancel()  # whoever has it now waits for its end
            return process
    except BaseException:
        process.kill()
        await ended
        raise
    process.kill()
    await ended
    return "".join([why, *(f"\n  {text}" for text in last)])


async def _ready(launch: Launch, process: Process, ended: asyncio.Task[int], clock: Clock) -> str:
    """Wait until it is ready; empty then, else why not."""
    try:
        async with asyncio.timeout(READY_WITHIN):
            while not ended.done():
                if await tells_itself(launch, process.pid):
                    return ""
                await clock.sleep(POLL)
    except TimeoutError:
        return f"was not ready within {READY_WITHIN:g} s"
    return describe_exit(ended.result())
