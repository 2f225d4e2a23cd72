"""The page on starting a system: its commands from an empty folder, with the wheel of this tree in an empty environment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from installed import offline
from pages import Block, runs
from terminal import commands, terminal

SOMEBODY = {f"GIT_{who}_{what}": "somebody@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@pytest.mark.timeout(600)
@runs("docs/how-to/start-a-new-system.md", "console")
def test_a_new_system_runs_as_the_page_says(shown: list[Block], tmp_path: Path) -> None:
    """From nothing but the wheel: it passes its tests, runs, answers through the gateway, stops, grows and is looked for updates.

    skerry comes from the wheel and its dependencies from the environment of these tests, so that no network is needed.
    """
    with terminal(tmp_path, **offline(tmp_path, "skerry[new]"), **SOMEBODY) as opened:
        for command, expected in [entry for block in shown for entry in commands(block.text)]:
            opened.run(command, expected)
        assert opened.port
        where = opened.bash("python -c 'import skerry; print(skerry.__file__)'").stdout
        assert Path(where).is_relative_to(tmp_path / ".venv")
        checked = opened.bash("skerry check . -o json --no-cache")
        assert checked.returncode == 0, checked.stdout
        found = json.loads(checked.stdout)
        assert (found["findings"], found["unknown"], found["unparsed"]) == ([], [], 0)
        assert len(found["clean"]) >= len(found["rules"])
