"""What the page on checking a saga shows."""

from __future__ import annotations

import re

from pages import ROOT, Block, runs
from terminal import commands, terminal


@runs("docs/how-to/check-a-saga.md", "console")
def test_the_page_on_checking_a_saga_does_what_it_shows(shown: list[Block], tmp_path) -> None:
    """The command tries what is said there and meets the same windows; how much there is to try may change."""
    ((command, expected),) = commands(shown[0].text)
    with terminal(tmp_path) as opened:
        done = opened.bash(f"cd {ROOT} && {command}")
    assert done.returncode == 0, done.stderr
    printed = [line for line in done.stdout.splitlines() if line]
    assert [re.sub(r"[\d,]+ (?=\w)", "", line) for line in printed] == [
        re.sub(r"[\d,]+ (?=\w)", "", line) for line in expected
    ]
