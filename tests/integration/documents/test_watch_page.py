"""The page on watching a system: its commands, one after the other, on a copy of the shop."""

from __future__ import annotations

import shutil
from pathlib import Path

from pages import ROOT, Block, runs
from terminal import commands, terminal


@runs("docs/how-to/watch-a-system.md", "console")
def test_the_commands_for_watching_a_system_show_what_the_page_shows(shown: list[Block], tmp_path: Path) -> None:
    """The first line of `skerry ps` names what was held down, and that all is well once it is back."""
    kept = shutil.ignore_patterns("var", "__pycache__")
    shutil.copytree(ROOT / "examples" / "shop", tmp_path / "examples" / "shop", ignore=kept)
    with terminal(tmp_path) as opened:
        for command, expected in [entry for block in shown for entry in commands(block.text)]:
            opened.run(command, [line for line in expected if line != "..."])
        assert opened.system is None
