"""The rule no-circuit-breaker on facts of calls."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from facts import BREAKER, ENDLESS, call, subject

from skerry.architecture.code.facts import Call, Kind, Role, Target
from skerry.architecture.rules import Finding, Severity, Subject, Verdict
from skerry.architecture.rules.no_circuit_breaker import no_circuit_breaker


def told(system: Subject, *verdicts: Verdict) -> list[Finding]:
    wanted = verdicts or (Verdict.VIOLATION, Verdict.SUSPECT)
    return [each for each in no_circuit_breaker.check(system) if each.verdict in wanted]


def test_calls_to_one_service_are_one_finding() -> None:
    """Of the pair of caller and callee; the calls are its evidence."""
    (found,) = told(subject(call(3), call(4), call(5, breaker=BREAKER)))
    assert (found.severity, found.services) == (Severity.WARNING, ("api", "peer"))
    assert [each.place.line for each in found.evidence if each.place] == [3, 4]


def test_it_is_an_error_when_the_call_has_no_limit_either() -> None:
    """The place is that call's."""
    (found,) = told(subject(call(3), call(4, timeout=ENDLESS)))
    assert (found.severity, found.place and found.place.line) == (Severity.ERROR, 4)


@pytest.mark.parametrize(
    "fine",
    [
        call(3, breaker=BREAKER),
        call(3, role=Role.JOB),
        call(3, role=Role.TEST),
        call(3, kind=Kind.DATABASE),
        call(3, kind=Kind.CACHE),
        call(3, kind=Kind.BROKER),
        call(3, kind=Kind.SOCKET),
        call(3, target=Target("http://localhost:9000")),
        call(3, target=Target("http://169.254.169.254/latest")),
    ],
    ids=str,
)
def test_what_needs_no_breaker_is_not_told_of(fine: Call) -> None:
    """Guarded calls, jobs, tests, what is no service, and what runs beside."""
    assert not told(subject(fine))


def test_a_mesh_before_the_callee_is_a_breaker() -> None:
    """And the clean verdict names it."""
    system = subject(call(3), guarded=True)
    assert not told(system)
    assert any(one.text == "outlier detection" for each in told(system, Verdict.CLEAN) for one in each.evidence)


def test_a_host_outside_and_a_variable_that_leads_nowhere_count_too() -> None:
    """One finding for each of them; only the caller is a service."""
    outside = call(3, target=Target("https://api.example.com/v1"))
    somewhere = call(4, target=Target("", ("RATES_URL",)))
    found = told(subject(outside, somewhere))
    assert [each.services for each in found] == [("api",), ("api",)]
    assert ["api.example.com" in found[1].message, "RATES_URL" in found[0].message] == [True, True]


def test_a_call_to_nobody_knows_whom_is_unknown() -> None:
    """It is not clean, and not blamed."""
    system = subject(call(3, target=Target("{}")))
    assert not told(system)
    assert [each.services for each in told(system, Verdict.UNKNOWN)] == [("api",)]


def test_clean_names_the_breaker() -> None:
    """With its place; a service that asks nobody is clean with what was read of it."""
    found = {each.services: each for each in told(subject(call(3, breaker=BREAKER)), Verdict.CLEAN)}
    assert "pybreaker" in found["api",].evidence[0].text
    assert found["peer",].evidence


def test_a_token_in_a_url_is_no_address() -> None:
    """Whom a call goes to is not said by the secret that it brings along; by another variable it is."""
    secret = subject(call(3, target=Target("{}/tips?token={}", ("API_TOKEN",))), to_peer=())
    told = subject(call(3, target=Target("{}/tips?token={}", ("API_TOKEN", "API_BASE"))), to_peer=())
    assert [each.verdict for each in no_circuit_breaker.check(secret) if "api" in each.services] == [Verdict.UNKNOWN]
    assert any("the address in API_BASE" in each.message for each in no_circuit_breaker.check(told))
