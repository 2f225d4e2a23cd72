"""The text says first what each rule comes to, then each finding with its place, and what it is not sure of."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from made import HOSTILE, Rule, clean, found, reported, subject, unknown

from skerry.architecture.code.facts import Allowed
from skerry.architecture.model import Evidence, Source
from skerry.architecture.report import as_one, as_text
from skerry.architecture.report.text import MAX_FINDINGS
from skerry.architecture.rules import Severity, Verdict
from skerry.architecture.source import Place, Skipped

TRACE = Evidence("p99 31 s in 12 traces", Source.TRACE, Place("traces.jsonl", 7))


def test_verdicts_first() -> None:
    """One line a rule, in the order of the rules, with counts."""
    lines = as_text(reported(found(), found(key="b", verdict=Verdict.SUSPECT), clean(), unknown("shared-database")))
    assert lines.split("\n")[:6] == [
        "3 rules on 2 services in 0 files",
        "",
        "  no-timeout       violation: 2 errors, 1 of them suspect",
        "  shared-database  unknown",
        "  chatty           clean",
        "",
    ]


def test_a_rule_that_said_nothing_is_no_pass() -> None:
    """Without a clean verdict there is none."""
    assert [each.verdict for each in reported(found("no-timeout")).rules] == ["violation", "unknown", "unknown"]


def test_a_finding_has_its_place_and_both_kinds_of_evidence() -> None:
    """File and line stand together, and what was seen at run time is never cut off for what code says."""
    many = tuple(Evidence(f"line {n}", Source.CODE, Place("a.py", n)) for n in range(1, 30))
    text = as_text(reported(found(evidence=(*many, TRACE))))
    assert "error  order/app.py:12  " in text
    assert "- traces.jsonl:7  seen at run time: p99 31 s in 12 traces" in text
    assert "… and 22 more" in text


def test_advice_once_a_rule() -> None:
    """Why it hurts is said once, however many findings there are."""
    text = as_text(reported(found(), found(key="b"), found(key="c")))
    assert text.count("why it hurts:") == text.count("what to do:") == 1


def test_advice_for_this_place() -> None:
    """What a finding itself advises stands with it."""
    assert "here: pass timeout=2.0" in as_text(reported(found(fix="pass timeout=2.0")))


def test_clean_says_what_was_seen_and_unknown_what_is_missing() -> None:
    """Both are more than a word."""
    text = as_text(reported(clean(), unknown("shared-database")))
    assert "chatty: 3 calls were read, none in a loop" in text
    assert "shared-database: the value of PEER_URL is missing" in text
    assert text.endswith("nothing found; 2 rules unknown\n")


def test_the_worst_first() -> None:
    """Errors stand before notes, proofs before suspicions."""
    note = found(key="n", severity=Severity.NOTE, at="a.py:1")
    suspect = found(key="s", verdict=Verdict.SUSPECT, at="b.py:1")
    text = as_text(reported(note, suspect, found(at="c.py:1")))
    assert text.index("c.py:1") < text.index("b.py:1") < text.index("a.py:1")


def test_what_is_allowed_and_not_read_is_shown() -> None:
    """Allowed findings with their reasons, comments that do not work, and files with why they were not understood."""
    one = Allowed(place=Place("order/app.py", 12), rule="no-timeout", reason="at night", lines=(12, 12))
    two = Allowed(place=Place("order/app.py", 40), rule="no-timeout", reason="", lines=(40, 40))
    given = subject(
        allowed=(one, two),
        unparsed=(Skipped("old.py", "Python 2"),),
        skipped=(Skipped("huge.py", "larger than 4 MiB"), Skipped("l.py", "a link, which is not followed")),
    )
    text = as_text(reported(found(), given=given))
    assert "order/app.py:12  no-timeout: at night" in text
    assert "order/app.py:40  allow[no-timeout] without a reason" in text
    assert "unparsed: 2 files" in text
    assert "old.py: Python 2" in text
    assert "l.py" not in text


def test_a_terminal_obeys_nothing_of_the_repository() -> None:
    """Whatever a name holds, the text has printable characters and line ends, and no line of the name's own."""
    evil = found(message=HOSTILE, services=(HOSTILE,), evidence=(Evidence(HOSTILE, Source.CODE),), fix=HOSTILE)
    text = as_text(reported(evil, unknown(message=HOSTILE), clean("shared-database", HOSTILE)))
    assert all(line.isprintable() for line in text.split("\n"))
    assert "[red]" in text, "brackets are no markup"
    assert "\n## head" not in text
    text.encode()


def test_colours_only_when_asked() -> None:
    """Without a terminal there is no escape sequence."""
    result = reported(found())
    assert "\x1b[" in as_text(result, colour=True)
    assert "\x1b" not in as_text(result)


def test_it_is_bounded() -> None:
    """A thousand findings are not a thousand on a screen, and the rest is counted."""
    text = as_text(reported(*(found(key=str(n)) for n in range(1_000))))
    assert text.count("order waits for payment") == MAX_FINDINGS
    assert f"… and {1_000 - MAX_FINDINGS} more" in text
    assert "1000 errors" in text


def test_one_finding_with_all_its_evidence() -> None:
    """What the report cuts off, explaining does not."""
    many = tuple(Evidence(f"line {n}", Source.CODE, Place("a.py", n)) for n in range(1, 30))
    [marked] = reported(found(evidence=many)).findings
    text = as_one(marked, Rule("no-timeout"))
    assert "a.py:29" in text
    assert "why it hurts: It hurts because it does." in text
