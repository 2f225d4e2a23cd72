"""Runs the Python blocks of the documentation, page by page, and leaves out what this machine cannot run."""

from __future__ import annotations

import os

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

NOT_RUN = pytest.StashKey[list[str]]()

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()], patterns=["README.md", "docs/**/*.md", "docs/*.md"]
).pytest()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs root where there is no root; the summary says so."""
    wanting = [item for item in items if item.get_closest_marker("root")] if os.geteuid() else []
    config.stash[NOT_RUN] = [item.nodeid for item in wanting]
    items[:] = [item for item in items if item not in wanting]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line for what could not be run here."""
    left_out = config.stash.get(NOT_RUN, [])
    if left_out:
        terminalreporter.write_line(f"NOT RUN: {len(left_out)} tests that need root: {', '.join(left_out)}")
