"""Keeps one process alive: starts it, watches whether it is ready, restarts it with back-off, holds it down on request."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from skerry.clock import Clock
from skerry.deploy import successor
from skerry.deploy.ports import HOST
from skerry.deploy.processes import Launch, Process, describe_exit
from skerry.signals import ProcessChanged

State = Literal["starting", "ready", "running", "crashed", "held", "stopping", "stopped"]
"""`running`: was ready but fails its check now. `crashed`: ended by itself and waits for its restart."""

Lead = Callable[[], Awaitable[str]]
"""Brings whoever calls a process to its successor; returns why that cannot be, or an empty text."""

STARTING_POLL, POLL = 0.05, 1.0
"""Seconds between two readiness checks, before the first success and after it."""
LAST_LINES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessInfo:
    """What `ps` shows of a process. `restarts` counts starts after a crash, not those after a hold.

    `since` is when it came into its state, in seconds since 1970; `reason` why it ended last, empty when it never did; `retry_in`
    in how many seconds it is started again, None when nobody waits for that.
    """

    name: str
    pid: int | None
    state: State
    ready: bool
    url: str
    restarts: int
    since: float
    reason: str = ""
    retry_in: float | None = None


class Backoff:
    """How long to wait before each restart: 0.1 s, doubling up to 5 s, up to half of it taken off at random.

    It begins again after the process has been ready for 10 s.
    """

    FIRST, MOST, RESET_AFTER = 0.1, 5.0, 10.0

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._crashes = 0

    def after(self, ready_for: float) -> float:
        """Seconds to wait after a crash of a process that had been ready for `ready_for` seconds."""
        if ready_for >= self.RESET_AFTER:
            self._crashes = 0
        full = min(self.MOST, self.FIRST * 2.0 ** min(self._crashes, 10))
        self._crashes += 1
        return full * (1 - self._clock.random() / 2)


class Keeper:
    """The life of one supervised process, from `begin` to `stop`. `on_line` gets its output, `on_change` each new state."""

    def __init__(
        self,
        launch: Launch,
        *,
        on_line: Callable[[str, str], None],
        on_change: Callable[[ProcessChanged], None],
        clock: Clock,
    ) -> None:
        self.launch: Launch = launch
        self.was_ready: bool = False
        self.early_ends: int = 0
        """How often it ended before it was ever ready."""
        self.reason: str = ""
        """Why it ended last."""
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._on_line = on_line
        self._on_change = on_change
        self._clock = clock
        self._backoff = Backoff(clock)
        self._state: State = "starting"
        self._since: float = clock.now()
        self._retry_at: float = 0.0
        self._restarts = 0
        self._ready_since: float | None = None
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._held = False
        self._stopping = False
        self._renewed: bool = False
        self._replacing: asyncio.Task[Process | str] | None = None
        self._retired: dict[Process, asyncio.Task[None]] = {}
        self._taken_over = asyncio.Event()
        self._wake = asyncio.Event()
        self._down = asyncio.Event()

    def info(self) -> ProcessInfo:
        """The process as it is now."""
        launch = self.launch
        return ProcessInfo(
            name=self.launch.name,
            pid=self._process.pid if self._process else None,
            state=self._state,
            ready=self._state == "ready",
            url=f"{launch.scheme}://{HOST}:{launch.port}" if launch.where is None else launch.where,
            restarts=self._restarts,
            since=self._since,
            reason=self.reason,
            retry_in=max(0.0, round(self._retry_at - self._clock.monotonic(), 2)) if self._state == "crashed" else None,
        )

    def begin(self) -> None:
        """Start the process, and start it again whenever it ends."""
        self._task = asyncio.create_task(self._run(), name=f"keep {self.launch.name}")

    async def hold(self) -> None:
        """Kill the process and keep it down; returns when it is gone."""
        self._held = True
        self._wake.set()
        self.kill()
        await self._down.wait()

    def release(self) -> None:
        """Let a held process start again."""
        self._held = False
        self._wake.set()

    def kill(self) -> None:
        """Kill the process if there is one; it restarts as after any crash."""
        if self._process:
            self._process.kill()

    async def stop(self) -> None:
        """Ask the process to stop, kill it after its grace; returns when it is gone and will not come back."""
        self._stopping = True
        self._wake.set()
        if self._process:
            self._become("stopping")
            self._process.terminate()
        if self._replacing:
            self._replacing.cancel()
        tasks = {task for task in (self._task, *self._retired.values()) if task}
        if tasks and (await asyncio.wait(tasks, timeout=self.launch.grace))[1]:
            await self.abort()

    async def abort(self) -> None:
        """Kill the process at once and for good; returns when it is gone."""
        self._stopping = True
        self._wake.set()
        self.kill()
        for process in self._retired:
            process.kill()
        if self._replacing:
            self._replacing.cancel()
        if tasks := {task for task in (self._task, self._replacing, *self._retired.values()) if task}:
            await asyncio.wait(tasks)

    async def replace(self, launch: Launch, *, lead: Lead | None = None) -> str:
        """Have a process of `launch` take over, and end the one there is once it is done with its requests.

        Returns when it has taken over, or why it does not, and then the one before goes on. A process that is not up is started
        anew, and one that does not say who it is, is stopped first. Where the new one listens elsewhere, `lead` brings callers
        there; it is called when they would be answered.
        """
        old = self._process
        if old is None or self._held or self._state == "starting" or not await self._says_who(self.launch, old):
            why = await lead() if lead else ""
            if not why:
                self._renew(launch)
            return why
        starting = self._replacing = asyncio.create_task(self._successor(launch, lead))
        try:
            await asyncio.wait({starting})
            found = "the system stops" if starting.cancelled() else starting.result()
        except asyncio.CancelledError:
            starting.cancel()
            await asyncio.wait({starting})
            if not starting.cancelled() and isinstance(late := starting.result(), Process):
                late.kill()
                await late.wait()
                if lead is not None:  # its callers were led to it
                    self._renew(launch)
            raise
        finally:
            self._replacing = None
        if isinstance(found, str):
            return found
        self.launch = launch
        if (
            self._process is not old or self._held or self._stopping
        ):  # it ended meanwhile, and what came after is new already
            found.kill()
            await found.wait()
            if lead is not None:  # but it listens where nobody is led any more
                self._renew(launch)
            return ""
        self._process = found
        self._ready_since = self._clock.monotonic()
        self._since = self._clock.now()
        self._retired[old] = asyncio.create_task(self._retire(old))
        self._taken_over.set()
        return ""

    async def _successor(self, launch: Launch, lead: Lead | None) -> Process | str:
        """The process that is to take over, with its callers led to it; or why there is none, and then nothing of it is left."""
        found = await successor.start(launch, self._line, clock=self._clock)
        if isinstance(found, str) or lead is None:
            return found
        why = "cancelled"
        try:
            why = await lead()
        finally:
            if why:
                found.kill()
                await found.wait()
        return why or found

    async def _says_who(self, launch: Launch, process: Process) -> bool:
        """Whether the process says who it is; asked again as long as one that drains may have answered in its place."""
        while True:
            alone = not self._retired
            if await successor.tells_itself(launch, process.pid):
                return True
            if alone or self._process is not process or self._held or self._stopping:
                return False
            await self._clock.sleep(successor.POLL)

    def _renew(self, launch: Launch) -> None:
        """Start anew, at once: what was wrong may be right now."""
        self.launch = launch
        self._backoff = Backoff(self._clock)
        self._renewed = self._process is not None
        if self._process and self._state != "stopping":
            self._retired[self._process] = asyncio.create_task(self._retire(self._process))
        self._wake.set()

    async def _retire(self, process: Process) -> None:
        process.terminate()
        ended = asyncio.create_task(process.wait())
        if not (await asyncio.wait({ended}, timeout=self.launch.grace))[0]:
            process.kill()
        await ended
        del self._retired[process]

    async def _run(self) -> None:
        try:
            while not self._stopping:
                if self._held:
                    self._become("held")
                    self._down.set()
                    await self._pause(None)
                    continue
                self._down.clear()
                delay = await self._live()
                if self._renewed:
                    self._renewed = False
                elif not self._held and not self._stopping:
                    self._retry_at = self._clock.monotonic() + delay
                    self._become("crashed")
                    await self._pause(delay)
                    self._restarts += not self._held and not self._stopping
        finally:
            self._down.set()
            self._become("stopped")

    async def _live(self) -> float:
        """Run the process once, until it ends; returns how many seconds to wait before the next time."""
        self._ready_since = None
        self._state, self._since = "starting", self._clock.now()
        self.last_lines.clear()
        launch = self.launch
        try:
            self._process = await Process.start(launch, self._line)
        except OSError as error:
            self.reason = f"cannot be started: {error.strerror}"
        else:
            self._renewed = self.launch is not launch  # replaced while the process was being started
            self.reason = await self._watch(self._process)
        self.early_ends += not self.was_ready and not self._renewed
        return self._backoff.after(0.0 if self._ready_since is None else self._clock.monotonic() - self._ready_since)

    async def _watch(self, process: Process) -> str:
        self._announce()
        if self._held or self._stopping or self._renewed:  # asked for while the process was being started
            process.kill()
        checks = asyncio.create_task(self._check())
        try:
            return describe_exit(await self._end())
        finally:
            checks.cancel()
            while (last := self._process) is not None:
                last.kill()
                await last.wait()
                if self._process is last:
                    self._process = None
            await asyncio.wait({checks})

    async def _end(self) -> int:
        """Wait for the end of the process, or of the one that takes over from it."""
        while True:
            process = self._process
            assert process is not None, "it is watched from its start to its end"
            self._taken_over.clear()
            ended, other = asyncio.create_task(process.wait()), asyncio.create_task(self._taken_over.wait())
            await asyncio.wait({ended, other}, return_when=asyncio.FIRST_COMPLETED)
            other.cancel()
            if self._process is process:
                return await ended
            ended.cancel()

    async def _check(self) -> None:
        while not self._stopping:
            if await self.launch.ready(HOST, self.launch.port):
                self._become("ready")
            elif self._state == "ready" and not self._retired:  # one that drains says that it is not ready
                self._become("running")
            await self._clock.sleep(STARTING_POLL if self._state == "starting" else POLL)

    async def _pause(self, seconds: float | None) -> None:
        """Wait for `seconds`, or until something was asked of this keeper."""
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    def _line(self, text: str) -> None:
        self.last_lines.append(text)
        self._on_line(self.launch.name, text)

    def _become(self, state: State) -> None:
        if state == self._state or (self._state == "stopping" and state != "stopped"):
            return
        self._state, self._since = state, self._clock.now()
        if state == "ready":
            self.was_ready = True
            self._ready_since = self._clock.monotonic()
        elif state == "running":
            self._ready_since = None
        self._announce()

    def _announce(self) -> None:
        pid = self._process.pid if self._process else None
        reason = self.reason if self._state == "crashed" else ""
        self._on_change(ProcessChanged(name=self.launch.name, state=self._state, pid=pid, reason=reason))
