"""`skerry decide`: whether to split, as a record with its evidence."""

from __future__ import annotations

import json
from pathlib import Path

import click

from skerry.cli.split import moment, telling
from skerry.cli.text import write


@click.command()
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@click.option("--at", metavar="DATE", help="As if it were the beginning of that day (UTC). [default: the last commit]")
@click.option("--file", type=click.Path(dir_okay=False, path_type=Path), help="Write the record there, in Markdown.")
@click.option(
    "-o", "output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="The output format."
)
def decide(path: Path, at: str | None, file: Path | None, output: str) -> None:
    """Stay, modularize, extract one service, or merge back: what the repository at PATH gives evidence for.

    The default is to stay. Nothing of the repository is run.
    """
    from skerry.architecture.boundaries.adr import as_json, as_markdown
    from skerry.architecture.boundaries.decide import decide as measure

    with telling() as tell:
        case = measure(path, moment(at), progress=tell)
    record = as_markdown(case)
    if file is not None:
        write(record, file)
    if output == "json":
        click.echo(json.dumps(as_json(case), indent=2))
    elif file is None:
        click.echo(record, nl=False)
    else:
        click.echo(
            "\n".join([case.decision.text, *(f"  {reason}" for reason in case.decision.reasons), f"written to {file}"])
        )
