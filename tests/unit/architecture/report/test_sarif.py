"""SARIF 2.1.0 that code hosts take: the structure, paths as references, suppressions with their reasons."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

sys.path.insert(0, str(Path(__file__).parent))

import pytest
from jsonschema import Draft202012Validator
from made import HOSTILE, RULES, clean, found, reported, subject, unknown

from skerry.architecture.code.facts import Allowed
from skerry.architecture.report import as_sarif, read_baseline, write_baseline
from skerry.architecture.source import Place, Skipped

MESSAGE = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
PHYSICAL = {
    "type": "object",
    "required": ["artifactLocation"],
    "properties": {
        "artifactLocation": {"type": "object", "required": ["uri"], "properties": {"uri": {"format": "uri-reference"}}},
        "region": {"type": "object", "properties": {"startLine": {"type": "integer", "minimum": 1}}},
    },
}
LOCATION = {"type": "object", "properties": {"physicalLocation": PHYSICAL, "message": MESSAGE}}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
RESULT = {
    "type": "object",
    "required": ["message", "ruleId", "ruleIndex", "level", "partialFingerprints"],
    "properties": {
        "message": MESSAGE,
        "level": LEVEL,
        "locations": {"type": "array", "items": LOCATION},
        "relatedLocations": {"type": "array", "items": LOCATION},
        "partialFingerprints": {"additionalProperties": {"type": "string"}},
        "baselineState": {"enum": ["new", "unchanged", "updated", "absent"]},
        "suppressions": {
            "type": "array",
            "items": {
                "required": ["kind"],
                "properties": {
                    "kind": {"enum": ["inSource", "external"]},
                    "status": {"enum": ["accepted", "underReview", "rejected"]},
                    "location": LOCATION,
                },
            },
        },
    },
    "additionalProperties": False,
}
RESULT["properties"] |= {
    "ruleId": {"type": "string"},
    "ruleIndex": {"type": "integer"},
    "properties": {"type": "object"},
}
NOTE = {"required": ["message"], "properties": {"level": LEVEL, "message": MESSAGE, "locations": {"items": LOCATION}}}
SCHEMA = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "runs": {
            "minItems": 1,
            "items": {
                "required": ["tool", "results"],
                "properties": {
                    "tool": {
                        "required": ["driver"],
                        "properties": {
                            "driver": {"required": ["name", "rules"], "properties": {"name": {"type": "string"}}}
                        },
                    },
                    "results": {"type": "array", "items": RESULT},
                    "invocations": {
                        "items": {
                            "required": ["executionSuccessful"],
                            "properties": {"toolExecutionNotifications": {"items": NOTE}},
                        }
                    },
                },
            },
        },
    },
}
"""What the standard's schema demands of the parts that we write."""


def run_of(result) -> dict:
    document = json.loads(json.dumps(as_sarif(result, version="1.2.3")))
    Draft202012Validator(SCHEMA).validate(document)
    return document["runs"][0]


def uri_of(result: dict) -> str:
    return result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]


def test_results_have_rules_with_help_and_fingerprints() -> None:
    """A result points to its rule, and the rule says what to do."""
    report = reported(found("shared-database"), clean(), unknown("no-timeout"))
    run = run_of(report)
    [result] = run["results"]
    rule = run["tool"]["driver"]["rules"][result["ruleIndex"]]
    assert rule["id"] == result["ruleId"] == "shared-database"
    assert RULES[1].fix in rule["help"]["text"]
    first = report.findings[0]
    assert result["partialFingerprints"] == {"skerry/v2": first.fingerprint, "skerry/v1": first.former}
    assert run["properties"]["verdicts"] == {"no-timeout": "unknown", "shared-database": "violation", "chatty": "clean"}


def test_what_is_unknown_or_not_read_is_a_notification() -> None:
    """Neither is a result, which would be an alert; neither is lost."""
    given = subject(unparsed=(Skipped("old.py", "Python 2"),))
    run = run_of(reported(unknown(), given=given))
    assert run["results"] == []
    texts = [each["message"]["text"] for each in run["invocations"][0]["toolExecutionNotifications"]]
    assert texts == ["unparsed: Python 2", "chatty is unknown: the value of PEER_URL is missing"]


@pytest.mark.parametrize(
    "name",
    ["a b.py", "ü/#1.py", "100%.py", "http:/x?.py", "c:d.py", "//host/x.py", "\udcff.py", "a\nb.py"],
)
def test_paths_are_references_below_the_root(name: str) -> None:
    """No name makes an address of another host, a scheme, a query or a fragment; the path is the same when it is read back."""
    [result] = run_of(reported(found(at=f"{name}:3")))["results"]
    uri = uri_of(result)
    parts = urlsplit(uri)
    assert uri.isascii()
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")
    assert unquote(uri, errors="surrogateescape") in {name.lstrip("/"), name.lstrip("/").replace("//", "/"), uri} or (
        "\udcff" in name
    )


def test_a_folder_of_a_repository_is_part_of_the_path() -> None:
    """Code hosts look for files from the root of the repository."""
    [result] = run_of(reported(found(), given=subject(part="systems/shop")))["results"]
    assert uri_of(result) == "systems/shop/order/app.py"


def test_what_is_allowed_or_known_is_suppressed_with_its_reason(tmp_path) -> None:
    """It is in the document and no alert."""
    comment = Allowed(place=Place("order/app.py", 12), rule="no-timeout", reason="at night", lines=(12, 12))
    file = tmp_path / "b.json"
    file.write_text(write_baseline(reported(found("chatty"))))
    report = reported(found(), found("chatty"), given=subject(allowed=(comment,)), baseline=read_baseline(file))
    one, other = run_of(report)["results"]
    assert one["suppressions"][0]["kind"] == "inSource"
    assert one["suppressions"][0]["justification"] == "at night"
    assert other["suppressions"][0]["kind"] == "external"
    assert other["baselineState"] == "unchanged"


def test_a_message_has_no_links() -> None:
    """Brackets of the repository's are text, and control characters are none."""
    [result] = run_of(reported(found(message=HOSTILE, services=(HOSTILE,))))["results"]
    assert "\\[a\\](" in result["message"]["text"]
    assert result["message"]["text"].isprintable()


def test_a_finding_without_a_place_stands_where_its_evidence_does() -> None:
    """A code host shows no result without a location."""
    finding = found()
    without = type(finding)(**{name: getattr(finding, name) for name in finding.__slots__} | {"place": None})
    [result] = run_of(reported(without))["results"]
    assert uri_of(result) == "order/app.py"
