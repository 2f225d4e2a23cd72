"""`skerry explain`: a rule, or one finding of check with all its evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from skerry.cli import reading


@click.command()
@click.argument("what", metavar="RULE|FINGERPRINT")
@reading.path
@reading.traces
@reading.manifests
@click.option(
    "--report",
    "kept",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the finding from what `skerry check -o json` wrote, and do not read PATH again.",
)
@click.option(
    "-o", "output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="The output format."
)
@reading.cached
def explain(
    what: str, path: Path, traces: tuple[Path, ...], manifests: Any, kept: Path | None, output: str, *, cache: bool
) -> None:
    """Tell what a rule looks for, why it hurts and what to do; or all about one finding.

    FINGERPRINT is the number that `skerry check` shows with each finding; its beginning is enough.
    """
    with reading.usage():
        reading.installed()
        from skerry.architecture import report as reports
        from skerry.architecture.rules import RULES

        rules = {rule.name: rule for rule in RULES}
        if what in rules:
            rule = rules[what]
            told = _json(reports.rule_data(rule)) if output == "json" else reports.as_rule(rule, **reading.looks(None))
            reading.put(told, None)
            return
        if not set(what.lower()) <= set("0123456789abcdef"):
            raise click.BadParameter(f"{what[:40]!r} is neither a fingerprint nor one of {', '.join(rules)}")
        marked = reports.read_report(kept) if kept else _again(path, traces, manifests, cache=cache)
        found = reports.find(marked, what)
        if output == "json":
            reading.put(_json(reports.finding_data(found, rules)), None)
        else:
            reading.put(reports.as_one(found, rules.get(found.finding.rule), **reading.looks(None)), None)


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=2) + "\n"


def _again(path: Path, traces: tuple[Path, ...], manifests: Any, *, cache: bool) -> tuple[Any, ...]:
    from skerry.architecture import report as reports
    from skerry.architecture.analyse import findings
    from skerry.architecture.rules import RULES

    subject = reading.read(path, traces=traces, manifests=manifests, cache=cache)
    result = reports.report(subject, findings(subject), rules=RULES)
    return (*result.findings, *result.allowed, *result.unknown, *result.clean)
