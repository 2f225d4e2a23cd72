"""Systems of tiny services, and waiting for things that other processes do."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from skerry.topology import Gateway, ServiceSpec

HERE = Path(__file__).parent
BOUND = 60.0


def command(spec: ServiceSpec | Gateway) -> Sequence[str]:
    """The tiny service; the attribute of a service's app is its mode."""
    mode = "normal" if isinstance(spec, Gateway) else spec.app.partition(":")[2]
    return (sys.executable, "-S", str(HERE / "tiny.py"), mode)


def write_system(folder: Path, *, gateway: bool = True, **modes: str) -> Path:
    """A system file with one service for each keyword."""
    text = '[system]\nname = "tiny"\n'
    if gateway:
        (folder / "gateway.yaml").write_text("")
        text += '[gateway]\nspec = "gateway.yaml"\n'
    for name, mode in modes.items():
        text += f'[services.{name}]\napp = "{name}:{mode}"\ndatabase = "sqlite:///{name}.db"\n'
    file = folder / "skerry.toml"
    file.write_text(text)
    return file


class Lines:
    """An output that remembers."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []

    def line(self, name: str, text: str) -> None:
        self.all.append((name, text))

    def close(self) -> None:
        pass


async def until(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds; a generous bound guards against a hang."""
    async with asyncio.timeout(BOUND):
        while not condition():
            await asyncio.sleep(0.02)


def until_sync(condition: Callable[[], object]) -> None:
    end = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def get(url: str) -> str:
    """What a tiny service answers: its process id, the address of the service `other`, its folder and its PYTHONPATH."""
    with urllib.request.urlopen(url, timeout=BOUND) as reply:
        return reply.read().decode()


def alive(pid: int) -> bool:
    """Whether the process exists and is not merely waiting to be reaped."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
