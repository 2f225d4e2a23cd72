"""`skerry console`: a running system, live, in a browser; and where it gets what it shows."""

from __future__ import annotations

import asyncio
import json
import webbrowser
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from skerry.cli import databases, options
from skerry.clock import SYSTEM
from skerry.deploy import Entry, ask, running
from skerry.deploy.servers import console as kept
from skerry.errors import ConfigurationError
from skerry.store import Database
from skerry.topology import System, find

if TYPE_CHECKING:
    from skerry.console import Sources

AUDIT: Final = "audit.jsonl"


@click.command(
    epilog="Example: skerry console --port 4318. Services are told where it is by SKERRY_OTLP and SKERRY_OTLP_TOKEN; "
    "skerry run --console does that for all of a system."
)
@options.which_system
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Where to listen on this machine. [default: a free port]"
)
@click.option("--open", "opens", is_flag=True, help="Also open it in the browser.")
@click.option("--quiet", is_flag=True, help="Print nothing, so that the token gets into no log.")
@options.output
def console(data: Path | None, file: Path | None, port: int, output: str, *, opens: bool, quiet: bool) -> None:
    """Show a system live until Ctrl-C: what fails, since when, what users notice and what is safe.

    It prints the address to open, which holds the token and is for nobody else. It answers on this machine only, and takes OTLP
    over HTTP from services in any language.
    """
    from skerry.console import new_token, serve

    entry, system, folder = _meant(data, file)
    token = kept.token(folder, SYSTEM) if folder is not None else new_token()

    def tell(url: str) -> None:
        opening = f"{url}/?token={token}"
        if quiet:
            return  # its output is kept in a log, where the token has no business
        if output == "json":
            click.echo(json.dumps({"url": url, "open": opening, "system": "" if system is None else system.name}))
        else:
            click.echo(f"the console is at {opening} until Ctrl-C")
            if entry is None:
                click.echo("no system runs here yet: it shows what is sent to it", err=True)
        if opens:
            webbrowser.open(opening)

    serve(_sources(system, folder), token=token, port=port, on_ready=tell)


def _meant(data: Path | None, file: Path | None) -> tuple[Entry | None, System | None, Path | None]:
    """The running system, the system as its file has it, and its data folder, as far as there are such."""
    if file is None and data is None and find(Path.cwd()) is None and not running():
        return None, None, None
    system, entry = databases.system_of(options.Where(data, file, None))
    folder = Path(entry.data) if entry is not None else data
    return entry, system, None if folder is None else folder.resolve()


def _sources(system: System | None, data: Path | None) -> Sources:
    from skerry.console import Sources

    if system is None:
        return Sources()
    looking = _Looking(system, data)
    known = data is not None
    return Sources(
        topology=system,
        processes=looking.processes if known else None,
        stores=tuple(name for name, spec in system.services.items() if spec.database is not None) if known else (),
        open_store=looking.store if known else None,
        strangler=looking.strangler if known else None,
        check=looking.check,
        audit=None if data is None else data / kept.HOME / AUDIT,
    )


class _Looking:
    """What the console cannot do itself, being below the supervisor and beside the analyser."""

    def __init__(self, system: System, data: Path | None) -> None:
        self._system = system
        self._data = data

    def processes(self) -> Sequence[Mapping[str, Any]]:
        entry = options.running_system(self._data, self._system.file)
        found: list[dict[str, Any]] = ask(Path(entry.socket), "ps")["processes"]
        return [process for process in found if process["name"] != kept.ConsoleServer.name]

    @asynccontextmanager
    async def store(self, service: str) -> AsyncIterator[Database]:
        where = options.Where(self._data, self._system.file, None)
        # a thread: where a server was started for the services, the supervisor is asked for it
        places = await asyncio.to_thread(databases.places, [], where)
        place = next((one for one in places if one.service == service), None)
        if place is None:
            raise ConfigurationError(f"the service {service[:60]} has no database")
        async with databases.opened(place) as database:
            yield database

    def strangler(self) -> Sequence[Mapping[str, Any]]:
        from skerry.cli.strangle import statuses
        from skerry.gateway.__main__ import STATE
        from skerry.gateway.strangler.ramps import FILE, Ramps

        folder = (self._data or Path()) / STATE
        if not (folder / FILE).is_file():
            return []
        with Ramps(folder) as ramps:
            return statuses(ramps)

    def check(self) -> Mapping[str, Any]:
        from skerry.cli.reading import installed

        installed()
        from skerry.architecture import report as reports
        from skerry.architecture.analyse import analyse, findings
        from skerry.architecture.rules import RULES
        from skerry.architecture.source import cache

        subject = analyse(self._system.folder, cache=cache.folder())
        return dict(reports.as_data(reports.report(subject, findings(subject), rules=RULES)))
