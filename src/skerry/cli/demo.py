"""`skerry demo`: run the example shop, break it on purpose, and audit it."""

from __future__ import annotations

import asyncio
import importlib
import json
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

import click

from skerry.cli import browser, options
from skerry.cli.watching import console_for
from skerry.clock import SYSTEM
from skerry.deploy import ConsoleServer, LogFiles, Mesh, Supervisor
from skerry.errors import ConfigurationError, MissingExtra
from skerry.store.analytics import connect
from skerry.topology import load

ANALYTICS: Final = {"chdb": "chdb:///analytics/"}
"""Words and the address of the column store they stand for."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130


@click.command()
@click.option("--orders", type=click.IntRange(1, 100_000), default=300, show_default=True, help="How many orders.")
@click.option("--seed", type=int, default=1, show_default=True, help="Decides the mix of orders.")
@click.option("--rate", type=options.Number(0.1, 1000), default=15.0, show_default=True, help="Orders a second.")
@click.option("--data", type=click.Path(path_type=Path), help="Where the shop keeps its data. [default: a new folder]")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The gateway's port. [default: a free one]")
@click.option("--keep", is_flag=True, help="Leave the shop running afterwards, until Ctrl-C.")
@options.engines
@options.gateway_engine
@options.mesh
@click.option(
    "--analytics",
    type=click.Choice(list(ANALYTICS)),
    help="Also keep each sale in a column store: ClickHouse inside the analytics service. [default: no]",
)
@click.option("--console", "watched", is_flag=True, help="Also run the console, and open it where there is a browser.")
@options.output
def demo(
    orders: int,
    seed: int,
    rate: float,
    data: Path | None,
    port: int,
    database: str | None,
    broker: str | None,
    analytics: str | None,
    engine: str | None,
    mesh: Mesh | None,
    *,
    keep: bool,
    watched: bool,
    output: str,
) -> None:
    """Start the shop, place orders, kill payment and order meanwhile, then audit: does everything add up?

    Servers that it works on are killed, too, and start again.

    Ends with 0 only when every figure is exact.
    """
    shop = _shop()
    folder = (data or Path(tempfile.mkdtemp(prefix="skerry-demo-"))).resolve()
    if any((folder / name).exists() for name in ("order.db", "events", "postgresql", "nats")):
        raise ConfigurationError(f"{folder} holds the data of an earlier shop; name a new folder with --data")
    columns = ANALYTICS[analytics] if analytics else None
    if columns:
        connect(columns, owner="analytics", data=folder)  # says now what is not installed
    with ExitStack() as stack:
        logs = stack.enter_context(closing(LogFiles(folder / "logs")))
        show = stack.enter_context(_Screen(quiet=output == "json"))
        system, servers = load(shop / "skerry.toml"), options.servers_for(database, broker)
        system = options.with_engine(system, engine)
        env = {"analytics": {"SKERRY_ANALYTICS": columns}} if columns else {}
        console, _ = console_for(system, wanted=watched)
        all_servers = [*servers, *([console] if console else [])]
        supervisor = Supervisor(system, data=folder, port=port, output=logs, servers=all_servers, env=env, mesh=mesh)
        job = {"orders": orders, "seed": seed, "rate": rate, "tell": show.tell, "servers": [s.name for s in servers]}
        job["analytics"] = columns
        code = asyncio.run(_serve(supervisor, shop, job, keep=keep, output=output, show=show, console=console))
    sys.exit(code)


def _shop() -> Path:
    """The shop in the wheel, or in the repository around this package."""
    package = Path(__file__).parents[1]
    for folder in (package / "_examples" / "shop", package.parents[1] / "examples" / "shop"):
        if (folder / "skerry.toml").is_file():
            return folder
    raise ConfigurationError("the example shop is not part of this installation")


async def _serve(
    supervisor: Supervisor,
    shop: Path,
    job: dict[str, Any],
    *,
    keep: bool,
    output: str,
    show: _Screen,
    console: ConsoleServer | None,
) -> int:
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    assert main is not None
    working = True

    def interrupt() -> None:
        supervisor.request_stop()
        if working:
            main.cancel()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, interrupt)
    sys.path.insert(0, str(shop))
    try:
        run: Callable[..., Any] = importlib.import_module("demo").run
    except ModuleNotFoundError as error:
        raise MissingExtra("The shop", "demo") from error
    begin = SYSTEM.monotonic()
    try:
        servers = "".join(f"{name}, " for name in job["servers"])
        show.tell(f"starting {servers}seven services and their gateway", 0, 0)
        async with supervisor:
            if console is not None:
                show.watched(console)
            where = {"databases": supervisor.addresses.databases, "events": supervisor.addresses.events}
            report = await run(supervisor, supervisor.system, url=supervisor.url, data=supervisor.data, **where, **job)
            working = False
            show.done()
            if output == "json":
                click.echo(json.dumps(report.as_json()))
            else:
                show.report(report, SYSTEM.monotonic() - begin, supervisor.data)
            if keep:
                click.echo(f"The shop runs at {supervisor.url} until Ctrl-C.", err=output == "json")
                await supervisor.wait()
    except asyncio.CancelledError:
        show.done()
        click.echo("stopped before the end: nothing was audited", err=True)
        return INTERRUPTED
    return 0 if report.ok else 1


class _Screen:
    """A progress bar while it works, a table at the end; neither in the way of `-o json`."""

    def __init__(self, *, quiet: bool) -> None:
        try:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                SpinnerColumn,
                TextColumn,
                TimeElapsedColumn,
            )
        except ModuleNotFoundError as error:
            raise MissingExtra("The demo", "demo") from error

        self._console = Console(stderr=quiet)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=self._console, transient=True)
        self._task = self._progress.add_task("starting", total=None)

    def __enter__(self) -> _Screen:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def tell(self, what: str, done: int, total: int) -> None:
        """Show what is going on."""
        self._progress.update(self._task, description=what, completed=done, total=total or None)

    def watched(self, server: ConsoleServer) -> None:
        """Say where the console is, on standard error beside `-o json`, and open it where somebody can look at it."""
        self._progress.console.print(f"the console is at {server.opening}", soft_wrap=True, highlight=False)
        if self._console.is_terminal and browser.is_there():
            browser.open_page(server.opening, server.folder)

    def done(self) -> None:
        """Take the bar away."""
        self._progress.stop()

    def report(self, report: Any, seconds: float, data: Path) -> None:
        """Show a person what was done to the shop and what became of it."""
        from rich.table import Table

        audit = report.audit
        statuses = ", ".join(f"{count} {status}" for status, count in audit.statuses.items())
        self._console.print(f"\n[bold]{audit.placed} orders placed:[/] {statuses}")
        for fault in report.faults:
            sagas = "1 saga was open" if fault.open_sagas == 1 else f"{fault.open_sagas} sagas were open"
            self._console.print(f"  at {fault.at:5.1f} s  {fault.what}; {sagas}")
        table = Table(title="Does it add up?", title_justify="left")
        table.add_column("what the books say")
        table.add_column("expected", justify="right")
        table.add_column("actual", justify="right")
        table.add_column("")
        for text, line in (
            ("money taken = confirmed orders (cents)", audit.money),
            ("goods out = contents of parcels", audit.stock),
            ("parcels = confirmed orders", audit.parcels),
            ("e-mails = confirmed orders", audit.emails),
            ("statistics = confirmed orders (cents)", audit.analytics),
            ("order histories = changes of orders", audit.history),
            ("facts in ClickHouse = confirmed orders (cents)", audit.facts),
        ):
            if line is None:
                continue
            table.add_row(text, f"{line.expected:,}", f"{line.actual:,}", _mark(ok=line.ok))
        for text, count in (
            ("events lost", audit.events_lost),
            ("events handled twice", audit.events_twice),
            ("orders that came out wrong", audit.wrong),
        ):
            table.add_row(text, "0", f"{count:,}", _mark(ok=not count))
        self._console.print(table)
        verdict = (
            "[green]Everything adds up: the faults cost no order.[/]" if report.ok else "[red]It does not add up.[/]"
        )
        self._console.print(f"{verdict} {seconds:.0f} s; data and logs are in {data}\n", soft_wrap=True)


def _mark(*, ok: bool) -> str:
    return "[green]exact[/]" if ok else "[red]WRONG[/]"
