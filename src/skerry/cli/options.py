"""Options that several verbs share, and how they find the running system."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import click

from skerry.deploy import Entry, Mesh, NatsServer, PostgresServer, SecretFolder, Server, find_running
from skerry.envoy.mesh import LEAF_LIFETIME, LONGEST, SHORTEST
from skerry.errors import ConfigurationError
from skerry.topology import ENGINES, FILE_NAME, System, find

DATABASES: Final[dict[str, type[Server] | None]] = {"sqlite": None, "postgresql": PostgresServer}
BROKERS: Final[dict[str, type[Server] | None]] = {"sqlite": None, "nats": NatsServer}
"""Words and the servers that are run for them."""

F = TypeVar("F", bound=Callable[..., Any])


class Number(click.FloatRange):
    """A number within bounds; unlike click's own ranges it refuses what is no number, or has no end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number, or an error of usage."""
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return found


output: Callable[[F], F] = click.option(
    "-o", "output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="The output format."
)


def which_system(command: F) -> F:
    """Options `--data` and `--file`, which tell one running system from another."""
    file = click.option("--file", type=click.Path(path_type=Path), help="The system file of the running system.")
    data = click.option("--data", type=click.Path(path_type=Path), help="The data folder of the running system.")
    return data(file(command))


@dataclass(frozen=True, slots=True)
class Where:
    """Which services' databases are meant; see `which_databases`."""

    data: Path | None = None
    file: Path | None = None
    env: Path | None = None


def which_databases(command: F) -> F:
    """Options `--file`, `--data` and `--env`, which lead to the services' databases: the command gets `where`."""

    @wraps(command)
    def told(*, data: Path | None, file: Path | None, env: Path | None, **others: Any) -> Any:
        return command(where=Where(data, file, env), **others)

    path = click.Path(path_type=Path)
    found: Any = told
    for option in (
        click.option("--env", type=path, help="The folder of files NAME.env that `skerry run` was given."),
        click.option("--data", type=path, help="The data folder. [default: that of the running system]"),
        click.option("--file", type=path, help=f"The system file. [default: {FILE_NAME} here or further up]"),
    ):
        found = option(found)
    return cast("F", found)


def limit(what: str) -> Callable[[F], F]:
    """Option `--limit`."""
    return click.option(
        "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help=f"At most so many {what}."
    )


def system_file(otherwise: str) -> Path:
    """The system file of the current folder. Raises `ConfigurationError`, which ends with what else to do."""
    file = find(Path.cwd())
    if file is None:
        raise ConfigurationError(f"there is no {FILE_NAME} in this folder or above it: name one with --file{otherwise}")
    return file


gateway_engine: Callable[[F], F] = click.option(
    "--engine", type=click.Choice(ENGINES), help="Who serves the gateway's routes. [default: as in the system file]"
)


def mesh(command: F) -> F:
    """Options `--mesh`, `--certificates` and `--lifetime`: the command gets `mesh`, None without the first."""

    @wraps(command)
    def told(*, mesh: bool, certificates: Path | None, lifetime: float | None, **others: Any) -> Any:
        if not mesh and (certificates or lifetime):
            raise click.UsageError("--certificates and --lifetime are for --mesh")
        if certificates and lifetime:
            raise click.UsageError("--lifetime is for certificates that are made here, not for those in --certificates")
        return command(
            mesh=Mesh(certificates=certificates, lifetime=lifetime or LEAF_LIFETIME) if mesh else None, **others
        )

    found: Any = told
    for option in (
        certificate_lifetime,
        click.option(
            "--certificates",
            type=click.Path(path_type=Path),
            help="With --mesh: a folder with NAME.pem and NAME.key of each service, and ca.crt. "
            "[default: a development authority in the data folder]",
        ),
        click.option(
            "--mesh", is_flag=True, help="Have services call each other by mutual TLS only, through Envoy sidecars."
        ),
    ):
        found = option(found)
    return cast("F", found)


certificate_lifetime: Callable[[F], F] = click.option(
    "--lifetime",
    type=Number(SHORTEST, LONGEST),
    help=f"Seconds that a certificate is valid. [default: {LEAF_LIFETIME:g}]",
)


def with_engine(system: System, engine: str | None) -> System:
    """The system with that engine for its gateway; None leaves it as it is."""
    if engine is None or system.gateway is None:
        return system
    return replace(system, gateway=replace(system.gateway, engine=engine))


def engines(command: F) -> F:
    """Options `--database` and `--broker`; see `servers_for`."""
    broker = click.option(
        "--broker",
        type=click.Choice(list(BROKERS)),
        help="Where events go: files, or a NATS server that is started for them. [default: as the system file says]",
    )
    database = click.option(
        "--database",
        type=click.Choice(list(DATABASES)),
        help="What services keep their data in: files, or a PostgreSQL server that is started for them, with a role and a "
        "database for each. [default: as the system file says]",
    )
    return database(broker(command))


def servers_for(database: str | None, broker: str | None) -> list[Server]:
    """The servers to run for the chosen engines."""
    found = [DATABASES[database] if database else None, BROKERS[broker] if broker else None]
    return [server() for server in found if server is not None]


def environment_for(
    system: System, database: str | None, broker: str | None, folder: Path | None = None
) -> dict[str, dict[str, str]]:
    """The variables of each service: those in its file in `folder`, and the embedded engines where these were chosen."""
    if folder is not None:
        _demand_files(system, folder)
    found: dict[str, dict[str, str]] = {}
    for name, service in system.services.items():
        own = SecretFolder(folder).read(name) if folder is not None else {}
        if database == "sqlite" and service.database and not service.database.startswith("sqlite:"):
            own["SKERRY_DATABASE"] = f"sqlite:///{name}.db"
        if broker == "sqlite" and system.events and not system.events.startswith("sqlite:"):
            own["SKERRY_EVENTS"] = "sqlite:///events/"
        found[name] = own
    return found


def _demand_files(system: System, folder: Path) -> None:
    """Raise `ConfigurationError` when the folder has no file NAME.env, or one that no service would read."""
    files = sorted(folder.glob("[!.]*.env"))
    if not files:
        raise ConfigurationError(f"there is no folder {folder} with files NAME.env: write one with `skerry db create`")
    strange = [path.name for path in files if path.stem not in system.services]
    if strange:
        what = f"holds {', '.join(strange)}, but {system.name} has no such service: it has {', '.join(system.services)}"
        raise ConfigurationError(what, source=str(folder))


def running_system(data: Path | None, file: Path | None) -> Entry:
    """The running system the options mean; the system file of the current folder decides between several."""
    return find_running(data, file, near=find(Path.cwd()))
