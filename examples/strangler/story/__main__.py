"""`make strangle`: move two capabilities out of the monolith under load, and see that nobody noticed."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from faults import FAULTS
from skerry.errors import ConfigurationError
from skerry.topology import ENGINES

from .ramps import Unfinished
from .telling import Told, tell_all


@click.command()
@click.option(
    "--engine", type=click.Choice(ENGINES), default="embedded", show_default=True, help="Who serves the routes."
)
@click.option("--fault", type=click.Choice(list(FAULTS)), help="Another wrong extraction than the usual two.")
@click.option("--seed", type=int, default=1, show_default=True, help="Decides the mix of orders.")
@click.option("--data", type=click.Path(path_type=Path), help="An empty folder to work in. [default: a new one]")
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def main(engine: str, fault: str | None, seed: int, data: Path | None, output: str) -> None:
    """Extract the catalogue and the orders, each wrongly first, then rightly; hand over their writes; audit.

    Ends with 0 only when both wrong ones went back by themselves, both right ones went all the way, no request failed that was
    not made to fail, and every order, cent and parcel is where it has to be.
    """
    folder = (data or Path(tempfile.mkdtemp(prefix="skerry-strangle-"))).resolve()
    if (folder / "shop.db").exists():
        raise click.UsageError(f"{folder} holds an earlier story; name a new folder with --data")

    def tell(what: str) -> None:
        click.echo(f"  {what}", err=True)

    try:
        told = asyncio.run(tell_all(folder, engine=engine, fault=fault, seed=seed, tell=tell))
    except (Unfinished, ConfigurationError) as error:
        click.echo(f"It did not come to its end: {error}. Logs are in {folder / 'logs'}", err=True)
        sys.exit(1)
    if output == "json":
        click.echo(json.dumps({**told.as_json(), "data": str(folder)}))
    else:
        _show(told, folder)
    sys.exit(0 if told.ok else 1)


def _show(told: Told, folder: Path) -> None:
    for act in told.acts:
        click.echo(f"\n{act.name}  ({act.seconds:g} s)")
        for decision in act.decisions:
            click.echo(
                f"  {decision['verdict']:<10} {decision['before']:g} % -> {decision['after']:g} %  {decision['reason']}"
            )
        if not act.decisions:
            click.echo(f"  {act.end}")
        if act.paths:
            click.echo(f"  answers differ at {', '.join(act.paths[:5])}")
        if act.effective is not None:
            click.echo(f"  in effect after {1000 * act.effective:.0f} ms")
        click.echo(f"  {act.requests:,} requests, {act.failed} failed; {act.spoilt} answers were spoilt on purpose")
        for wrong in act.wrong:
            click.echo(f"  WRONG: {wrong}")
    click.echo("\nDoes it add up?")
    shown: dict[str, Any] = told.as_json()
    for line in shown["audit"]:
        click.echo(f"  {'exact' if line['ok'] else 'WRONG'}  {line['what']}")
        for name in line.keys() - {"what", "ok"}:
            click.echo(f"         {name}: {line[name]}")
    own = told.failed - told.injected
    click.echo(f"\n{told.orders:,} orders and {told.requests:,} requests; {own} failed that were not made to.")
    click.echo(
        f"{'All of it is true.' if told.ok else 'It is NOT all true.'} {told.seconds:.0f} s; pages, data and logs: {folder}"
    )


if __name__ == "__main__":
    main()
