"""`skerry release`: let a held process start again."""

from __future__ import annotations

import json
from pathlib import Path

import click

from skerry.cli import options
from skerry.deploy import ask


@click.command()
@click.argument("name")
@options.which_system
@options.output
def release(name: str, data: Path | None, file: Path | None, output: str) -> None:
    """Let the held process NAME start again."""
    entry = options.running_system(data, file)
    process = ask(Path(entry.socket), "release", name)["process"]
    if output == "json":
        click.echo(json.dumps(process))
    else:
        click.echo(f"{name} may start again; `skerry ps` shows when it is ready")
