"""Pages that explain patterns keep their form, their index leads to each, the navigation to every page, and links arrive."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import FENCE, ROOT

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


def test_every_page_is_in_the_navigation() -> None:
    """What the navigation does not name nobody finds, and what it names is there; each once."""
    named = re.findall(r'"([\w/-]+\.md)"', (ROOT / "zensical.toml").read_text())
    there = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert sorted(named) == sorted(there)


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as the site and most others make them."""
    found, fenced = set(), False
    for line in page.read_text().splitlines():
        fenced = fenced != (FENCE.match(line) is not None)
        if line.startswith("#") and not fenced:
            words = re.sub(r"[^\w\s-]", "", line.lstrip("# ")).strip().lower()
            found.add(re.sub(r"[-\s]+", "-", words))
    return found


def test_links_between_pages_arrive() -> None:
    """Each link to a page, a picture or a heading of this repository leads to one; the API's anchors are the site's to check."""
    lost = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path, _, anchor = target.partition("#")
            if "://" in target or path.startswith("mailto:"):
                continue
            there = (page.parent / path).resolve() if path else page
            known = anchor and there.suffix == ".md" and not anchor.startswith("skerry.")
            if not there.exists() or (known and anchor not in headings(there)):
                lost.append(f"{page.relative_to(ROOT)}: {target}")
    assert lost == []
