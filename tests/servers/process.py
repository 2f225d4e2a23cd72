"""A server as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

START = 60.0
"""Seconds a server may take until it answers."""


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether a connection to the port is taken."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


class Server:
    """Starts a program and ends it. A subclass says which program, and when it is ready."""

    name = ""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / "server.log"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str | os.PathLike[str]]:
        """The program and its arguments."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """What is added to the environment."""
        return {}

    def ready(self) -> bool:
        """Whether it answers."""
        return listens(self.port)

    def prepare(self) -> None:
        """What has to be done before each start."""

    @property
    def user(self) -> str | None:
        """The system user it runs as, when not our own."""
        return None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process that was started."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Start on the data of before, and return when it answers."""
        if self.running:
            return self
        self.prepare()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                env={**os.environ, **self.environment()},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self.user,
                start_new_session=True,
            )
        deadline = time.monotonic() + START
        while not self.ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"{self.name} did not start:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.02)
        return self

    def kill(self) -> None:
        """End it and its children with SIGKILL."""
        if self._process is None:
            return
        family = [self._process.pid, *descendants(self._process.pid)]
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait()
        self._process = None
        deadline = time.monotonic() + START
        while (any(map(alive, family)) or listens(self.port)) and time.monotonic() < deadline:
            time.sleep(0.005)

    def stop(self) -> None:
        """Ask it to end, and wait; after a while it is killed."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=20.0)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def pause(self) -> None:
        """Stop it and its children in their tracks, as a long pause would: connections stay open and nothing answers."""
        assert self._process is not None
        self._send(signal.SIGSTOP)
        self._send(signal.SIGSTOP)  # to those that were begun meanwhile

    def resume(self) -> None:
        """Let them go on after `pause`."""
        assert self._process is not None
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        for pid in (self._process.pid, *descendants(self._process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def close(self) -> None:
        """End it for good."""
        self.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def alive(pid: int) -> bool:
    """Whether a process is there, a thread of it at least, and no zombie."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return len(threads) > 1 or Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(pid: int) -> list[int]:
    """The processes below one, where /proc tells."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return children + [deeper for child in children for deeper in descendants(child)]
