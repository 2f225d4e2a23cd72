"""The order in which processes start."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skerry.deploy.order import waves

NAMES = "abcdef"
CALLS = st.dictionaries(st.sampled_from(NAMES), st.sets(st.sampled_from(NAMES)))


def test_nobody_starts_before_those_that_it_calls() -> None:
    """Leaves first, in the order of the file; a name that is nowhere holds nobody up."""
    calls = {"gateway": ["order", "stock"], "order": ["stock", "payment"], "payment": [], "stock": ["elsewhere"]}
    assert waves(calls) == [["payment", "stock"], ["order"], ["gateway"]]


def test_those_in_a_circle_start_together() -> None:
    """What they call starts before all of them, and whoever calls one of them after all of them."""
    calls = {"gateway": ["one"], "one": ["two"], "two": ["other"], "other": ["one", "leaf", "other"], "leaf": []}
    assert waves(calls) == [["leaf"], ["one", "two", "other"], ["gateway"]]


@given(CALLS)
def test_everybody_starts_once_and_as_early_as_the_calls_allow(calls: dict[str, set[str]]) -> None:
    """Whatever the calls are: a callee in a later wave, or in the same one, means that it leads back to the caller."""
    found = waves(calls)
    assert sorted(name for wave in found for name in wave) == sorted(calls)
    number = {name: n for n, wave in enumerate(found) for name in wave}
    for name, callees in calls.items():
        for callee in callees & calls.keys():
            assert number[callee] < number[name] or (number[callee] == number[name] and leads(callee, name, calls))


def leads(start: str, end: str, calls: dict[str, set[str]], seen: frozenset[str] = frozenset()) -> bool:
    return start == end or any(
        leads(each, end, calls, seen | {start}) for each in calls.get(start, set()) - seen if each in calls
    )
