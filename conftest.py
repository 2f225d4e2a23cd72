"""Runs the Python blocks of the documentation, page by page, and leaves out what this machine cannot run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

JUDGE = Path(__file__).parent.parent / "shared" / "judges" / "history_check.py"
NOT_RUN = pytest.StashKey[list[str]]()

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()], patterns=["README.md", "docs/**/*.md", "docs/*.md"]
).pytest()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this machine cannot run; the summary says so."""
    lacking = {"root": os.geteuid() != 0, "judge": not JUDGE.exists()}
    left_out = {item for item in items for mark in item.iter_markers() if lacking.get(mark.name)}
    config.stash[NOT_RUN] = sorted({item.nodeid.partition("[")[0] for item in left_out})
    items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line for what could not be run here."""
    left_out = config.stash.get(NOT_RUN, [])
    if left_out:
        terminalreporter.write_line(f"NOT RUN: what needs root, or the independent judge: {', '.join(left_out)}")
