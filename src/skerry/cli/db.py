"""`skerry db`: what an administrator does for the services' databases."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import click

from skerry.cli import migrations, options
from skerry.deploy import Created, Granted, SecretFolder, create_databases
from skerry.topology import FILE_NAME, load

_PASSWORDS = {"created": "new password", "kept": "password kept", "rotated": "password replaced"}


@click.group()
def db() -> None:
    """Give services databases of their own, and bring their tables up to date.

    Each command takes -o [text|json].
    """


db.add_command(migrations.migrate)
db.add_command(migrations.status)


@db.command()
@click.option(
    "--url",
    required=True,
    envvar="SKERRY_ADMIN_URL",
    help="The server, for a role that may create roles and databases: postgresql://USER:PASSWORD@HOST:PORT/postgres. "
    "[env: SKERRY_ADMIN_URL, which other users cannot see]",
)
@click.option(
    "--file", type=click.Path(path_type=Path), help=f"The system file. [default: {FILE_NAME} here or further up]"
)
@click.option(
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("secrets"),
    show_default=True,
    help="The folder for the addresses: NAME.env for each service.",
)
@click.option("--rotate", is_flag=True, help="Replace the passwords that are there.")
@click.option(
    "-o", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="The output format."
)
def create(url: str, file: Path | None, folder: Path, form: str, *, rotate: bool) -> None:
    """Create a role and a database on a PostgreSQL server for every service that has a database.

    Each role owns its database, and no other service's role can connect to it. The services' addresses, with passwords, go
    into files that only you can read, and are never printed. May be run again: what is there stays.
    """
    system = load(file or options.system_file(""))
    created = asyncio.run(create_databases(url, system, SecretFolder(folder), rotate=rotate))
    for warning in created.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(_json(created, folder) if form == "json" else _text(created, folder))


def _json(created: Created, folder: Path) -> str:
    services = [asdict(granted) for granted in created.granted]
    return json.dumps({"services": services, "folder": str(folder), "warnings": created.warnings})


def _text(created: Created, folder: Path) -> str:
    width = max(len(granted.service) for granted in created.granted)
    lines = [f"{granted.service.ljust(width)}  {_line(granted)}" for granted in created.granted]
    return "\n".join([*lines, f"addresses: {folder}/NAME.env; use them with `skerry run --env {folder}`"])


def _line(granted: Granted) -> str:
    state = "created" if granted.database_created else "was there"
    return f"role and database {granted.role}: {_PASSWORDS[granted.password]}, database {state}"
