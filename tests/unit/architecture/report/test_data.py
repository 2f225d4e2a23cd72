"""JSON for programs: the keys that are promised, findings that count apart from all others."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pytest
from made import HOSTILE, RULES, clean, found, reported, subject, unknown

from skerry.architecture.code.facts import Allowed
from skerry.architecture.report import as_data, as_rule, find, read_report
from skerry.architecture.rules import RULES as ALL
from skerry.architecture.source import Place, Skipped
from skerry.cli.check import RULES as NAMES
from skerry.errors import ConfigurationError

KEYS = {
    *("rule", "verdict", "severity", "services", "file", "line", "message", "fingerprint", "evidence", "fix", "why"),
}


def test_a_finding_has_the_keys_that_are_promised() -> None:
    """Rule, verdict, severity, services, file, line, message, and what explains it."""
    [finding] = as_data(reported(found()))["findings"]
    assert finding.keys() == KEYS
    assert (finding["file"], finding["line"], finding["severity"]) == ("order/app.py", 12, "error")
    assert finding["evidence"] == [{"text": "requests.get(url)", "source": "code", "file": "order/app.py", "line": 12}]
    assert finding["fix"] == RULES[0].fix


def test_only_what_counts_is_a_finding() -> None:
    """Clean, unknown and allowed ones have lists of their own; unparsed is a number."""
    comment = Allowed(place=Place("order/app.py", 12), rule="no-timeout", reason="at night", lines=(12, 12))
    given = subject(allowed=(comment,), unparsed=(Skipped("old.py", "Python 2"),))
    data = as_data(reported(found(), clean(), unknown("shared-database"), given=given))
    assert data["findings"] == []
    assert data["unparsed"] == 1
    assert [each["rule"] for each in data["clean"]] == ["chatty"]
    assert [each["rule"] for each in data["unknown"]] == ["shared-database"]
    assert data["allowed"][0]["comment"] == {"reason": "at night", "file": "order/app.py", "line": 12}
    assert [(each["rule"], each["verdict"]) for each in data["rules"]] == [
        ("no-timeout", "accepted"),
        ("shared-database", "unknown"),
        ("chatty", "clean"),
    ]


def test_hostile_names_are_data(tmp_path) -> None:
    """The document is ASCII that any parser takes, a path keeps its odd characters, and a message has none."""
    text = json.dumps(as_data(reported(found(message=HOSTILE, at="\x1b\udcff.py:1"))))
    assert text.isascii()
    [finding] = json.loads(text)["findings"]
    finding["file"].encode()
    assert finding["file"].startswith("\x1b")
    assert finding["message"].isprintable()


def test_a_finding_is_found_again_in_what_was_written(tmp_path) -> None:
    """By the beginning of its fingerprint, with its evidence."""
    file = tmp_path / "report.json"
    result = reported(found(), clean())
    file.write_text(json.dumps(as_data(result)))
    [marked] = result.findings
    again = find(read_report(file), marked.fingerprint[:8])
    assert again.finding.evidence == marked.finding.evidence
    assert (again.finding.place, again.fingerprint) == (marked.finding.place, marked.fingerprint)


@pytest.mark.parametrize("prefix", ["", "abc", "0000000000"])
def test_no_finding_or_no_fingerprint(prefix: str) -> None:
    """Too short and not there are errors that say so."""
    with pytest.raises(ConfigurationError):
        find(reported(found()).findings, prefix)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"findings": 1}', "[" * 100_000],
)
def test_what_is_no_report(tmp_path, text: str) -> None:
    """The error names the file."""
    file = tmp_path / "r.json"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"r\.json"):
        read_report(file)


@pytest.mark.parametrize("entry", [1, {}, {"fingerprint": 1}, {"fingerprint": "a", "verdict": "x", "severity": "y"}])
def test_entries_that_are_none_are_left_out(tmp_path, entry) -> None:
    """A report that another program wrote takes nothing down."""
    file = tmp_path / "r.json"
    file.write_text(json.dumps({"findings": [entry]}))
    assert read_report(file) == ()


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.name)
def test_every_rule_explains_itself(rule) -> None:
    """Why, what to do, a fault with two ways out, and how to allow it."""
    text = as_rule(rule)
    for part in ("why it hurts:", "what to do:", "the fault:", "with skerry:", "without:", f"allow[{rule.name}]"):
        assert part in text


def test_the_command_knows_every_rule_by_its_name() -> None:
    """Its names are written down so that help need not load the analyser; they are the rules', in their order."""
    assert tuple(rule.name for rule in ALL) == NAMES
