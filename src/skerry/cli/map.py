"""`skerry map`: the system as it was found, as text, data or a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skerry.cli import reading

if TYPE_CHECKING:
    from skerry.architecture.rules import Subject


@click.command("map")
@reading.path
@reading.traces
@reading.manifests
@click.option(
    "-o",
    "output",
    type=click.Choice(["text", "json", "mermaid", "html"]),
    default="text",
    show_default=True,
    help="The output format; html is one page that needs nothing else.",
)
@reading.written
@reading.cached
def map(  # noqa: A001 - the verb's name
    path: Path, traces: tuple[Path, ...], manifests: Any, output: str, file: Path | None, *, cache: bool
) -> None:
    """Show the services at PATH, what they keep their data in, and who reaches whom, each with its place. As html also what
    `skerry check` finds, at the services and lines that it is about.

    Nothing of the repository is run, imported or written.
    """
    subject = reading.read(path, traces=traces, manifests=manifests, cache=cache)
    from skerry.architecture import picture

    unparsed = len(subject.code.unparsed)
    if output == "json":
        text = json.dumps(picture.as_data(subject.model, unparsed=unparsed), indent=2) + "\n"
    elif output == "mermaid":
        text = picture.as_mermaid(subject.model)
    elif output == "html":
        title = path.resolve().name or "system"
        text = picture.as_page(subject.model, title=title, unparsed=unparsed, report=_judged(subject))
    else:
        text = picture.as_text(subject.model, unparsed=unparsed)
    reading.put(text if text.endswith("\n") else f"{text}\n", file)


def _judged(subject: Subject) -> dict[str, Any]:
    """What `skerry check` says of it."""
    from skerry.architecture import report as reports
    from skerry.architecture.analyse import findings
    from skerry.architecture.rules import RULES

    return reports.as_data(reports.report(subject, findings(subject), rules=RULES))
