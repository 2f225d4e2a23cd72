"""What the page on checking a system shows."""

from __future__ import annotations

import json
import re

import yaml
from click.testing import CliRunner
from pages import ROOT, Block, blocks_of, runs
from terminal import commands, terminal

from skerry.cli.main import main

PAGE = "docs/how-to/check-a-system.md"


@runs(PAGE, "console")
def test_the_command_finds_what_is_shown(shown: list[Block], tmp_path) -> None:
    """Each line of the page is printed, in its order."""
    ((command, expected),) = commands(shown[0].text)
    with terminal(tmp_path, XDG_CACHE_HOME=str(tmp_path)) as opened:
        done = opened.bash(f"cd {ROOT} && {command}")
    assert done.returncode == 1, done.stderr
    printed = iter(done.stdout.splitlines())
    assert [line for line in expected if line not in printed] == []


@runs(PAGE, "yaml")
def test_the_files_are_what_they_configure(shown: list[Block], tmp_path) -> None:
    """The comment allows, the hook and the action exist, and take what they are given."""
    manifest, hook, workflow = (yaml.safe_load(block.text) for block in shown)
    assert manifest["services"].keys() == {"reports"}
    [used] = hook["repos"][0]["hooks"]
    assert used["id"] in {each["id"] for each in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
    options = {name for option in main.get_command(None, "check").params for name in option.opts}
    assert {each for each in used["args"] if each.startswith("--")} <= options
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert workflow["jobs"]["check"]["steps"][1]["with"].keys() <= action["inputs"].keys()
    folder = tmp_path / "system"
    folder.mkdir()
    text = (
        shown[0].text + "  orders:\n    build: ./orders\n    environment:\n      DATABASE_URL: postgresql://db/shop\n"
    )
    (folder / "compose.yaml").write_text(text)
    data = checked(folder, "shared-database")
    finding, lines = data["allowed"][0] if data["allowed"] else data["findings"][0], text.splitlines()
    assert finding["rule"] == "shared-database"
    assert re.search("DATABASE_URL", lines[finding["line"] - 1]), "the comment stands where findings are"


def test_the_comment_in_code_allows(tmp_path) -> None:
    """As it stands on the page, in a service that another file deploys."""
    [code] = [block.text for block in blocks_of(PAGE) if block.language == "python"]
    (tmp_path / "rates.py").write_text(code)
    (tmp_path / "Dockerfile").write_text('FROM python:3.12\nCOPY . .\nCMD ["python", "rates.py"]\n')
    data = checked(tmp_path, "no-timeout")
    assert [each["comment"]["reason"] for each in data["allowed"]] == ["a person runs it, and watches"]


def checked(folder, rule: str) -> dict:
    result = CliRunner().invoke(main, ["check", str(folder), "--no-cache", "--rule", rule, "-o", "json"])
    data: dict = json.loads(result.stdout)
    return data
