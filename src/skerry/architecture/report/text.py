"""The report for a terminal: first each rule's verdict, then what was found, and at the end what it comes to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from skerry.architecture.report.clean import clean
from skerry.architecture.report.finding_text import WIDTH, Page, advice, evidence_lines, finding_lines, worst
from skerry.architecture.report.report import Marked, Report, RuleVerdict

MAX_FINDINGS: Final = 50
"""Of one rule."""
MAX_LISTED: Final = 20
_OF_A_RULE: Final = 3
_CLEAN_EVIDENCE: Final = 3


def as_text(report: Report, *, width: int = WIDTH, colour: bool = False) -> str:
    """The whole report. With `colour` it has the colours of a terminal; without, nothing but printable characters."""
    page = Page(width=width, colour=colour)
    return "\n".join(_lines(report, page)) + "\n"


def _lines(report: Report, page: Page) -> Iterator[str]:
    looked = f"{_count(report.services, 'service')} in {_count(report.files, 'file')}"
    yield f"{_count(len(report.rules), 'rule')} on {looked}"
    yield ""
    wide = max((len(each.rule.name) for each in report.rules), default=0)
    for each in report.rules:
        yield f"  {each.rule.name:{wide}}  {page.word(each.verdict)}{_more(each)}"
    for each in report.rules:
        yield from _rule(each, [found for found in report.findings if found.finding.rule == each.rule.name], page)
    yield from _clean(report, page)
    yield from _unknown(report, page)
    yield from _accepted(report, page)
    yield from _unread(report, page)
    yield ""
    yield _summary(report, page)


def _more(each: RuleVerdict) -> str:
    told = [worst(each.counts, each.suspects)] if sum(each.counts) else []
    for number, word in ((each.unknown, "unknown"), (each.allowed, "allowed"), (each.known, "in the baseline")):
        if number and word != each.verdict:
            told.append(f"{number} {word}")
    return f": {', '.join(told)}" if told else ""


def _rule(verdict: RuleVerdict, found: list[Marked], page: Page) -> Iterator[str]:
    if not found:
        return
    yield ""
    yield page.style(verdict.rule.name, bold=True)
    yield from advice(verdict.rule, page, indent="  ")
    for each in found[:MAX_FINDINGS]:
        yield ""
        yield from finding_lines(each, page)
    if len(found) > MAX_FINDINGS:
        yield ""
        yield f"  … and {len(found) - MAX_FINDINGS} more of {verdict.rule.name}: -o json has all of them"


def _clean(report: Report, page: Page) -> Iterator[str]:
    good = {each.rule.name for each in report.rules if each.verdict == "clean"}
    shown = [each for each in report.clean if each.finding.rule in good]
    if not shown:
        return
    yield ""
    yield f"{page.word('clean')}, by what was seen"
    yield from _by_rule(shown, page)


def _by_rule(shown: list[Marked], page: Page) -> Iterator[str]:
    """Verdicts with what they stand on; of a rule that judges service by service those that stand on most."""
    groups: dict[str, list[Marked]] = {}
    for each in shown:
        groups.setdefault(each.finding.rule, []).append(each)
    for rule, group in groups.items():
        group.sort(key=lambda each: -sum(seen.place is not None for seen in each.finding.evidence))
        for each in group[:_OF_A_RULE]:
            message = each.finding.message
            yield from page.wrap(f"{rule}: {message}", "  ", "    ")
            more = tuple(seen for seen in each.finding.evidence if seen.place or seen.text not in message)
            yield from evidence_lines(more, page, "    ", most=_CLEAN_EVIDENCE)
        if len(group) > _OF_A_RULE:
            yield f"  … and {len(group) - _OF_A_RULE} more of {rule}: -o json has all of them"


def _unknown(report: Report, page: Page) -> Iterator[str]:
    if not report.unknown:
        return
    yield ""
    yield f"{page.word('unknown')}, and what is missing"
    yield from _by_rule(list(report.unknown), page)


def _accepted(report: Report, page: Page) -> Iterator[str]:
    if report.allowed:
        yield ""
        yield f"allowed by a comment: {len(report.allowed)}"
        for each in report.allowed[:MAX_LISTED]:
            assert each.allowed is not None, "only those with a comment are here"
            text = f"{each.allowed.place}  {each.finding.rule}: {each.allowed.reason}"
            yield from page.wrap(text, "  ", "    ")
        if len(report.allowed) > MAX_LISTED:
            yield f"  … and {len(report.allowed) - MAX_LISTED} more"
    if report.known.gone:
        yield ""
        yield f"in the baseline and gone: {len(report.known.gone)} (write it anew)"
        for entry in report.known.gone[:MAX_LISTED]:
            yield from page.wrap(f"{entry.fingerprint}  {entry.rule}: {entry.message}", "  ", "    ")
        if len(report.known.gone) > MAX_LISTED:
            yield f"  … and {len(report.known.gone) - MAX_LISTED} more"
    if report.remarks:
        yield ""
        yield "comments that do not work"
        for remark in report.remarks[:MAX_LISTED]:
            yield from page.wrap(f"{remark.place}  {remark.text}" if remark.place else remark.text, "  ", "    ")
        if len(report.remarks) > MAX_LISTED:
            yield f"  … and {len(report.remarks) - MAX_LISTED} more"


def _unread(report: Report, page: Page) -> Iterator[str]:
    if not report.unparsed:
        return
    yield ""
    yield f"unparsed: {_count(len(report.unparsed), 'file')}; what stands in them was not judged"
    for each in report.unparsed[:MAX_LISTED]:
        yield from page.wrap(f"{clean(each.file, 400)}: {each.why}", "  ", "    ")
    if len(report.unparsed) > MAX_LISTED:
        yield f"  … and {len(report.unparsed) - MAX_LISTED} more"


def _summary(report: Report, page: Page) -> str:
    errors, warnings, notes = (sum(each.counts[n] for each in report.rules) for n in range(3))
    counts = worst((errors, warnings, notes), sum(each.suspects for each in report.rules)) or "nothing found"
    told = [page.style(counts, bold=True)]
    unknown = sum(each.verdict == "unknown" for each in report.rules)
    for number, word in (
        (unknown, f"{'rule' if unknown == 1 else 'rules'} unknown"),
        (len(report.allowed), "allowed"),
        (len(report.known.there), "in the baseline"),
        (len(report.unparsed), "unparsed"),
    ):
        if number:
            told.append(f"{number} {word}")
    return "; ".join(told)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
