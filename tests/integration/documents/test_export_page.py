"""What the page on exporting a system shows."""

from __future__ import annotations

import shutil
from pathlib import Path

from pages import ROOT, Block, runs
from terminal import commands, terminal


@runs("docs/how-to/export-a-system.md", "console")
def test_the_page_on_exporting_does_what_it_shows(shown: list[Block], tmp_path: Path) -> None:
    """Each command writes as much as is said there."""
    shutil.copytree(ROOT / "examples" / "shop", tmp_path / "examples" / "shop")
    with terminal(tmp_path) as opened:
        for block in shown:
            for command, expected in commands(block.text):
                opened.run(command, expected)
    assert (tmp_path / "examples/shop/deploy/kubernetes/kustomization.yaml").is_file()
