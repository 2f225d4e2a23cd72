"""The console's page as it is delivered: how heavy it is, and that it brings all it needs."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
STATIC = ROOT / "src" / "skerry" / "console" / "static"
BUDGET = 120 * 1024


def test_the_page_is_light() -> None:
    """All of it together is at most 120 KB when it is sent compressed."""
    heavy = {file.name: len(gzip.compress(file.read_bytes(), 9)) for file in STATIC.rglob("*") if file.is_file()}
    assert {"index.html", "console.js", "console.css", "favicon.svg"} <= set(heavy)
    assert sum(heavy.values()) <= BUDGET, heavy


def test_the_page_has_nothing_in_line_and_asks_nobody_else() -> None:
    """Scripts and styles are files beside it, so that a policy of `default-src 'self'` refuses nothing."""
    page = (STATIC / "index.html").read_text()
    assert all(re.search(r'src="\./assets/', script) for script in re.findall(r"<script[^>]*>", page))
    assert re.findall(r"<script[^>]*>(.+?)</script>", page, re.DOTALL) == []
    assert "<style" not in page
    assert not re.search(r"\s(style|on[a-z]+)=", page)
    for asked in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert asked.startswith("./")
        assert (STATIC / asked).is_file()


def test_styles_load_nothing() -> None:
    """No font, no picture and no other sheet is asked for, not even as a data: address."""
    for sheet in STATIC.rglob("*.css"):
        assert not re.search(r"url\(|@import|@font-face", sheet.read_text())


def test_the_lock_file_names_every_package_and_no_registry() -> None:
    """Each has a version and a hash, and comes from whatever registry npm is told."""
    packages = json.loads((ROOT / "ui" / "package-lock.json").read_text())["packages"]
    assert len(packages) > 1
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert not name or {"version", "integrity"} <= package.keys(), name
