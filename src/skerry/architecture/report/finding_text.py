"""One finding for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import click

from skerry.architecture.model import Evidence, Source
from skerry.architecture.report.clean import clean
from skerry.architecture.report.report import Marked
from skerry.architecture.rules.finding import Finding, Rule, Severity, Verdict
from skerry.architecture.source import Place

WIDTH: Final = 100
MAX_EVIDENCE: Final = 8
"""Pieces of evidence below a finding in the report; `skerry explain` shows the rest."""
MAX_EXPLAINED: Final = 200
_MAX_SERVICES: Final = 12
_COLOURS: Final = {
    "error": "red",
    "warning": "yellow",
    "note": "cyan",
    "violation": "red",
    "suspect": "yellow",
    "unknown": "magenta",
    "clean": "green",
    "accepted": "blue",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """How wide a text may be, and whether it may have colours."""

    width: int = WIDTH
    colour: bool = False

    def style(self, text: str, **how: Any) -> str:
        return click.style(text, **how) if self.colour else text

    def word(self, name: str, shown: str = "") -> str:
        """A verdict or a severity in its colour."""
        return self.style(shown or name, fg=_COLOURS.get(name.strip()), bold=True)

    def wrap(self, text: str, indent: str, further: str | None = None) -> Iterator[str]:
        """Lines of a cleaned `text`; a word that is longer than a line, such as a path, stays whole."""
        yield from textwrap.wrap(
            clean(text),
            max(self.width, 40),
            initial_indent=indent,
            subsequent_indent=indent if further is None else further,
            break_long_words=False,
            break_on_hyphens=False,
        )


def finding_lines(marked: Marked, page: Page, *, most: int = MAX_EVIDENCE) -> Iterator[str]:
    """The finding with its places: `FILE:LINE` stands where editors and terminals make a link of it."""
    finding = marked.finding
    yield f"  {_kind(finding, page)}  {page.style(_at(finding.place), bold=True)}  {page.style(marked.fingerprint, dim=True)}"
    if finding.services:
        yield from page.wrap(services(finding.services), "    ")
    yield from page.wrap(finding.message, "    ")
    yield from evidence_lines(finding.evidence, page, "    ", most=most)
    if finding.fix:
        yield from page.wrap(f"here: {finding.fix}", "    ", "          ")
    if marked.allowed is not None:
        yield from page.wrap(f"allowed at {marked.allowed.place}: {marked.allowed.reason}", "    ")


def evidence_lines(found: tuple[Evidence, ...], page: Page, indent: str, *, most: int) -> Iterator[str]:
    """What code, manifests and history say, then what traces show."""
    runtime = [each for each in found if each.source is Source.TRACE]
    static = [each for each in found if each.source is not Source.TRACE]
    # traces are few and weigh most: they are never what is cut off
    room = max(most - len(runtime), most // 2)
    for each in static[:room]:
        yield from _evidence(each, page, indent)
    for each in runtime[:most]:
        yield from _evidence(each, page, indent)
    left = len(static[room:]) + len(runtime[most:])
    if left:
        yield f"{indent}… and {left} more"


def as_one(marked: Marked, rule: Rule | None, *, width: int = WIDTH, colour: bool = False) -> str:
    """Everything about one finding, with why it hurts and what to do."""
    page = Page(width=width, colour=colour)
    verdict = marked.finding.verdict.value
    lines = [f"{page.style(clean(marked.finding.rule), bold=True)}: {page.word(verdict)}"]
    lines += finding_lines(marked, page, most=MAX_EXPLAINED)
    if rule is not None:
        lines += ["", *advice(rule, page, indent="  ")]
    return "\n".join(lines) + "\n"


def advice(rule: Rule, page: Page, *, indent: str) -> Iterator[str]:
    """Why it hurts, and what to do."""
    further = f"{indent}{' ' * 14}"
    yield from page.wrap(f"why it hurts: {rule.why}", indent, further)
    yield from page.wrap(f"what to do:   {rule.fix}", indent, further)


def services(names: tuple[str, ...]) -> str:
    """The names that a finding is about, not more than a reader takes in."""
    more = f" and {len(names) - _MAX_SERVICES} more" if len(names) > _MAX_SERVICES else ""
    return f"services: {', '.join(clean(name, 80) for name in names[:_MAX_SERVICES])}{more}"


def _evidence(each: Evidence, page: Page, indent: str) -> Iterator[str]:
    place = f"{_at(each.place)}  " if each.place else ""
    runtime = each.source is Source.TRACE
    text = f"seen at run time: {each.text}" if runtime else f"{each.text} [{each.source.value}]"
    yield from page.wrap(f"- {place}{text}", indent, f"{indent}  ")


def _kind(finding: Finding, page: Page) -> str:
    if finding.verdict is Verdict.CLEAN or finding.verdict is Verdict.UNKNOWN:
        return page.word(finding.verdict.value)
    shown = page.word(finding.severity.value)
    return f"{shown} ({page.word('suspect')})" if finding.verdict is Verdict.SUSPECT else shown


def _at(place: Place | None) -> str:
    return clean(str(place), 400) if place is not None else "(the system as a whole)"


def worst(counts: tuple[int, int, int], suspects: int) -> str:
    """`2 errors, 1 note, 1 of them suspect`."""
    named = [
        f"{number} {severity.value}{'' if number == 1 else 's'}"
        for number, severity in zip(counts, (Severity.ERROR, Severity.WARNING, Severity.NOTE), strict=True)
        if number
    ]
    told = ", ".join(named)
    if not suspects:
        return told
    return f"{told}, {suspects} of them suspect" if sum(counts) > suspects else f"{told} (suspected, not proved)"
