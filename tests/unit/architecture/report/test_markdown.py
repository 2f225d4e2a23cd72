"""Markdown fits into one comment, and nothing that a repository holds is markup in it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from made import HOSTILE, clean, found, reported, unknown
from markdown_it import MarkdownIt

from skerry.architecture.model import Evidence, Source
from skerry.architecture.report import as_markdown
from skerry.architecture.report.markdown import MAX_SIZE, code
from skerry.architecture.source import Place


def test_a_table_of_verdicts_and_the_findings() -> None:
    """One row a rule; each finding with severity, place and fingerprint."""
    text = as_markdown(reported(found(), clean(), unknown("shared-database")))
    assert "| no-timeout | violation | 1 error |" in text
    assert "- **error** `order/app.py:12` order waits for payment without a limit `" in text
    assert "- **chatty**: 3 calls were read, none in a loop" in text


def test_text_of_the_repository_is_text() -> None:
    """No tag, link, mention, heading or emphasis comes from it."""
    evil = found(message=HOSTILE, evidence=(Evidence(HOSTILE, Source.CODE, Place(HOSTILE, 1)),), fix=HOSTILE)
    text = as_markdown(reported(evil, unknown(message=HOSTILE)))
    outside = re.sub(r"(`+)[^`].*?[^`]\1(?!`)", "", text)
    for markup in ("<script", "](", "@all", "**b**", " #1", "http://", "[red]"):
        assert markup not in outside, markup
    assert all(line.isprintable() for line in text.split("\n"))
    assert not re.search(r"^## head|^- item", text, re.MULTILINE)


def test_a_span_of_code_ends_where_it_should() -> None:
    """Backticks inside get a longer fence outside, and a pipe ends no cell."""
    assert code("a") == "`a`"
    assert code("a`b``c") == "```a`b``c```"
    assert code("`a`") == "`` `a` ``"
    assert "|" not in code("a|b")


def test_it_fits_into_one_comment() -> None:
    """However much was found, and it says that something is left out."""
    text = as_markdown(reported(*(found(key=str(n), message="m" * 500) for n in range(1_000))))
    assert len(text) < MAX_SIZE + 200
    assert "The rest is left out" in text


def test_a_renderer_makes_nothing_of_a_name() -> None:
    """What a reader of Markdown makes of a report with hostile names: no link, no tag and no heading more than without them."""
    evil = found(message=HOSTILE, evidence=(Evidence(HOSTILE, Source.CODE, Place(HOSTILE, 1)),), fix=HOSTILE)
    tags = {}
    for name, finding in {"plain": found(fix="x"), "evil": evil}.items():
        page = MarkdownIt("commonmark").enable("table").render(as_markdown(reported(finding, unknown(message=HOSTILE))))
        tags[name] = sorted(set(re.findall(r"<(\w+)", page)))
        headings = re.findall(r"<h2>(.*?)</h2>", page)
        assert headings == ["no-timeout", "Unknown, and what is missing"]
    assert tags["evil"] == tags["plain"]
    assert not {"a", "script", "img"} & set(tags["evil"])
