"""Findings sorted into what counts, what is allowed, what is known, what is clean and what is not known."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from skerry.architecture.code.facts import Allowed
from skerry.architecture.report.allowed import Comments, Remark, in_manifests
from skerry.architecture.report.baseline import Baseline, Entry, as_baseline
from skerry.architecture.report.fingerprint import fingerprints
from skerry.architecture.rules.finding import Finding, Rule, Severity, Subject, Verdict
from skerry.architecture.source import Skipped

SEVERITIES: Final = (Severity.ERROR, Severity.WARNING, Severity.NOTE)
"""The worst first."""
_FOUND: Final = frozenset({Verdict.VIOLATION, Verdict.SUSPECT})


@dataclass(frozen=True, slots=True)
class Marked:
    """A finding with its fingerprint, and the comment that allows it, if one does.

    `former` is the fingerprint by which older baselines and dashboards know it: it changes when a file is renamed.
    """

    finding: Finding
    fingerprint: str
    allowed: Allowed | None = None
    former: str = ""

    @property
    def names(self) -> frozenset[str]:
        """The fingerprints that a baseline may know it by."""
        return frozenset({self.fingerprint, self.former})


@dataclass(frozen=True, slots=True)
class Known:
    """What the baseline knows: findings that are still there, and entries whose finding is gone."""

    there: tuple[Marked, ...] = ()
    gone: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleVerdict:
    """What all findings of one rule come to."""

    rule: Rule
    verdict: str
    """That of the worst finding; `accepted` when all that was found is allowed or known."""
    counts: tuple[int, int, int]
    """Errors, warnings, notes, suspects among them."""
    suspects: int
    unknown: int
    allowed: int
    known: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the formats show. Lists are in the order of rules, the worst first within each."""

    rules: tuple[RuleVerdict, ...]
    findings: tuple[Marked, ...]
    """Violations and suspects that neither a comment allows nor a baseline knows."""
    allowed: tuple[Marked, ...]
    known: Known
    clean: tuple[Marked, ...]
    unknown: tuple[Marked, ...]
    remarks: tuple[Remark, ...]
    unparsed: tuple[Skipped, ...]
    services: int
    files: int
    """That were looked at."""
    part: str = ""
    """The folder of the repository that was looked at; paths are relative to it."""

    def at_least(self, severity: Severity) -> int:
        """How many findings are as bad as that, or worse."""
        worst = SEVERITIES[: SEVERITIES.index(severity) + 1]
        return sum(each.finding.severity in worst for each in self.findings)


def report(
    subject: Subject,
    findings: Iterable[Finding],
    *,
    rules: Sequence[Rule],
    asked: Collection[str] = (),
    baseline: Baseline | None = None,
) -> Report:
    """The report on what `rules` found. `asked` names those that count, empty for all."""
    wanted = [rule for rule in rules if not asked or rule.name in asked]
    order = {rule.name: number for number, rule in enumerate(wanted)}
    prints = fingerprints(findings)
    marked = [Marked(finding, now, former=before) for finding, now, before in prints if finding.rule in order]
    marked.sort(key=lambda each: (order[each.finding.rule], *_badness(each.finding)))
    found = [each.finding for each in marked if each.finding.verdict in _FOUND]
    comments = Comments((*subject.code.allowed, *in_manifests(subject.files, found)), {rule.name for rule in rules})
    entries = baseline.entries if baseline else {}
    counting: list[Marked] = []
    excused: list[Marked] = []
    there: list[Marked] = []
    clean: list[Marked] = []
    unknown: list[Marked] = []
    for each in marked:
        if each.finding.verdict not in _FOUND:
            (clean if each.finding.verdict is Verdict.CLEAN else unknown).append(each)
        elif (comment := comments.for_(each.finding)) is not None:
            excused.append(replace(each, allowed=comment))
        else:
            (there if each.names & entries.keys() else counting).append(each)
    seen = {name for each in marked if each.finding.verdict in _FOUND for name in each.names}
    gone = tuple(
        each for each in entries.values() if each.fingerprint not in seen and (not asked or each.rule in asked)
    )
    return Report(
        rules=tuple(_verdict(rule, counting, excused, there, unknown, clean) for rule in wanted),
        findings=tuple(counting),
        allowed=tuple(excused),
        known=Known(tuple(there), gone),
        clean=tuple(clean),
        unknown=tuple(unknown),
        remarks=tuple(comments.remarks(order)),
        unparsed=_unparsed(subject),
        services=len(subject.model.services),
        files=len(subject.files.sizes),
        part=subject.part,
    )


def write_baseline(found: Report) -> str:
    """The text of a baseline that knows all that counts, and what the last one knew and is still there."""
    return as_baseline((each.finding, each.fingerprint) for each in (*found.findings, *found.known.there))


def _badness(finding: Finding) -> tuple[int, int, str, int]:
    """The worst first, then by place."""
    place = finding.place
    return (
        SEVERITIES.index(finding.severity),
        0 if finding.verdict is Verdict.VIOLATION else 1,
        place.file if place else "",
        place.line if place else 0,
    )


def _verdict(
    rule: Rule,
    counting: list[Marked],
    excused: list[Marked],
    there: list[Marked],
    unknown: list[Marked],
    clean: list[Marked],
) -> RuleVerdict:
    own = [each.finding for each in counting if each.finding.rule == rule.name]
    suspects = sum(each.verdict is Verdict.SUSPECT for each in own)
    missing, allowed, known, good = (
        sum(each.finding.rule == rule.name for each in group) for group in (unknown, excused, there, clean)
    )
    if len(own) > suspects:
        verdict = "violation"
    elif own:
        verdict = "suspect"
    elif missing:
        verdict = "unknown"
    elif allowed or known:
        verdict = "accepted"
    else:
        # a rule that said nothing at all has not looked: that is no pass
        verdict = "clean" if good else "unknown"
    errors, warnings, notes = (sum(each.severity is severity for each in own) for severity in SEVERITIES)
    return RuleVerdict(
        rule=rule,
        verdict=verdict,
        counts=(errors, warnings, notes),
        suspects=suspects,
        unknown=missing,
        allowed=allowed,
        known=known,
    )


def _unparsed(subject: Subject) -> tuple[Skipped, ...]:
    """Files of which something was not understood, each once."""
    found: dict[str, Skipped] = {}
    traces = subject.traces.skipped if subject.traces else ()
    for each in (*subject.code.unparsed, *subject.skipped, *traces):
        # what a link leads to is read where it lies, or is not part of the repository
        if not each.why.startswith("a link"):
            found.setdefault(each.file, each)
    return tuple(found[file] for file in sorted(found))
