"""`skerry run`: run the system of this folder until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import click

from skerry import signals
from skerry.cli import options
from skerry.deploy import Both, Console, LogFiles, Supervisor
from skerry.errors import ConfigurationError
from skerry.signals import ProcessChanged, Signal
from skerry.topology import FILE_NAME, GATEWAY, System, find, load

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.option(
    "--file", type=click.Path(path_type=Path), help=f"The system file. [default: {FILE_NAME} here or further up]"
)
@click.option(
    "--port", type=click.IntRange(0, 65535), help="The gateway's port, 0 for a free one. [default: from the file]"
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path("var"),
    show_default=True,
    help="The folder for databases and logs.",
)
@options.output
def run(file: Path | None, port: int | None, data: Path, output: str) -> None:
    """Run every service of a system and its gateway, restart what crashes, and stop them all on Ctrl-C.

    What the processes write goes to DATA/logs and, in the text format, also to the terminal.
    """
    system = load(file or _find_file())
    if port is None and system.gateway is not None:
        port = system.gateway.port
    with ExitStack() as stack:
        console = stack.enter_context(closing(Console(sys.stdout, [*system.services, GATEWAY])))
        logs = stack.enter_context(closing(LogFiles(data / "logs")))
        progress = JsonProgress(system, console) if output == "json" else TextProgress(system, console)
        stack.callback(signals.subscribe(progress.on_signal))
        supervisor = Supervisor(system, data=data, port=port, output=logs if output == "json" else Both(console, logs))
        asyncio.run(serve(supervisor, progress))


class TextProgress:
    """Tells a person what happens, among the lines of the processes."""

    def __init__(self, system: System, console: Console) -> None:
        self._system = system
        self._console = console
        self._waiting = [*system.services, *([GATEWAY] if system.gateway else [])]
        self._count = len(self._waiting)

    def on_signal(self, change: Signal) -> None:
        if not isinstance(change, ProcessChanged):
            return
        if change.state == "crashed":
            self._console.say(f"skerry: {change.name} crashed ({change.reason}) and will be restarted")
        elif change.state == "ready" and change.name in self._waiting:
            self._waiting.remove(change.name)
            self._console.say(f"skerry: {change.name} is ready ({self._count - len(self._waiting)} of {self._count})")
        elif change.state in {"ready", "running", "held"}:
            words = {"ready": "is ready again", "running": "runs, but its check fails", "held": "is held down"}
            self._console.say(f"skerry: {change.name} {words[change.state]}")

    def system(self, state: str, url: str) -> None:
        name = self._system.name
        where = f" at {url}" if url else ""
        texts = {
            "starting": f"skerry: starting {name}, {self._count} process{'es' if self._count != 1 else ''}",
            "ready": f"skerry: {name} is ready{where} (`skerry ps` shows its processes, Ctrl-C stops it)",
            "stopping": f"skerry: stopping {name} (Ctrl-C again kills it at once)",
            "stopped": f"skerry: {name} is stopped",
        }
        self._console.say(texts[state])


class JsonProgress:
    """Tells a program what happens: one JSON object a line."""

    def __init__(self, system: System, console: Console) -> None:
        self._system = system
        self._console = console

    def on_signal(self, change: Signal) -> None:
        if isinstance(change, ProcessChanged):
            self._say(event="process", name=change.name, state=change.state, pid=change.pid, reason=change.reason)

    def system(self, state: str, url: str) -> None:
        self._say(event="system", name=self._system.name, state=state, url=url)

    def _say(self, **values: object) -> None:
        self._console.say(json.dumps(values))


def _find_file() -> Path:
    file = find(Path.cwd())
    if file is None:
        raise ConfigurationError(
            f"there is no {FILE_NAME} in this folder or above it: name one with --file, or try `skerry demo`"
        )
    return file


async def serve(supervisor: Supervisor, progress: TextProgress | JsonProgress) -> None:
    """Run a system until a signal or `skerry stop` ends it; a second signal kills it at once."""
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, supervisor.request_stop)
    progress.system("starting", "")
    async with supervisor:
        if not supervisor.is_stopping:
            progress.system("ready", supervisor.url)
        await supervisor.wait()
        progress.system("stopping", supervisor.url)
    progress.system("stopped", "")
