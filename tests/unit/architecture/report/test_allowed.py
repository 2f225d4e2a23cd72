"""A comment allows the finding in its statement, if it says why; whatever does not work is said."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pytest
from made import found, reported, subject

from skerry.architecture.code.facts import Allowed
from skerry.architecture.code.structure.comments import allowed as read
from skerry.architecture.source import Place

CODE = """\
def charge():
    # skerry: allow[no-timeout] the proxy gives up after 2 s
    return requests.get(
        url,
        headers=headers,
    )
"""


def comment(reason: str = "a batch at night", rule: str = "no-timeout", line: int = 12) -> Allowed:
    return Allowed(place=Place("order/app.py", line), rule=rule, reason=reason, lines=(line, line + 2))


@pytest.mark.parametrize("line", [12, 13, 14])
def test_a_comment_holds_for_its_statement(line: int) -> None:
    """On whichever of its lines the finding is, it is counted as allowed, with the comment."""
    result = reported(found(at=f"order/app.py:{line}"), given=subject(allowed=(comment(),)))
    assert not result.findings
    assert [each.allowed for each in result.allowed] == [comment()]
    assert (result.rules[0].verdict, result.rules[0].allowed) == ("accepted", 1)
    assert not result.remarks


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (comment(reason=""), "without a reason allows nothing"),
        (comment(rule="no-timeuot"), "there is no rule 'no-timeuot'"),
        (comment(rule="*"), "there is no rule '*'"),
        (comment(line=40), "matches no finding"),
        (comment(rule="chatty"), "allow[chatty] matches no finding"),
    ],
    ids=["no reason", "misspelt", "all rules", "elsewhere", "another rule"],
)
def test_what_does_not_work_allows_nothing_and_is_said(given: Allowed, said: str) -> None:
    """The finding counts, and the report names the comment with its place."""
    result = reported(found(), given=subject(allowed=(given,)))
    assert len(result.findings) == 1
    [remark] = result.remarks
    assert said in remark.text
    assert remark.place == given.place


def test_a_comment_is_not_called_useless_when_its_rule_was_not_asked() -> None:
    """With --rule chatty nobody knows whether an allow[no-timeout] is of use."""
    result = reported(found(), given=subject(allowed=(comment(),)), asked=("chatty",))
    assert not result.remarks


def test_a_comment_above_a_call_over_several_lines() -> None:
    """The lines that the reader of comments tells fit those that findings are at."""
    given = subject(allowed=read(CODE, "order/app.py"))
    assert reported(found(at="order/app.py:3"), given=given).allowed
    assert reported(found(at="order/app.py:5"), given=given).allowed
    assert not reported(found(at="order/app.py:1"), given=given).allowed


@pytest.mark.parametrize(("line", "holds"), [(1, False), (2, True), (3, True), (4, False)])
def test_a_comment_in_a_manifest(line: int, holds: bool) -> None:
    """In YAML a comment of its own line holds for the next line too."""
    text = b"services:\n  # skerry: allow[shared-database] reports only read\n  reports: {}\n  order: {}\n"
    given = subject(compose_yaml=text)
    result = reported(found("shared-database", at=f"compose.yaml:{line}"), given=given)
    assert bool(result.allowed) is holds


def test_a_comment_at_the_end_of_a_line_of_a_manifest_holds_for_that_line_alone() -> None:
    """The next line is another setting."""
    given = subject(compose_yaml=b"a: 1  # skerry: allow[shared-database] it is read only\nb: 2\n")
    assert reported(found("shared-database", at="compose.yaml:1"), given=given).allowed
    assert not reported(found("shared-database", at="compose.yaml:2"), given=given).allowed
