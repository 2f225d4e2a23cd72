"""The report as plain data for JSON. Every list has a limit; its full length stands beside it in `rules`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from skerry.architecture.model import Evidence
from skerry.architecture.report.clean import MAX_TEXT, clean
from skerry.architecture.report.report import Marked, Report, RuleVerdict
from skerry.architecture.rules.finding import Rule
from skerry.architecture.source import Place

MAX_FINDINGS: Final = 10_000
MAX_EVIDENCE: Final = 200
_MAX_LISTED: Final = 1_000


def as_data(report: Report) -> dict[str, Any]:
    """`findings` are what counts: violations and suspects that are neither allowed nor in the baseline.

    `unparsed` is a number of files, and `skipped` names them. Findings that a comment allows are in `allowed`, those of the
    baseline in `known`, with the same keys.
    """
    advice = {each.rule.name: each.rule for each in report.rules}
    return {
        "findings": [finding_data(each, advice) for each in report.findings[:MAX_FINDINGS]],
        "unknown": [finding_data(each, advice) for each in report.unknown[:MAX_FINDINGS]],
        "clean": [finding_data(each, advice) for each in report.clean[:MAX_FINDINGS]],
        "unparsed": len(report.unparsed),
        "skipped": [{"file": whole(each.file), "why": clean(each.why)} for each in report.unparsed[:_MAX_LISTED]],
        "allowed": [_allowed(each, advice) for each in report.allowed[:MAX_FINDINGS]],
        "known": [finding_data(each, advice) for each in report.known.there[:MAX_FINDINGS]],
        "gone": [
            {"fingerprint": each.fingerprint, "rule": each.rule, "file": each.file or None, "message": each.message}
            for each in report.known.gone[:MAX_FINDINGS]
        ],
        "remarks": [{"text": clean(each.text), **at(each.place)} for each in report.remarks[:_MAX_LISTED]],
        "rules": [_rule(each) for each in report.rules],
        "services": report.services,
        "files": report.files,
        "part": clean(report.part) or None,
    }


def at(place: Place | None) -> dict[str, Any]:
    """`file` and `line`; no line when it is the file as a whole."""
    return {"file": whole(place.file) if place else None, "line": place.line or None if place else None}


def whole(path: str) -> str:
    """A path as it is, for JSON escapes what is odd in it; only halves of surrogates are no text that could be written."""
    return path.encode("utf-8", "replace").decode()


def finding_data(marked: Marked, advice: Mapping[str, Rule]) -> dict[str, Any]:
    """One finding; `advice` are the rules by name."""
    finding = marked.finding
    rule = advice.get(finding.rule)
    return {
        "rule": finding.rule,
        "verdict": finding.verdict.value,
        "severity": finding.severity.value,
        "services": [clean(name) for name in finding.services],
        **at(finding.place),
        "message": clean(finding.message),
        "fingerprint": marked.fingerprint,
        "evidence": [_evidence(each) for each in finding.evidence[:MAX_EVIDENCE]],
        "why": rule.why if rule else "",
        "fix": clean(finding.fix or (rule.fix if rule else ""), MAX_TEXT),
    }


def _evidence(each: Evidence) -> dict[str, Any]:
    return {"text": clean(each.text), "source": each.source.value, **at(each.place)}


def _allowed(marked: Marked, advice: Mapping[str, Rule]) -> dict[str, Any]:
    assert marked.allowed is not None, "only those with a comment are here"
    comment = {"reason": clean(marked.allowed.reason), **at(marked.allowed.place)}
    return {**finding_data(marked, advice), "comment": comment}


def _rule(each: RuleVerdict) -> dict[str, Any]:
    errors, warnings, notes = each.counts
    return {
        "rule": each.rule.name,
        "verdict": each.verdict,
        "errors": errors,
        "warnings": warnings,
        "notes": notes,
        "suspects": each.suspects,
        "unknown": each.unknown,
        "allowed": each.allowed,
        "known": each.known,
        "why": each.rule.why,
        "fix": each.rule.fix,
    }
