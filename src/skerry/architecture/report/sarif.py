"""The report as SARIF 2.1.0, which code hosts and editors read.

Paths are relative to the root of the repository and percent-encoded, whichever folder of it was read. What a comment allows or
the baseline knows has a suppression. Rules that are clean or unknown have no result, for some readers would show it as an alert:
they are in the run's properties and, when unknown, among its notifications.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from skerry.architecture.report.clean import clean
from skerry.architecture.report.markdown import escape
from skerry.architecture.report.report import Marked, Report
from skerry.architecture.rules.finding import Rule, Severity, Verdict
from skerry.architecture.source import Place

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
FINGERPRINT: Final = "skerry/v2"
_FORMER: Final = "skerry/v1"
"""The names of the fingerprint and of the former one, which a rename changes: another way to make it is another name."""
MAX_RESULTS: Final = 5_000
MAX_RELATED: Final = 20
_MAX_NOTES: Final = 200


def as_sarif(report: Report, *, version: str) -> dict[str, Any]:
    """One run. `version` is that of skerry."""
    indexes = {each.rule.name: number for number, each in enumerate(report.rules)}
    marked = (*report.findings, *report.allowed, *report.known.there)
    known = {each.fingerprint for each in report.known.there}
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "skerry",
                        "semanticVersion": version,
                        "rules": [_rule(each.rule) for each in report.rules],
                    }
                },
                "automationDetails": {"id": f"skerry/check/{_uri(report.part)}".rstrip("/") + "/"},
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": {"SRCROOT": {"description": {"text": "The root of the repository."}}},
                "invocations": [
                    {
                        "executionSuccessful": True,
                        "toolExecutionNotifications": list(_notes(report)),
                    }
                ],
                "results": [_result(each, indexes, known, report.part) for each in marked[:MAX_RESULTS]],
                "properties": {"verdicts": {each.rule.name: each.verdict for each in report.rules}},
            }
        ],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    worst = Severity.NOTE if rule.name == "premature-microservices" else Severity.WARNING
    return {
        "id": rule.name,
        "name": "Never" + "".join(part.capitalize() for part in rule.name.split("-")),
        "shortDescription": {"text": f"NEVER {rule.name.replace('-', ' ')}"},
        "fullDescription": {"text": rule.why},
        "help": {
            "text": f"{rule.why}\n\n{rule.fix}",
            "markdown": f"{escape(rule.why, 4_000)}\n\n**What to do.** {escape(rule.fix, 4_000)}",
        },
        "defaultConfiguration": {"level": worst.value},
    }


def _result(marked: Marked, indexes: Mapping[str, int], known: set[str], part: str) -> dict[str, Any]:
    finding = marked.finding
    where = finding.place or next((each.place for each in finding.evidence if each.place), None)
    related = [each for each in finding.evidence if each.place is not None][:MAX_RELATED]
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": indexes[finding.rule],
        "level": finding.severity.value,
        "message": {"text": _plain(finding.message)},
        "partialFingerprints": {FINGERPRINT: marked.fingerprint, _FORMER: marked.former},
        "properties": {
            "verdict": finding.verdict.value,
            "services": [clean(name, 200) for name in finding.services],
            "evidence": [
                {"text": clean(each.text), "source": each.source.value} for each in finding.evidence[:MAX_RELATED]
            ],
        },
    }
    if where is not None:
        result["locations"] = [{"physicalLocation": _physical(where, part)}]
    if related:
        result["relatedLocations"] = [
            {
                "id": number,
                "physicalLocation": _physical(each.place, part),
                "message": {"text": _plain(each.text)},
            }
            for number, each in enumerate(related, 1)
            if each.place is not None
        ]
    if marked.allowed is not None:
        result["suppressions"] = [
            {
                "kind": "inSource",
                "status": "accepted",
                "justification": clean(marked.allowed.reason),
                "location": {"physicalLocation": _physical(marked.allowed.place, part)},
            }
        ]
    elif marked.fingerprint in known:
        result["baselineState"] = "unchanged"
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": "in the baseline"}]
    return result


def _physical(place: Place, part: str) -> dict[str, Any]:
    path = f"{part}/{place.file}" if part else place.file
    found: dict[str, Any] = {"artifactLocation": {"uri": _uri(path), "uriBaseId": "SRCROOT"}}
    if place.line:
        found["region"] = {"startLine": place.line}
    return found


def _plain(text: str) -> str:
    """A message: brackets would make a link of what is between them."""
    return re.sub(r"[\\\[\]]", lambda found: f"\\{found[0]}", clean(text))


def _uri(path: str) -> str:
    """A relative path as a reference: no colon that would make a scheme of it, no two slashes that would make a host."""
    return "/".join(quote(each, safe="", errors="surrogatepass") for each in path.split("/") if each)


def _notes(report: Report) -> Iterator[dict[str, Any]]:
    """What was not read, what nobody knows, and comments that do not work."""
    for each in report.unparsed[:_MAX_NOTES]:
        place = Place(each.file)
        yield {
            "level": "warning",
            "message": {"text": f"unparsed: {clean(each.why)}"},
            "locations": [{"physicalLocation": _physical(place, report.part)}],
        }
    for marked in report.unknown[:_MAX_NOTES]:
        assert marked.finding.verdict is Verdict.UNKNOWN, "sorted so"
        text = f"{marked.finding.rule} is unknown: {clean(marked.finding.message)}"
        yield {"level": "note", "message": {"text": text}, "associatedRule": {"id": marked.finding.rule}}
    for remark in report.remarks[:_MAX_NOTES]:
        note: dict[str, Any] = {"level": "note", "message": {"text": clean(remark.text)}}
        if remark.place is not None:
            note["locations"] = [{"physicalLocation": _physical(remark.place, report.part)}]
        yield note
