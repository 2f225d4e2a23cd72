"""The pages that explain each pattern keep their form, and their index leads to every one of them."""

from __future__ import annotations

import re

import pytest
from pages import ROOT

FOLDER = ROOT / "docs" / "explanation"
PAGES = ["patterns-of-calls.md", "patterns-of-data.md", "patterns-of-systems.md"]
FORM = ["Problem.", "Not when", "Here.", "Guaranteed."]


def sections(page: str) -> dict[str, str]:
    _, *found = re.split(r"^## (.+)\n", (FOLDER / page).read_text(), flags=re.MULTILINE)
    return dict(zip(found[::2], found[1::2], strict=True))


@pytest.mark.parametrize("page", PAGES)
def test_each_pattern_tells_its_problem_its_limits_its_way_and_its_guarantees(page: str) -> None:
    """In that order, and nothing else stands at the beginning of a paragraph in bold."""
    for pattern, text in sections(page).items():
        assert re.findall(r"^\*\*(.+?)\*\*", text, re.MULTILINE) == FORM, f"{page}: {pattern}"


def test_the_index_leads_to_every_pattern() -> None:
    """Each section of the three pages has its row, and each row its section."""
    index = (FOLDER / "patterns.md").read_text().partition("## What to avoid")[0]
    rows = re.findall(r"^\| \[(.+?)\]\((patterns-of-\w+\.md)#([\w-]+)\)", index, re.MULTILINE)
    there = {(page, pattern) for page in PAGES for pattern in sections(page)}
    assert {(page, name) for name, page, _ in rows} == there
    assert all(anchor == name.lower().replace(" ", "-") for name, _, anchor in rows)


@pytest.mark.parametrize("page", ["comparison.md", "patterns.md", *PAGES])
def test_rows_have_as_many_cells_as_their_table(page: str) -> None:
    """A row with a cell too few or too many is shown wrongly, and nothing else says so."""
    cells = 0
    for number, line in enumerate((FOLDER / page).read_text().splitlines(), 1):
        count = len(re.split(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not cells or not count or count == cells, f"{page}:{number}"
        cells = count
