"""`skerry guard`: contracts for a boundary."""

from __future__ import annotations

import json
from pathlib import Path

import click

from skerry.cli.split import counts, moment, telling
from skerry.cli.text import write


@click.command()
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@click.option(
    "--import-linter",
    "tool",
    flag_value="import-linter",
    default=True,
    help="Write contracts for import-linter (the default).",
)
@click.option("--tach", "tool", flag_value="tach", help="Write contracts for tach.")
@click.option("--at", metavar="DATE", help="As for `skerry split`.")
@click.option("--services", default="4..12", show_default=True, metavar="N..M", help="As for `skerry split`.")
@click.option(
    "--file", type=click.Path(dir_okay=False, path_type=Path), help="Where to write it. [default: standard output]"
)
@click.option(
    "-o", "output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="The output format."
)
def guard(path: Path, tool: str, at: str | None, services: str, file: Path | None, output: str) -> None:
    """Write contracts that keep the boundary which `skerry split` proposes for PATH.

    Imports that cross it today are listed and allowed, so the contracts hold at once and keep new ones out.
    """
    from skerry.architecture.boundaries.guard import Boundary, import_linter, tach
    from skerry.architecture.boundaries.learn import read

    fewest, most = counts(services)
    with telling() as tell:
        tell("reading history and modules")
        boundary = Boundary(read(path, moment(at)), fewest, most)
    text = tach(boundary) if tool == "tach" else import_linter(boundary)
    if file is not None:
        write(text, file)
    if output == "json":
        click.echo(json.dumps({"tool": tool, "services": boundary.modules, "contracts": text}, indent=2))
    elif file is None:
        click.echo(text, nl=False)
