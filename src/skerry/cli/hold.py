"""`skerry hold`: kill a process and keep it down, to see how the others live without it."""

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
def hold(name: str, data: Path | None, file: Path | None, output: str) -> None:
    """Kill the process NAME and keep it down until `skerry release NAME`."""
    entry = options.running_system(data, file)
    process = ask(Path(entry.socket), "hold", name)["process"]
    if output == "json":
        click.echo(json.dumps(process))
    else:
        click.echo(f"{name} is down and stays down until `skerry release {name}`")
