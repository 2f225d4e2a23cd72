"""Options that several verbs share, and how they find the running system."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from skerry.deploy import Entry, find_running
from skerry.topology import find

F = TypeVar("F", bound=Callable[..., Any])

output: Callable[[F], F] = click.option(
    "-o", "output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="The output format."
)


def which_system(command: F) -> F:
    """Options `--data` and `--file`, which tell one running system from another."""
    file = click.option("--file", type=click.Path(path_type=Path), help="The system file of the running system.")
    data = click.option("--data", type=click.Path(path_type=Path), help="The data folder of the running system.")
    return data(file(command))


def running_system(data: Path | None, file: Path | None) -> Entry:
    """The running system the options mean; the system file of the current folder decides between several."""
    return find_running(data, file, near=find(Path.cwd()))
