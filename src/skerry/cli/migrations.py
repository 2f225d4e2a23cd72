"""`skerry db migrate` and `skerry db status`: the tables of services, before and after a deploy."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from skerry import signals
from skerry.cli import options
from skerry.cli.databases import Place, demand_tables, opened, places, system_of
from skerry.cli.text import columns, count
from skerry.deploy.databases import VARIABLE
from skerry.errors import ConfigurationError, SkerryError
from skerry.signals import MigrationApplied, MigrationBegun, MigrationDelayed, Signal
from skerry.store import Database, Migration, Schema, SchemaStatus, schema_status
from skerry.store import migrate as apply
from skerry.store.migrations import WAIT
from skerry.store.sqlfiles import read
from skerry.topology.inquiry import AT_ONCE, TIMEOUT, inquire, surroundings

HEAD: Final = ("service", "component", "file", "when", "state")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A service's database, and whose tables are in it."""

    place: Place
    schemas: tuple[Schema, ...]


@dataclass(slots=True)
class Done:
    """What happened to one database. `failure` is empty when nothing went wrong."""

    service: str
    applied: list[tuple[str, str]] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    failure: str = ""


@click.command(short_help="Apply the migrations for before or after a deploy.")
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.option(
    "--after/--before",
    default=False,
    help="--before, the default: what the code that runs now can live with. --after: all the rest too, once no process of the "
    "release before runs any more.",
)
@click.option(
    "--wait",
    type=options.Number(0.1, 86400),
    default=WAIT,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait while another process migrates, and then for the locks of each file.",
)
@options.which_databases
@options.output
def migrate(services: tuple[str, ...], wait: float, where: options.Where, output: str, *, after: bool) -> None:
    """Apply skerry's own and the services' migrations that were not applied yet, each file once, in a transaction of its own.

    Of every service that has a database when none is named. SERVICE is a name in the system file; or MODULE:ATTRIBUTE, then
    with its address in SKERRY_DATABASE and without a system file. May be run again, and by several at a time.
    """
    wanted = _wanted(services, where)
    done = asyncio.run(_migrate_each(wanted, after=after, wait=wait))
    if output == "json":
        click.echo(json.dumps({"services": [_json(each) for each in done]}, indent=2))
    else:
        width = max(len(each.service) for each in done)
        for each in done:
            click.echo(f"{each.service.ljust(width)}  {_line(each)}")
    sys.exit(1 if any(each.failure for each in done) else 0)


@click.command(short_help="Show what was applied and what is to come.")
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@options.which_databases
@options.output
def status(services: tuple[str, ...], where: options.Where, output: str) -> None:
    """Show which migrations were applied and which are to come, before or after the deploy. Applies nothing.

    SERVICE is as for `migrate`. Exit status 1 when a database cannot be read, or an applied file was changed.
    """
    wanted = _wanted(services, where)
    found, complete = asyncio.run(_look_at_each(wanted))
    if output == "json":
        click.echo(json.dumps([_listed(name, each) for name, schemas in found for each in schemas], indent=2))
    elif found:
        click.echo(_text(found))
    changed = any(each.changed() for _, schemas in found for each in schemas)
    sys.exit(0 if complete and not changed else 1)


# --- which services, and whose tables


def _wanted(services: Sequence[str], where: options.Where) -> list[Wanted]:
    """The services' modules are imported in processes of their own, to ask where their migrations are."""
    if any(":" in name for name in services):
        return [_referenced(services, where)]
    found = places(services, where)
    system, _ = system_of(where)
    click.echo(f"importing {count(len(found), 'service')} of {system.name}", err=True)

    def ask(place: Place) -> Wanted | str:
        spec = system.services[place.service]
        environ = {**surroundings(system, spec), **place.variables}
        try:
            return Wanted(place, _ask(spec.app, system.folder, environ)[1])
        except ConfigurationError as error:
            return f"{place.service}: {error}"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(ask, found))
    if errors := [answer for answer in answers if isinstance(answer, str)]:
        raise ConfigurationError("\n  ".join(["nothing was migrated, for a service cannot be asked:", *errors]))
    return [answer for answer in answers if isinstance(answer, Wanted)]


def _referenced(services: Sequence[str], where: options.Where) -> Wanted:
    url = os.environ.get(VARIABLE, "")
    if len(services) > 1 or not url:
        raise ConfigurationError(f"MODULE:ATTRIBUTE stands alone, and its database's address in {VARIABLE}")
    name, schemas = _ask(services[0], Path.cwd(), {})
    folder = where.data or (Path(os.environ["SKERRY_DATA"]) if os.environ.get("SKERRY_DATA") else None)
    return Wanted(Place(service=name, url=url, data=folder and folder.resolve()), schemas)


def _ask(app: str, folder: Path, environ: Mapping[str, str]) -> tuple[str, tuple[Schema, ...]]:
    answer = inquire("skerry.service.describe", [app], folder=folder, environ=environ, timeout=TIMEOUT, what=app)
    if "error" in answer:
        raise ConfigurationError(answer["error"])
    return answer["service"], tuple(Schema(component, Path(path)) for component, path in answer["schemas"])


