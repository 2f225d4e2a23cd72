"""`skerry outbox`: what waits to be handed over, in each service."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

import click

from skerry.cli import options
from skerry.cli.databases import Place, ask_each, places
from skerry.cli.text import age, columns, count
from skerry.events import Backlog, backlog
from skerry.store import Database

HEAD = ("service", "waiting", "oldest", "delayed")


@click.command()
@click.option("--service", "services", multiple=True, metavar="NAME", help="Only this service; may be repeated.")
@options.limit("services")
@options.which_databases
@options.output
def outbox(services: tuple[str, ...], limit: int, where: options.Where, output: str) -> None:
    """Show how many committed events wait in each service to be handed over, how long the oldest has, and how many are
    delayed on purpose.
    """
    found, complete = asyncio.run(ask_each(places(services, where)[:limit], _look))
    if output == "json":
        click.echo(json.dumps([{"service": name, **asdict(each)} for name, each in found], indent=2))
    elif found:
        click.echo(_text(found))
    sys.exit(0 if complete else 1)


async def _look(place: Place, database: Database) -> tuple[str, Backlog]:
    return place.service, await backlog(database)


def _text(found: Sequence[tuple[str, Backlog]]) -> str:
    waiting = sum(each.waiting for _, each in found)
    rows = [(name, each.waiting, age(each.oldest), each.delayed) for name, each in found]
    return f"{count(waiting, 'event')} to hand over\n\n{columns(HEAD, rows)}"
