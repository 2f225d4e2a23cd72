"""The hook for pre-commit and the action run what they say, with the options that the command has."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from skerry.cli.main import main

ROOT = Path(__file__).parents[3]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"] if "name" in step}
SYSTEM = ROOT / "examples/antipatterns/shared-database"


def step(name: str, folder: Path, **env: str) -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
    """Run a step's script as a runner does; its outputs."""
    output = folder / f"{name}.output"
    output.touch()
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", STEPS[name]["run"]],
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "XDG_CACHE_HOME": str(folder / "cache"),
            "RUNNER_TEMP": str(folder),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            **env,
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done, dict(line.split("=", 1) for line in output.read_text().splitlines())


def test_the_action_checks_and_keeps_what_it_found(tmp_path) -> None:
    """The step itself does not fail, so that the upload follows; the summary has the findings for people."""
    done, outputs = step("Check", tmp_path, CHECKED=str(SYSTEM), TRACES="", BASELINE="", FAIL_ON="error")
    assert done.returncode == 0, done.stderr
    assert outputs["status"] == "1"
    [result] = json.loads(Path(outputs["sarif"]).read_text())["runs"][0]["results"]
    assert result["ruleId"] == "shared-database"
    assert "# What `skerry check` found" in (tmp_path / "summary.md").read_text()


def test_inputs_are_no_script(tmp_path) -> None:
    """An input with a command in it is a folder that is not there."""
    evil = '$(touch hit)`touch hit`"; touch hit; "'
    _, outputs = step("Check", tmp_path, CHECKED=evil, TRACES="", BASELINE="", FAIL_ON="error")
    assert outputs == {"status": "2"}
    assert not (tmp_path / "hit").exists()
    assert not any("${{" in each["run"] for each in STEPS.values() if "run" in each)


@pytest.mark.parametrize(
    ("status", "partial", "result"),
    [("0", "warn", 0), ("1", "warn", 1), ("2", "warn", 2), ("3", "warn", 0), ("3", "fail", 3)],
)
def test_the_action_decides_last(tmp_path, status, partial, result) -> None:
    """Findings and wrong usage fail it; partial reading warns, unless it is told to fail."""
    done, _ = step("Decide", tmp_path, STATUS=status, PARTIAL=partial)
    assert done.returncode == result


def test_inputs_of_the_action_are_used_and_described() -> None:
    """Each input reaches a step, and has a default."""
    text = (ROOT / "action.yml").read_text()
    for name, about in ACTION["inputs"].items():
        assert re.search(rf"inputs\.{name}\b", text), name
        assert about.keys() == {"description", "default"}


def test_the_hook_runs_the_command(tmp_path, monkeypatch) -> None:
    """In the folder that pre-commit runs it in, with what the extra brings, for files that matter."""
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["check"]
    assert hook["additional_dependencies"] == extra
    assert (hook["language"], hook["pass_filenames"]) == ("python", False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(SYSTEM)
    program, *arguments = shlex.split(hook["entry"])
    assert program == "skerry"
    assert CliRunner().invoke(main, arguments).exit_code == 1
    for name in (
        "a/app.py",
        "compose.yaml",
        "k8s/x.yml",
        "a/Dockerfile",
        "Dockerfile.dev",
        "requirements-dev.txt",
        ".env",
    ):
        assert re.search(hook["files"], name), name
    assert not re.search(hook["files"], "README.md")
