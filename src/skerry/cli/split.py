"""`skerry split`: where a monolith could be split, and what that would have been worth."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from skerry.errors import ConfigurationError


@click.command()
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@click.option(
    "--at",
    metavar="DATE",
    help="As if it were the beginning of that day (UTC), such as 2026-01-31. [default: the last commit]",
)
@click.option(
    "--services", default="4..12", show_default=True, metavar="N..M", help="How many; one number for exactly so many."
)
@click.option(
    "-o", "output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="The output format."
)
def split(path: Path, at: str | None, services: str, output: str) -> None:
    """Propose services for the monolith at PATH, and judge the proposal by later commits.

    Nothing of the repository is run, and nothing that came after DATE has any influence.
    """
    from skerry.architecture.boundaries.proposal import propose
    from skerry.architecture.boundaries.text import as_json, as_text

    fewest, most = counts(services)
    with telling() as tell:
        found = propose(path, moment(at), fewest=fewest, most=most, progress=tell)
    click.echo(json.dumps(as_json(found), indent=2) if output == "json" else as_text(found))


def counts(text: str) -> tuple[int, int]:
    """The least and the most of `N..M` or `N`. Raises `ConfigurationError`."""
    match = re.fullmatch(r"(\d{1,3})(?:\.\.(\d{1,3}))?", text.strip())
    if match is None:
        raise ConfigurationError(f"--services is {text[:40]!r}: give a number such as 6, or two such as 4..12")
    fewest, most = int(match[1]), int(match[2] or match[1])
    if not 2 <= fewest <= most <= 50:
        raise ConfigurationError(f"--services is {text[:40]!r}: from 2 to 50, and the smaller number first")
    return fewest, most


def moment(text: str | None) -> float | None:
    """The Unix time of a date, at its beginning in UTC, or with a time of day. Raises `ConfigurationError`."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"--at is {text[:40]!r}: give a date such as 2026-01-31") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


@contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """What is being done, on standard error: one line that changes, or nothing where nobody watches."""
    watched = sys.stderr.isatty()

    def tell(text: str) -> None:
        if watched:
            click.echo(f"\r\x1b[K{text}", nl=False, err=True)

    try:
        yield tell
    finally:
        if watched:
            click.echo("\r\x1b[K", nl=False, err=True)
