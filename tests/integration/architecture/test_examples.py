"""What the command says of the example systems: nothing of the shop and the monolith, and of each antipattern its own fault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from skerry.cli.main import main

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def report(folder: Path, status: int) -> dict:
    result = CliRunner().invoke(main, ["check", str(folder), "-o", "json", "--fail-on", "note"])
    assert result.exit_code == status, result.output
    data: dict = json.loads(result.stdout)
    return data


@pytest.mark.parametrize("name", ["shop", "monolith"])
def test_a_good_system_is_clean_and_says_why(name: str) -> None:
    """Status 0 even for notes; every rule is clean, none unknown, each with evidence; every file was understood."""
    data = report(EXAMPLES / name, 0)
    assert {each["verdict"] for each in data["rules"]} == {"clean"}
    assert {each["rule"] for each in data["clean"] if each["evidence"]} == {each["rule"] for each in data["rules"]}
    assert data["unparsed"] == 0


@pytest.mark.parametrize("folder", sorted(each.name for each in (EXAMPLES / "antipatterns").iterdir() if each.is_dir()))
def test_each_antipattern_is_found(folder: str) -> None:
    """Status 1, and the rule that it is called after says violation."""
    verdicts = {each["rule"]: each["verdict"] for each in report(EXAMPLES / "antipatterns" / folder, 1)["rules"]}
    assert verdicts[folder] == "violation"
