"""`skerry ps`: the processes of a running system."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from skerry.cli import options
from skerry.cli.text import plain
from skerry.cli.watching import told
from skerry.deploy import ask

MAX_SENTENCE: Final = 1000
COLUMNS = ("name", "state", "pid", "restarts", "url")


@click.command()
@options.which_system
@options.output
def ps(data: Path | None, file: Path | None, output: str) -> None:
    """Show the processes of a running system: first whether all is well, then each process.

    With a console the first line is its sentence.
    """
    entry = options.running_system(data, file)
    processes = ask(Path(entry.socket), "ps")["processes"]
    if output == "json":
        click.echo(json.dumps(processes, indent=2))
        return
    click.echo(said(Path(entry.data), processes) or summary(entry.name, processes))
    click.echo()
    click.echo(table(processes))


def said(data: Path, processes: Sequence[Mapping[str, Any]]) -> str:
    """The sentence of the console that runs with the system; empty when none does, or it does not answer within a second."""
    view = told(data, processes, "/api/view")
    try:
        sentence = view["sentence"]["text"]
    except (KeyError, TypeError):
        return ""
    return plain(str(sentence)).replace("\n", " ")[:MAX_SENTENCE]


def summary(name: str, processes: list[dict[str, Any]]) -> str:
    """One sentence: `shop: all 8 processes are ready`, or what is not and in which state it is."""
    others = [process for process in processes if not process["ready"]]
    if not others:
        return (
            f"{name}: its process is ready"
            if len(processes) == 1
            else f"{name}: all {len(processes)} processes are ready"
        )
    listed = ", ".join(f"{process['name']} ({_in_words(process['state'])})" for process in others)
    return (
        f"{name}: {len(others)} of {len(processes)} processes {'is' if len(others) == 1 else 'are'} not ready: {listed}"
    )


def table(processes: list[dict[str, Any]]) -> str:
    """The processes in columns, each as wide as its widest entry."""
    rows = [[column.upper() for column in COLUMNS]]
    rows += [["-" if process[column] is None else str(process[column]) for column in COLUMNS] for process in processes]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _in_words(state: str) -> str:
    return "running, but its check fails" if state == "running" else state
