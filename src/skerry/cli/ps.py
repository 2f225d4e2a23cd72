"""`skerry ps`: the processes of a running system."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from skerry.cli import options
from skerry.cli.text import columns, plain
from skerry.cli.watching import told
from skerry.clock import SYSTEM
from skerry.console import sentence_of
from skerry.deploy import Entry, ask
from skerry.errors import ConfigurationError
from skerry.topology import GATEWAY, ServiceSpec, System, load

MAX_SENTENCE: Final = 1000
COLUMNS = ("name", "state", "pid", "restarts", "url")


@click.command()
@options.which_system
@options.output
def ps(data: Path | None, file: Path | None, output: str) -> None:
    """Show the processes of a running system: first whether all is well, then each process.

    The first line, `sentence` in JSON, is the console's sentence; where no console runs, one by the same rules from the
    processes alone.
    """
    entry = options.running_system(data, file)
    processes = ask(Path(entry.socket), "ps")["processes"]
    said = sentence(entry, processes)
    if output == "json":
        click.echo(json.dumps({"name": entry.name, "sentence": said, "processes": processes}, indent=2))
        return
    click.echo(said)
    click.echo()
    click.echo(table(processes))


def sentence(entry: Entry, processes: Sequence[Mapping[str, Any]]) -> str:
    """How the system is, as its console says, or as it would say if there were one, by the same rules."""
    view = told(Path(entry.data), processes, "/api/view")
    try:
        said = str(view["sentence"]["text"])
    except (KeyError, TypeError):
        said = sentence_of(_system(entry, processes), processes, now=SYSTEM.now()).text
    return plain(said).replace("\n", " ")[:MAX_SENTENCE]


def _system(entry: Entry, processes: Sequence[Mapping[str, Any]]) -> System:
    """As its file has it; where somebody is in the midst of changing that, by the processes alone."""
    file = Path(entry.file)
    try:
        return load(file)
    except ConfigurationError:
        names = [str(process["name"]) for process in processes]
        services = {name: ServiceSpec(name=name, app="") for name in names if name != GATEWAY}
        return System(name=entry.name, file=file, services=services)


def table(processes: Sequence[Mapping[str, Any]]) -> str:
    """The processes in columns; the last one says why those ended that are not ready, and when they are started again."""
    rows = [[*("-" if process[column] is None else process[column] for column in COLUMNS)] for process in processes]
    why = [_why(process) for process in processes]
    if not any(why):
        return columns(COLUMNS, rows)
    return columns((*COLUMNS, "why"), ([*row, text] for row, text in zip(rows, why, strict=True)))


def _why(process: Mapping[str, Any]) -> str:
    if process["ready"] or not process["reason"]:
        return ""
    again = process["retry_in"]
    return process["reason"] if again is None else f"{process['reason']}, again in {again:.1f} s"