# --- migrate


async def _migrate_each(wanted: Sequence[Wanted], *, after: bool, wait: float) -> list[Done]:
    """One database after the other; trouble with one does not keep the others from being done."""
    done: list[Done] = []
    for each in wanted:
        result = Done(each.place.service)
        done.append(result)
        try:
            async with opened(each.place, needs=None) as database:
                with _told(result):
                    await _migrate(database, each.schemas, result, after=after, wait=wait)
        except SkerryError as error:
            result.failure = str(error)
            click.echo(f"error: {result.service}: {error}", err=True)
    return done


async def _migrate(database: Database, schemas: Sequence[Schema], done: Done, *, after: bool, wait: float) -> None:
    for schema in schemas:
        seen = await schema_status(database, schema.component, schema.folder)
        if not after and not seen.is_new:
            for each in seen.pending("before"):
                _warn(done.service, each)
        await apply(database, schema.component, schema.folder, after=after, wait=wait)
        seen = await schema_status(database, schema.component, schema.folder)
        done.left += [(schema.component, each.file) for each in seen.pending("after")]


def _warn(service: str, migration: Migration) -> None:
    if migration.breaks:
        click.echo(
            f"warning: {service}: {migration.file} may break the code that runs now: {', '.join(migration.breaks)}",
            err=True,
        )


@contextmanager
def _told(done: Done) -> Iterator[None]:
    """Progress goes to standard error, and what was applied into `done`."""
    files: dict[tuple[str, str], str] = {}

    def hear(signal: Signal) -> None:
        if isinstance(signal, MigrationBegun):
            files[signal.component, signal.version] = signal.file
            click.echo(f"{done.service}: {signal.component} {signal.file}", err=True)
        elif isinstance(signal, MigrationDelayed):
            file = files[signal.component, signal.version]
            click.echo(f"{done.service}: {file} waits for its locks; next try in {signal.delay:g} s", err=True)
        elif isinstance(signal, MigrationApplied):
            done.applied.append((signal.component, files[signal.component, signal.version]))

    unsubscribe: Callable[[], None] = signals.subscribe(hear)
    try:
        yield
    finally:
        unsubscribe()


def _line(done: Done) -> str:
    applied = f"{count(len(done.applied), 'file')} applied" if done.applied else "nothing to apply"
    if done.failure:
        return f"failed, {applied}" if done.applied else "failed"
    return f"{applied}, {len(done.left)} left for after the deploy" if done.left else applied


def _json(done: Done) -> dict[str, Any]:
    named = {
        key: [{"component": component, "file": file} for component, file in files]
        for key, files in (("applied", done.applied), ("left", done.left))
    }
    return {"service": done.service, **named, "error": done.failure or None}


# --- status


async def _look_at_each(wanted: Sequence[Wanted]) -> tuple[list[tuple[str, list[SchemaStatus]]], bool]:
    found: list[tuple[str, list[SchemaStatus]]] = []
    for each in wanted:
        try:
            found.append((each.place.service, await _look(each)))
        except SkerryError as error:
            click.echo(f"error: {each.place.service}: {error}", err=True)
    return found, len(found) == len(wanted)


async def _look(wanted: Wanted) -> list[SchemaStatus]:
    file = wanted.place.file
    if file is not None and not file.is_file():  # opening it would make it
        return [SchemaStatus.of(each.component, read(each.folder), ()) for each in wanted.schemas]
    if file is not None:
        demand_tables(file)
    async with opened(wanted.place, needs=None) as database:
        return [await schema_status(database, each.component, each.folder) for each in wanted.schemas]


def _states(status: SchemaStatus) -> Iterator[tuple[str, str, str, float | None]]:
    """File, when, state and time of each, in their order; also the versions that only the database knows: they are newer."""
    files = {each.version: each for each in status.files}
    changed = status.changed()
    for version in sorted(files.keys() | status.applied.keys()):
        at = status.applied[version][1] if version in status.applied else None
        if version not in files:
            yield version, "", "newer", at
            continue
        state = "changed" if files[version] in changed else "pending" if at is None else "applied"
        yield files[version].file, files[version].phase, state, at


def _listed(service: str, status: SchemaStatus) -> dict[str, Any]:
    listed = [
        {"file": file, "when": when or None, "state": state, "applied_at": at}
        for file, when, state, at in _states(status)
    ]
    return {"service": service, "component": status.component, "files": listed}


def _text(found: Sequence[tuple[str, list[SchemaStatus]]]) -> str:
    width = max(len(name) for name, _ in found)
    lines, rows = [], []
    for name, schemas in found:
        before, after = (sum(len(each.pending(phase)) for each in schemas) for phase in ("before", "after"))
        to_come = f"to come: {before} before the deploy, {after} after it" if before or after else "nothing to come"
        lines.append(f"{name.ljust(width)}  {to_come}")
        for each in schemas:
            rows += [(name, each.component, *row[:3]) for row in _states(each) if row[2] != "applied"]
    return "\n".join([*lines, "", columns(HEAD, rows)] if rows else lines)
