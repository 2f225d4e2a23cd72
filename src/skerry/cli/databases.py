"""The services' own databases, for verbs that look into them beside the running services.

Except for `skerry db migrate` nothing is created and no migration is run: a database that is not there, or not of this
release, is an error that says so.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import click

from skerry.cli import options
from skerry.deploy import Entry, PostgresServer, SecretFolder, ask, find_running, running
from skerry.deploy.databases import VARIABLE
from skerry.deploy.secrets import FOLDER
from skerry.errors import ConfigurationError, DeployError, SkerryError, StoreError
from skerry.events import Outbox
from skerry.store import Database, Schema, connect, resolve, schema_status
from skerry.store.migrations import SQL
from skerry.topology import FILE_NAME, System, find, load

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a service's database is, and the variables that the service gets. Both may hold a password, so they are not shown."""

    service: str
    url: str = field(repr=False)
    data: Path | None
    """The data folder, which relative addresses are resolved against; None when it is not known."""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def file(self) -> Path | None:
        """The file of an embedded database; None for another engine.

        Raises `ConfigurationError` when it is in a data folder that is not known, `DeployError` when that folder has the data of
        a server instead.
        """
        if not self.url.startswith("sqlite:"):
            return None
        if self.data is None and _is_relative(self.url):
            raise ConfigurationError(
                "it is in the data folder, and no system is running that would tell which: name it with --data"
            )
        path = resolve(self.url, self.data or Path())
        if not path.is_file() and self.data is not None and (self.data / PostgresServer.name).is_dir():
            raise DeployError(
                f"there is no file {path}; the PostgreSQL server of this folder can be asked only while the system runs"
            )
        return path


def places(services: Sequence[str], where: options.Where) -> list[Place]:
    """The databases of these services, of all that have one when none is named.

    An address is looked for as the service gets its own: from the server that the running system has started, from the folder
    of `--env`, from the system file. `SKERRY_DATABASE` counts where one service is named, and no `--env`.
    """
    data = where.data.resolve() if where.data is not None else None
    given = os.environ.get(VARIABLE, "")
    if given and len(services) == 1 and where.env is None:
        own = data or (Path(folder).resolve() if (folder := os.environ.get("SKERRY_DATA")) else None)
        if own is None and _is_relative(given) and (entry := _running(where)) is not None:
            own = Path(entry.data)
        return [Place(service=services[0], url=given, data=own)]
    system, entry = system_of(where)
    if entry is not None:
        data = Path(entry.data)
    found = []
    for name in services or [name for name, spec in system.services.items() if spec.database is not None]:
        spec = system.services.get(name)
        if spec is None:
            raise ConfigurationError(f"{system.name} has no service {name[:60]!r}: it has {', '.join(system.services)}")
        variables = _variables(name, entry, system, where.env)
        url = variables.get(VARIABLE) or spec.env.get(VARIABLE) or spec.database
        if not url:
            raise ConfigurationError(f"the service {name} has no database in {system.file}")
        found.append(Place(service=name, url=url, data=data, variables=variables))
    return found


@asynccontextmanager
async def opened(place: Place, *, needs: Schema | None = Outbox.schema) -> AsyncIterator[Database]:
    """The database, open, of the right owner and with the tables of this release that the verb needs; None for any or none."""
    of = f"the database of {place.service}"
    try:
        if (file := place.file) is not None and needs is not None:
            demand_tables(file)
        database = connect(place.url, owner=place.service, data=place.data or Path())
        await database.open()
    except ConfigurationError as error:
        raise ConfigurationError(f"{of} cannot be opened: {error}") from error
    except ValueError as error:  # whose text may repeat the address
        raise ConfigurationError(f"{of}: its address cannot be read") from error
    except SkerryError as error:
        hint = "; is its server up (`skerry ps`), and the address right?" if type(error) is StoreError else ""
        raise DeployError(f"{of} cannot be opened: {error}{hint}") from error
    try:
        if needs is not None:
            await _demand_migrated(database, of, needs)
        yield database
    finally:
        await database.close()


async def _demand_migrated(database: Database, of: str, needs: Schema) -> None:
    """A database that is ahead misses nothing, and what is for after the deploy may wait."""
    seen = await schema_status(database, needs.component, needs.folder)
    for lacking in seen.due(after=False):
        raise DeployError(
            f"{of} has tables of an older release of skerry, or none ({lacking.file} was not applied): "
            f"start the service with this release first, or `skerry db migrate {database.owner}`"
        )


async def ask_each(
    wanted: Sequence[Place],
    question: Callable[[Place, Database], Awaitable[T]],
    *,
    needs: Schema = Outbox.schema,
) -> tuple[list[T], bool]:
    """The answers of all databases that can be opened, and whether all could. What is wrong goes to standard error."""
    answers: list[T] = []
    for place in wanted:
        try:
            async with opened(place, needs=needs) as database:
                answers.append(await question(place, database))
        except SkerryError as error:
            click.echo(f"error: {error}", err=True)
    return answers, len(answers) == len(wanted)


def system_of(where: options.Where) -> tuple[System, Entry | None]:
    """The system that is meant, and its entry while it runs."""
    near = where.file or (find(Path.cwd()) if where.data is None else None)
    if near is not None:
        system = load(near)
        return system, _running(options.Where(where.data, system.file, None))
    entry = _running(where)
    if entry is not None:
        return load(Path(entry.file)), entry
    file = find(Path.cwd())
    if file is None:
        raise ConfigurationError(
            f"no system is running there, and there is no {FILE_NAME} in this folder or above it: name one with --file"
        )
    return load(file), None


def _running(where: options.Where) -> Entry | None:
    """None when it does not run; raises `DeployError` when several do."""
    data, file = (None if path is None else str(path.resolve()) for path in (where.data, where.file))
    if not any(data in {None, entry.data} and file in {None, entry.file} for entry in running()):
        return None
    return find_running(where.data, where.file)


def _variables(name: str, entry: Entry | None, system: System, env: Path | None) -> Mapping[str, str]:
    """What a started server gave the service, or what stands in its file in `env`."""
    if entry is not None and system.services.keys().isdisjoint({PostgresServer.name}):
        processes = ask(Path(entry.socket), "ps")["processes"]
        if any(process["name"] == PostgresServer.name for process in processes):
            return SecretFolder(Path(entry.data) / FOLDER).read(name)
    if env is None:
        return {}
    if not env.is_dir():
        raise ConfigurationError(f"there is no folder {env} with files NAME.env")
    return SecretFolder(env).read(name)


def _is_relative(url: str) -> bool:
    return url.startswith("sqlite:///") and not url.startswith("sqlite:////")


def demand_tables(path: Path) -> None:
    """Raise `DeployError` when no service has put its tables into the file: opening it would change it."""
    if not path.is_file():
        raise DeployError(f"there is no file {path}: was the service ever started with this data folder?")
    with suppress(sqlite3.Error):  # opening it explains that better
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            known = connection.execute(SQL["has_table"]).fetchone()
        if known is None:
            raise DeployError(f"{path} is not the database of a service: skerry's tables are not in it")
