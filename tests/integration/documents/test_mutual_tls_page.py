"""What the page on mutual TLS shows, in the shop as it is."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest
from pages import ROOT, Block, runs
from terminal import commands, terminal


@pytest.mark.demo
@runs("docs/how-to/mutual-tls.md", "console")
def test_the_page_on_mutual_tls_does_what_it_shows(shown: list[Block], tmp_path: Path) -> None:
    """What it installs is declared; the shop runs with a mesh, then with certificates from files, and each command succeeds."""
    kept = shutil.ignore_patterns("var", "__pycache__")
    shutil.copytree(ROOT / "examples" / "shop", tmp_path / "examples" / "shop", ignore=kept)
    leaving = commands(shown[-1].text)
    (pip, _), *told = [entry for block in shown[:-1] for entry in commands(block.text)]
    extras = re.findall(r"\w+", shlex.split(pip)[2].partition("[")[2])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(extras) <= project["project"]["optional-dependencies"].keys()
    for part in (told[:-1], told[-1:]):
        with terminal(tmp_path / "examples" / "shop") as opened:
            for command, expected in part:
                opened.run(command, expected)
    with terminal(tmp_path) as opened:
        for command, expected in leaving:
            opened.run(command, [line for line in expected if line != "..."])
