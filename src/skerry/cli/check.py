"""`skerry check`: which of the eight NEVER rules a system breaks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from skerry import __version__
from skerry.cli import reading

if TYPE_CHECKING:
    from skerry.architecture.report import Report

FOUND: Final = 1
PARTIAL: Final = 3
RULES: Final = (
    "shared-database",
    "sync-chain",
    "no-circuit-breaker",
    "distributed-monolith",
    "no-timeout",
    "no-compensation",
    "premature-microservices",
    "chatty",
)
"""The names, so that help and a wrong name do not load the analyser."""


@click.command()
@reading.path
@reading.traces
@reading.manifests
@click.option(
    "-o",
    "output",
    type=click.Choice(["text", "json", "markdown", "sarif"]),
    default="text",
    show_default=True,
    help="The output format.",
)
@reading.written
@click.option(
    "--baseline",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Findings that are known: they do not count.",
)
@click.option(
    "--write-baseline",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what is found now as the baseline; then nothing counts.",
)
@click.option(
    "--rule", "rules", multiple=True, type=click.Choice(RULES), help="Only this rule. May be repeated. [default: all]"
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "note", "never"]),
    default="warning",
    show_default=True,
    help="From which severity on a finding makes the exit status 1.",
)
@reading.cached
def check(
    path: Path,
    traces: tuple[Path, ...],
    manifests: Any,
    output: str,
    file: Path | None,
    baseline: Path | None,
    write_baseline: Path | None,
    rules: tuple[str, ...],
    fail_on: str,
    *,
    cache: bool,
) -> None:
    """Say of eight faults whether the system of services at PATH has them, with the evidence.

    Nothing of the repository is run, imported or written. Exit status: 0 nothing that counts, 1 findings, 2 wrong usage,
    3 nothing that counts, but some files could not be understood.
    """
    if write_baseline is not None and rules:
        raise click.UsageError("--write-baseline with --rule would forget what other rules have found")
    subject = reading.read(path, traces=traces, manifests=manifests, cache=cache)
    from skerry.architecture import report as reports
    from skerry.architecture.analyse import findings
    from skerry.architecture.rules import RULES as ALL

    found = findings(subject)
    with reading.usage():
        known = reports.read_baseline(baseline) if baseline else None
        result = reports.report(subject, found, rules=ALL, asked=rules, baseline=known)
        if write_baseline is not None:
            reading.put(reports.write_baseline(result), write_baseline)
            known = reports.read_baseline(write_baseline)
            result = reports.report(subject, found, rules=ALL, asked=rules, baseline=known)
    reading.put(_shown(result, output, file), file)
    sys.exit(_status(result, fail_on))


def _shown(result: Report, output: str, file: Path | None) -> str:
    from skerry.architecture import report as reports

    if output == "json":
        return json.dumps(reports.as_data(result), indent=2) + "\n"
    if output == "sarif":
        return json.dumps(reports.as_sarif(result, version=__version__), indent=2) + "\n"
    if output == "markdown":
        return reports.as_markdown(result)
    return reports.as_text(result, **reading.looks(file))


def _status(result: Report, fail_on: str) -> int:
    from skerry.architecture.rules import Severity

    if fail_on != "never" and result.at_least(Severity(fail_on)):
        return FOUND
    return PARTIAL if result.unparsed else 0
