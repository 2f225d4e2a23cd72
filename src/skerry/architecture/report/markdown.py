"""The report as Markdown, for a comment on a pull request. It stays below what GitHub takes as one comment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from skerry.architecture.model import Source
from skerry.architecture.report.clean import clean
from skerry.architecture.report.finding_text import worst
from skerry.architecture.report.report import Marked, Report, RuleVerdict
from skerry.architecture.source import Place

MAX_SIZE: Final = 60_000
"""Characters; GitHub takes 65,536."""
MAX_EVIDENCE: Final = 5
_MAX_LISTED: Final = 30
_MAX_TEXT: Final = 600
_SPECIAL: Final = re.compile(r"[\\`*_{}\[\]()<>#+!|~&@$^=]|:(?=//)|(?<=www)\.")


def as_markdown(report: Report) -> str:
    """A table of verdicts, then each finding with its evidence. Texts of the repository are text: no markup, no mention."""
    lines: list[str] = []
    size = 0
    for line in _lines(report):
        size += len(line) + 1
        if size > MAX_SIZE:
            lines += ["", "_The rest is left out: the report is too long for one comment._"]
            break
        lines.append(line)
    return "\n".join(lines) + "\n"


def escape(text: str, most: int = _MAX_TEXT) -> str:
    """Special characters as numeric entities: those are never read as structure, unlike a backslash inside of an address."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", clean(text, most))


def code(text: str) -> str:
    """A span of code that no backtick inside of it ends, and no pipe as the end of a cell."""
    short = clean(text, 300).replace("|", "\N{FULLWIDTH VERTICAL LINE}")
    fence = "`" * (max((len(run) for run in re.findall(r"`+", short)), default=0) + 1)
    pad = " " if short.startswith("`") or short.endswith("`") or not short.strip() else ""
    return f"{fence}{pad}{short}{pad}{fence}"


def _lines(report: Report) -> Iterator[str]:
    yield "# What `skerry check` found"
    yield ""
    yield "| rule | verdict | found |"
    yield "|---|---|---|"
    for each in report.rules:
        yield f"| {each.rule.name} | {each.verdict} | {_told(each)} |"
    for each in report.rules:
        yield from _rule(each, report)
    yield from _listed("Clean, by what was seen", (_verdict(each) for each in report.clean))
    yield from _listed("Unknown, and what is missing", (_verdict(each) for each in report.unknown))
    yield from _listed("Allowed by a comment", (_allowed(each) for each in report.allowed))
    gone = (f"- {code(each.fingerprint)} {escape(each.rule)}: {escape(each.message)}" for each in report.known.gone)
    yield from _listed("In the baseline and gone", gone)
    remarks = (f"- {_at(each.place)}{escape(each.text)}" for each in report.remarks)
    yield from _listed("Comments that do not work", remarks)
    unparsed = (f"- {code(each.file)}: {escape(each.why)}" for each in report.unparsed)
    yield from _listed(f"Unparsed: {len(report.unparsed)}", unparsed)


def _told(each: RuleVerdict) -> str:
    told = [worst(each.counts, each.suspects)] if sum(each.counts) else []
    for number, word in ((each.unknown, "unknown"), (each.allowed, "allowed"), (each.known, "in the baseline")):
        if number:
            told.append(f"{number} {word}")
    return ", ".join(told)


def _rule(verdict: RuleVerdict, report: Report) -> Iterator[str]:
    found = [each for each in report.findings if each.finding.rule == verdict.rule.name]
    if not found:
        return
    yield ""
    yield f"## {verdict.rule.name}"
    yield ""
    yield escape(verdict.rule.why)
    yield ""
    yield f"**What to do.** {escape(verdict.rule.fix)}"
    yield ""
    for each in found:
        yield from _finding(each)


def _finding(marked: Marked) -> Iterator[str]:
    finding = marked.finding
    yield (
        f"- **{finding.severity.value}**{' (suspect)' if finding.verdict.value == 'suspect' else ''} "
        f"{_at(finding.place)}{escape(finding.message)} {code(marked.fingerprint)}"
    )
    for each in finding.evidence[:MAX_EVIDENCE]:
        seen = "seen at run time: " if each.source is Source.TRACE else ""
        yield f"  - {_at(each.place)}{seen}{escape(each.text)}"
    if len(finding.evidence) > MAX_EVIDENCE:
        yield f"  - and {len(finding.evidence) - MAX_EVIDENCE} more"
    if finding.fix:
        yield f"  - here: {escape(finding.fix)}"


def _listed(title: str, lines: Iterator[str]) -> Iterator[str]:
    shown = list(lines)
    if not shown:
        return
    yield ""
    yield f"## {title}"
    yield ""
    yield from shown[:_MAX_LISTED]
    if len(shown) > _MAX_LISTED:
        yield f"- and {len(shown) - _MAX_LISTED} more"


def _verdict(marked: Marked) -> str:
    return f"- **{marked.finding.rule}**: {escape(marked.finding.message)}"


def _allowed(marked: Marked) -> str:
    assert marked.allowed is not None, "only those with a comment are here"
    return f"- {_at(marked.allowed.place)}**{marked.finding.rule}**: {escape(marked.allowed.reason)}"


def _at(place: Place | None) -> str:
    return f"{code(str(place))} " if place is not None else ""
