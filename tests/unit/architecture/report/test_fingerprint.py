"""A finding keeps its fingerprint while lines move."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pytest
from made import found

from skerry.architecture.report.fingerprint import LENGTH, fingerprints
from skerry.architecture.source import Place


def prints(*findings) -> list[str]:
    return [fingerprint for _, fingerprint, _ in fingerprints(findings)]


def former(*findings) -> list[str]:
    return [fingerprint for _, _, fingerprint in fingerprints(findings)]


def test_lines_and_messages_do_not_change_it() -> None:
    """What a person edits elsewhere in the file, and how we word it, makes no new finding."""
    (one,) = prints(found())
    (other,) = prints(replace(found(at="order/app.py:99"), message="worded anew", evidence=()))
    assert one == other
    assert len(one) == LENGTH


@pytest.mark.parametrize(
    "change",
    [
        {"rule": "chatty"},
        {"services": ("order",)},
        {"key": "refund/GET"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_rule_services_and_key_do(change) -> None:
    """Each of the three makes another finding, by its former name as well."""
    assert prints(found()) != prints(replace(found(), **change))
    assert former(found()) != former(replace(found(), **change))


def test_a_renamed_file_does_not_change_it() -> None:
    """Moving code makes no new finding; only the former name, which older baselines hold, has the file in it."""
    moved = replace(found(), place=Place("order/other.py", 12))
    assert prints(found()) == prints(moved)
    assert former(found()) != former(moved)


def test_equal_findings_of_two_files_have_two_names() -> None:
    """They are numbered, so a second one is new to a baseline that knows the first, and a rename of both changes no name."""
    here, there = found(at="order/a.py:3"), found(at="order/b.py:3")
    both = prints(here, there)
    assert len(set(both)) == 2
    assert set(prints(replace(here, place=Place("order/z.py", 3)), there)) == set(both)
    assert prints(here) == prints(there) == both[:1]


def test_the_order_of_services_does_not() -> None:
    """Services are a set."""
    assert prints(found()) == prints(replace(found(), services=("payment", "order")))


def test_equal_findings_are_numbered_by_their_lines() -> None:
    """Of three equal calls the first two keep their names when the last is mended, in whatever order they are given."""
    three = [found(at=f"order/app.py:{line}") for line in (30, 10, 20)]
    assert len(set(prints(*three))) == 3
    assert prints(*three)[:2] == prints(three[1], three[2])


def test_parts_do_not_run_into_each_other() -> None:
    """A text that moves from the file's name into the key is another finding."""
    one = replace(found(), place=Place("a", 1), key="bc")
    other = replace(found(), place=Place("ab", 1), key="c")
    assert prints(one) != prints(other)
    assert former(one) != former(other)
    assert prints(replace(found(), services=("a",), key="bc")) != prints(replace(found(), services=("ab",), key="c"))


def test_a_name_that_is_no_text_has_one_too() -> None:
    """A file's name with bytes that are no UTF-8 raises nothing."""
    assert prints(replace(found(), place=Place("order/\udcff.py", 1)))
