"""The rule chatty on facts of calls."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from facts import FILE, call, subject

from skerry.architecture.code.facts import Kind, Loop, Role
from skerry.architecture.rules import Finding, Severity, Subject, Verdict
from skerry.architecture.rules.chatty import chatty
from skerry.architecture.source import Place

ITEMS = Loop(Place(FILE, 3), "items", varies=True)
AROUND = Loop(Place(FILE, 9), "items", varies=True)


def told(system: Subject, *verdicts: Verdict) -> list[Finding]:
    wanted = verdicts or (Verdict.VIOLATION, Verdict.SUSPECT)
    return [each for each in chatty.check(system) if each.verdict in wanted]


@pytest.mark.parametrize("kind", [Kind.HTTP, Kind.GRPC, Kind.RPC])
def test_a_call_for_each_item_is_chatty(kind: Kind) -> None:
    """By whatever it goes; a warning without traces, at the call."""
    (found,) = told(subject(call(3, kind=kind, loop=ITEMS)))
    assert (found.severity, found.services, found.place) == (Severity.WARNING, ("api", "peer"), Place(FILE, 3))


def test_a_loop_around_the_function_that_asks_is_chatty_where_the_loop_is() -> None:
    """The call itself is the evidence."""
    asking = replace(call(3), repeated=(AROUND,))
    (found,) = told(subject(asking))
    assert found.place == AROUND.place
    assert {each.place for each in found.evidence} == {Place(FILE, 3), AROUND.place}


@pytest.mark.parametrize("over", ["pages", "attempts", "polls", "fixed"])
def test_other_loops_are_meant(over: str) -> None:
    """The clean verdict names them."""
    system = subject(call(3, loop=Loop(Place(FILE, 2), over, varies=True)))
    assert not told(system)
    assert any(over in each.message for each in told(system, Verdict.CLEAN))


def test_a_call_that_does_not_depend_on_the_item_is_not_chatty() -> None:
    """Nor is one in a job, or one to a database."""
    same = Loop(Place(FILE, 2), "items", varies=False)
    system = subject(
        call(3, loop=same), call(4, loop=ITEMS, role=Role.JOB), call(5, loop=ITEMS, kind=Kind.DATABASE), call(6)
    )
    assert not told(system)
