"""The rule no-timeout on facts of calls."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from facts import ENDLESS, FILE, LIMITED, call, subject

from skerry.architecture.code.facts import Bound, Import, Kind, Role, Target, Timeout
from skerry.architecture.rules import Finding, Severity, Subject, Verdict
from skerry.architecture.rules.no_timeout import no_timeout
from skerry.architecture.source import Place


def told(system: Subject, *verdicts: Verdict) -> list[Finding]:
    wanted = verdicts or (Verdict.VIOLATION, Verdict.SUSPECT)
    return [each for each in no_timeout.check(system) if each.verdict in wanted]


@pytest.mark.parametrize(
    ("role", "severity"),
    [
        (Role.REQUEST, Severity.ERROR),
        (Role.JOB, Severity.WARNING),
        (Role.SCRIPT, None),
        (Role.TEST, None),
        (Role.EXAMPLE, None),
        (Role.MIGRATION, None),
        (Role.GENERATED, None),
    ],
)
def test_a_call_without_a_limit_weighs_by_who_waits_for_it(role: Role, severity: Severity | None) -> None:
    """An error before a request, a warning in a job, nothing where a person waits."""
    found = told(subject(call(7, timeout=ENDLESS, role=role)))
    assert [each.severity for each in found] == ([severity] if severity else [])
    assert all(each.place == Place(FILE, 7) and each.services == ("api", "peer") for each in found)


def test_one_client_without_a_limit_is_one_finding_where_it_is_built() -> None:
    """Its uses are the evidence; a client with one use is told of at the use, with the client as evidence."""
    cause = Timeout(Bound.UNBOUNDED, None, "the client is built with timeout=None", Place(FILE, 3))
    (found,) = told(subject(*(call(line, timeout=cause) for line in (10, 20, 30))))
    assert found.place == Place(FILE, 3)
    assert {each.place.line for each in found.evidence if each.place} == {3, 10, 20, 30}
    (single,) = told(subject(call(10, timeout=cause)))
    assert single.place == Place(FILE, 10)
    assert {each.place.line for each in single.evidence if each.place} == {3, 10}


def test_a_wrapper_that_asks_several_services_is_one_finding_with_all_of_them() -> None:
    """One place, one limit that is missing."""
    asking = [call(7, timeout=ENDLESS), call(7, timeout=ENDLESS, target=Target("https://api.example.com/v1"))]
    (found,) = told(subject(*asking))
    assert found.place == Place(FILE, 7)
    assert "peer, api.example.com" in found.message


def test_statements_of_one_database_are_one_finding() -> None:
    """One for each connection, and a warning; another database is another finding."""
    one, other = Target("postgresql://db/a"), Target("postgresql://db/b")
    calls = [call(line, timeout=ENDLESS, kind=Kind.DATABASE, target=one, library="psycopg") for line in (3, 4)]
    calls.append(call(5, timeout=ENDLESS, kind=Kind.DATABASE, target=other, library="psycopg"))
    found = told(subject(*calls))
    assert [each.severity for each in found] == [Severity.WARNING] * 2


def test_limits_that_cannot_be_seen_are_one_unknown_a_service() -> None:
    """It says what is missing, and is not clean."""
    vague = Timeout(Bound.UNKNOWN, None, "the client is handed in")
    (unknown,) = told(subject(call(3, timeout=vague), call(4, timeout=vague), call(5)), Verdict.UNKNOWN)
    assert "2 of 3" in unknown.message
    assert "handed in" in unknown.message
    assert not [each for each in told(subject(call(3, timeout=vague)), Verdict.CLEAN) if "api" in each.services]


def test_clean_says_what_bounds_the_calls() -> None:
    """How many, the shortest and the longest; a default of a library is named as one."""
    default = Timeout(Bound.DEFAULT, 300.0, "aiohttp ends a request by itself")
    system = subject(call(3, timeout=LIMITED), call(4, timeout=default, library="aiohttp"))
    assert not told(system)
    found = {each.services: each for each in told(system, Verdict.CLEAN)}
    assert "2 calls" in found["api",].message
    assert "between 2 s and 300 s" in found["api",].message
    assert any("300 s" in each.text and "default" in each.text for each in found["api",].evidence)
    assert found["peer",].evidence


def test_where_no_source_was_read_the_verdict_is_unknown() -> None:
    """No bare pass."""
    system = subject()
    bare = Subject(files=system.files, code=type(system.code)(), model=system.model)
    assert [each.verdict for each in no_timeout.check(bare)] == [Verdict.UNKNOWN]


def test_samples_beside_the_services_are_nobodys_request_and_shared_clients_are() -> None:
    """A file of no service counts when a service imports it."""
    stray = replace(call(3, timeout=ENDLESS), place=Place("shared/client.py", 3))
    system = subject(stray, to_peer=())
    assert not told(system)
    imported = {FILE: (Import("shared.client", Place(FILE, 1)),)}
    used = replace(system, code=replace(system.code, imports=imported))
    assert [each.place for each in told(used)] == [Place("shared/client.py", 3)]
