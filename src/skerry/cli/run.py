"""`skerry run`: run the system of this folder until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import click

from skerry import signals
from skerry.cli import browser, options
from skerry.cli.watching import console_for
from skerry.deploy import Both, Console, ConsoleServer, LogFiles, Mesh, Reloader, Supervisor, sidecar_name
from skerry.deploy.dotenv import read_dotenv
from skerry.errors import ConfigurationError, SkerryError
from skerry.signals import AuthoritiesChanged, IdentityRenewed, ProcessChanged, ProcessReplaced, Signal
from skerry.topology import FILE_NAME, GATEWAY, System, load

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
@options.engines
@options.gateway_engine
@options.mesh
@click.option(
    "--env", type=click.Path(path_type=Path), help="A folder with a file NAME.env of variables for each service."
)
@click.option(
    "--traces",
    type=click.Path(path_type=Path),
    help="A file to append the traces of all processes to, as OTLP JSON lines.",
)
@click.option(
    "--console/--no-console",
    "watched",
    default=None,
    help="Also run the console, have every process tell it what happens, and open it where there is a browser. "
    "[default: on a terminal, when it is installed]",
)
@click.option(
    "--reload", is_flag=True, help="Have services go on with their code as it changes, without a lost request."
)
@options.output
def run(
    file: Path | None,
    port: int | None,
    data: Path,
    database: str | None,
    broker: str | None,
    env: Path | None,
    traces: Path | None,
    engine: str | None,
    mesh: Mesh | None,
    output: str,
    *,
    watched: bool | None,
    reload: bool,
) -> None:
    """Run every service of a system and its gateway, restart what crashes, and stop them all on Ctrl-C.

    Servers that were asked for, and sidecars, start first and stop last. What the processes write goes to DATA/logs and, in the
    text format, also to the terminal.
    """
    if reload:
        import skerry.deploy.watching  # noqa: F401 - says now what is not installed
    system = load(file or options.system_file(", or try `skerry demo`"))
    port = gateway_port(system, port, engine)
    system = options.with_engine(system, engine)
    with ExitStack() as stack:
        terminal = output == "text" and sys.stdout.isatty()
        watching, without = console_for(system, wanted=watched if watched is not None or terminal else False)
        servers = [*options.servers_for(database, broker), *([watching] if watching else [])]
        variables = options.environment_for(system, database, broker, env)
        sidecars = [sidecar_name(name) for name in [*system.services, GATEWAY]] if mesh else []
        names = [*(server.name for server in servers), *system.services, GATEWAY, *sidecars]
        console = stack.enter_context(closing(Console(sys.stdout, names)))
        logs = stack.enter_context(closing(LogFiles(data / "logs")))
        lines = logs if output == "json" else Both(console, logs)
        environ = (
            read_dotenv(system.folder)
            | dict(os.environ)
            | ({} if traces is None else {"SKERRY_TRACES": str(traces.resolve())})
        )
        supervisor = Supervisor(
            system, data=data, port=port, output=lines, environ=environ, env=variables, servers=servers, mesh=mesh
        )
        progress: JsonProgress | TextProgress = JsonProgress(system, console)
        if output == "text":
            progress = TextProgress(system, console, supervisor.names, opens=terminal and browser.is_there())
            progress.note(without)
        stack.callback(signals.subscribe(progress.on_signal))
        reloader = Reloader(supervisor, say=progress.reloading) if reload else None
        asyncio.run(serve(supervisor, progress, watching, reloader))


def gateway_port(system: System, port: int | None, engine: str | None) -> int | None:
    """The port that was chosen for the gateway, else that of the file; without a gateway neither a port nor an engine can be.

    Raises `ConfigurationError`, also for the port of a service.
    """
    if system.gateway is not None:
        if taken := next((name for name, service in system.services.items() if port and service.port == port), None):
            raise ConfigurationError(f"{taken} and the gateway have the same port {port}", source=str(system.file))
        return system.gateway.port if port is None else port
    for option, value in (("--port", port), ("--engine", engine)):
        if value is not None:
            what = f"{option} is for the gateway, and {system.name} has none: a service has its port in [services.NAME]"
            raise ConfigurationError(what, source=str(system.file))
    return None


class TextProgress:
    """Tells a person what happens, among the lines of the processes."""

    def __init__(self, system: System, console: Console, names: Sequence[str], *, opens: bool = False) -> None:
        self._system = system
        self._console = console
        self._waiting = list(names)
        self._count = len(self._waiting)
        self._opens = opens

    def on_signal(self, change: Signal) -> None:
        if isinstance(change, IdentityRenewed) and change.error:
            self._console.say(f"skerry: {change.service} keeps its certificate: {change.error}")
        if isinstance(change, ProcessReplaced):
            self._replaced(change)
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

    def watched(self, server: ConsoleServer) -> None:
        self._console.say(f"skerry: the console is at {server.opening}")
        if self._opens:
            browser.open_page(server.opening, server.folder)

    def reloading(self, text: str) -> None:
        self._console.say(f"skerry: {text}")

    def _replaced(self, change: ProcessReplaced) -> None:
        if not change.error:
            self._console.say(f"skerry: {change.name} has changed (process {change.pid})")
            return
        why, *lines = change.error.splitlines()
        self._console.say(f"skerry: {change.name} stays as it was, for it does not start as it is now: {why}")
        for line in lines:
            self._console.say(f"skerry: {line}")

    def note(self, text: str) -> None:
        if text:
            self._console.say(f"skerry: {text}")


class JsonProgress:
    """Tells a program what happens: one JSON object a line."""

    def __init__(self, system: System, console: Console) -> None:
        self._system = system
        self._console = console

    def on_signal(self, change: Signal) -> None:
        if isinstance(change, ProcessChanged):
            self._say(event="process", name=change.name, state=change.state, pid=change.pid, reason=change.reason)
        elif isinstance(change, ProcessReplaced):
            self._say(event="replaced", name=change.name, pid=change.pid, before=change.before, error=change.error)
        elif isinstance(change, IdentityRenewed):
            told = {"service": change.service, "name": change.name, "ends": change.ends, "error": change.error}
            self._say(event="identity", **told)
        elif isinstance(change, AuthoritiesChanged):
            self._say(event="authorities", name=change.system, count=change.count)

    def system(self, state: str, url: str) -> None:
        self._say(event="system", name=self._system.name, state=state, url=url)

    def watched(self, server: ConsoleServer) -> None:
        self._say(event="console", url=server.url, open=server.opening)

    def reloading(self, text: str) -> None:
        self._say(event="reload", text=text)

    def _say(self, **values: object) -> None:
        self._console.say(json.dumps(values))


async def serve(
    supervisor: Supervisor,
    progress: TextProgress | JsonProgress,
    watching: ConsoleServer | None = None,
    reloader: Reloader | None = None,
) -> None:
    """Run a system until a signal or `skerry stop` ends it; a second signal kills it at once."""
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, supervisor.request_stop)
    progress.system("starting", "")
    async with supervisor:
        if not supervisor.is_stopping:
            progress.system("ready", supervisor.url)
            if watching is not None:
                progress.watched(watching)
        reloading = asyncio.create_task(_reload(reloader, progress)) if reloader is not None else None
        await supervisor.wait()
        progress.system("stopping", supervisor.url)
        if reloading is not None:
            reloading.cancel()
            await asyncio.wait({reloading})
    progress.system("stopped", "")


async def _reload(reloader: Reloader, progress: TextProgress | JsonProgress) -> None:
    try:
        await reloader.run()
    except (OSError, SkerryError) as error:  # the system runs on without it
        progress.reloading(f"changes are not noticed any more: {error}")
