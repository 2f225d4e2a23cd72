"""`skerry projection`: which projections there are, and making one anew."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import click

from skerry.cli import options
from skerry.cli.databases import Place, ask_each, opened, places
from skerry.cli.text import columns, count
from skerry.clock import SYSTEM
from skerry.errors import DeployError
from skerry.events import Projections, ProjectionStatus
from skerry.store import Database

HEAD: Final = ("service", "name", "version", "live", "building")
POLL: Final = 0.25


@click.group()
def projection() -> None:
    """See which projections there are, have one made anew, and drop versions that nobody reads any more.

    Each command takes -o [text|json].
    """


@projection.command("list")
@click.option("--service", "services", multiple=True, metavar="NAME", help="Only this service; may be repeated.")
@options.limit("projections")
@options.which_databases
@options.output
def list_(services: tuple[str, ...], limit: int, where: options.Where, output: str) -> None:
    """List projections: which generation of the tables is read, and which is being built beside it, 0 for none."""
    answers, complete = asyncio.run(ask_each(places(services, where), _look))
    found = [(name, status) for name, statuses in answers for status in statuses]
    shown = found[:limit]
    if output == "json":
        listed = [{"service": name, **asdict(status)} for name, status in shown]
        click.echo(json.dumps({"projections": listed, "total": len(found)}, indent=2))
    elif answers:
        rows = [(name, each.name, each.version, each.live, each.building) for name, each in shown]
        first = count(len(found), "projection") if len(found) <= limit else f"{limit} of {len(found)} projections"
        click.echo(f"{first}\n\n{columns(HEAD, rows)}" if rows else "no projections")
    sys.exit(0 if complete else 1)


@projection.command()
@click.argument("service")
@click.argument("name")
@click.option("--version", type=click.IntRange(min=1), help="Of which version. [default: the highest there is]")
@click.option("--no-wait", is_flag=True, help="Return at once; `skerry projection list` shows when it is done.")
@click.option(
    "--timeout",
    type=options.Number(0, 86400),
    default=600.0,
    show_default=True,
    help="Seconds to wait until it is live.",
)
@options.which_databases
@options.output
def rebuild(
    service: str, name: str, version: int | None, timeout: float, where: options.Where, output: str, *, no_wait: bool
) -> None:
    """Have the projection NAME of SERVICE made anew, beside the one that is read until the new one is complete.

    The running service does the work, and goes on with it when this command is interrupted.
    """
    place = places([service], where)[0]
    status, begun = asyncio.run(_rebuild(place, name, version, within=None if no_wait else timeout))
    if output == "json":
        click.echo(json.dumps({"service": service, **asdict(status), "begun": begun}))
    elif status.building:
        click.echo(f"{_name(status)}: generation {status.building} is being built")
    else:
        click.echo(f"{_name(status)}: generation {status.live} is live")


@projection.command()
@click.argument("service")
@click.argument("name")
@click.option("--version", type=click.IntRange(min=1), required=True, help="Which version.")
@click.option("--yes", is_flag=True, help="Do not ask; needed when there is nobody to ask.")
@options.which_databases
@options.output
def drop(service: str, name: str, version: int, where: options.Where, output: str, *, yes: bool) -> None:
    """Drop the tables of an old version of the projection NAME of SERVICE, once no process of that release runs.

    Should such a process start again, it makes them anew from the start of the log.
    """
    place = places([service], where)[0]
    status = asyncio.run(_find(place, name, version))
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("nobody is there to ask: say --yes to drop without being asked")
        click.confirm(f"Drop the tables of {_name(status)} in the database of {service}?", abort=True, err=True)

    async def give_up() -> list[str]:
        async with opened(place) as database:
            return await Projections(database).drop(name, version)

    tables = asyncio.run(give_up())
    if output == "json":
        click.echo(json.dumps({"service": service, "name": name, "version": version, "tables": tables}))
    else:
        click.echo(f"{_name(status)}: dropped {', '.join(tables) or 'nothing: it had no tables'}")


async def _look(place: Place, database: Database) -> tuple[str, Sequence[ProjectionStatus]]:
    return place.service, await Projections(database).list()


async def _rebuild(
    place: Place, name: str, version: int | None, *, within: float | None
) -> tuple[ProjectionStatus, bool]:
    """What came of it, and whether it was begun here."""
    status = await _find(place, name, version)
    async with opened(place) as database:
        projections = Projections(database)
        begun = await projections.rebuild(name, status.version)
        status = await projections.find(name, status.version) or status
        if not begun:
            click.echo(f"{_name(status)}: generation {status.building} is being built already", err=True)
        if within is not None:
            status = await _wait(projections, status, within)
    return status, begun


async def _find(place: Place, name: str, version: int | None) -> ProjectionStatus:
    async with opened(place) as database:
        projections = Projections(database)
        status = await projections.find(name, version)
        if status is None:
            known = ", ".join(f"{each.name} {each.version}" for each in await projections.list()) or "none"
            which = name[:60] if version is None else f"{name[:60]} {version}"
            raise DeployError(f"{place.service} has no projection {which}: it has {known}")
        return status


async def _wait(projections: Projections, status: ProjectionStatus, within: float) -> ProjectionStatus:
    """Tell how it goes on, on standard error, until what is being built is live."""
    wanted, told = status.building, ""
    end = SYSTEM.monotonic() + within
    while status.live < wanted:
        if (now := _told(status, await projections.progress(status))) != told:
            click.echo(now, err=True)
            told = now
        if SYSTEM.monotonic() >= end:
            raise DeployError(
                f"{_name(status)}: generation {wanted} is not live after {within:g} s. It goes on as long as the service "
                "runs (`skerry ps`); look again with `skerry projection list`"
            )
        await SYSTEM.sleep(POLL)
        status = await projections.find(status.name, status.version) or status
    return status


def _told(status: ProjectionStatus, share: float | None) -> str:
    how_far = "" if share is None else f", {int(share * 10) * 10} % read"
    return f"{_name(status)}: building generation {status.building}{how_far}"


def _name(status: ProjectionStatus) -> str:
    return f"{status.name} {status.version}"
