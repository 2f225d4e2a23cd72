"""The fenced blocks of the documentation, and who runs each of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FENCE = re.compile(r"^[ \t>]*(?:[-*+] +|\d+[.)] +)?(`{3,}|~{3,})\s*([^\s`]*)[^`]*$")
NAME = re.compile(r"^`([\w./]+)`:$")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, and what is in it. `file` is the name in the line before it."""

    page: str
    line: int
    heading: str
    language: str
    text: str
    file: str


def blocks_of(page: str) -> list[Block]:
    """Every fenced block of a page, nested ones too, in their order."""
    found: list[Block] = []
    fence, language, heading, before, start = "", "", "", "", 0
    lines = (ROOT / page).read_text().splitlines()
    for number, line in enumerate(lines, 1):
        mark = FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not mark[2]:
                name = NAME.match(before)
                text = "".join(f"{inner}\n" for inner in lines[start : number - 1])
                found.append(Block(page, start, heading, language, text, name[1] if name else ""))
                fence, before = "", ""
        elif mark:
            fence, language, start = mark[1], mark[2], number
        elif line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.strip():
            before = line
    assert not fence, f"{page}:{start}: this block has no end"
    return found


PAGES = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
CLAIMS: list[Block] = []


def runs(page: str, *languages: str) -> Callable[[Any], Any]:
    """The test below runs the blocks of the page in these languages; it gets them as `shown`."""
    shown = [block for block in BLOCKS if block.page == page and block.language in languages]
    CLAIMS.extend(shown)
    return pytest.mark.parametrize("shown", [shown], ids=[page])
