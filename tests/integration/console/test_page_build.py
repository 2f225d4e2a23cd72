"""The built files of the console's page come from its sources."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
UI = ROOT / "ui"
STATIC = ROOT / "src" / "skerry" / "console" / "static"
BOUND = 150


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.node
def test_a_fresh_build_gives_the_same_bytes(tmp_path) -> None:
    """In another folder too: what is delivered is what the sources say, and nothing else."""
    shutil.copytree(UI, tmp_path / "ui", ignore=shutil.ignore_patterns("node_modules"))
    (tmp_path / "ui" / "node_modules").symlink_to(UI / "node_modules")
    command = [str(UI / "node_modules" / ".bin" / "vite"), "build", "--outDir", "../built", "--emptyOutDir"]
    subprocess.run(command, cwd=tmp_path / "ui", check=True, capture_output=True, timeout=BOUND)
    assert content(tmp_path / "built") == content(STATIC), "run `npm ci && npm run build` in ui/"


@pytest.mark.node
def test_sources_of_the_page_have_strict_types() -> None:
    """svelte-check finds neither an error nor a warning, those of accessibility among them."""
    command = [str(UI / "node_modules" / ".bin" / "svelte-check"), "--tsconfig", "tsconfig.json", "--fail-on-warnings"]
    done = subprocess.run(command, cwd=UI, check=False, capture_output=True, text=True, timeout=BOUND)
    assert done.returncode == 0, done.stdout
