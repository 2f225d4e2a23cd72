"""Runs the Python blocks of the documentation, page by page; how fast the machine is, and what it lacks, fails no test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

JUDGE = Path(__file__).parent.parent / "shared" / "judges" / "history_check.py"
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
NOT_RUN = pytest.StashKey[list[str]]()

# How fast this machine is decides no test. What else holds, such as in CI, stays.
settings.register_profile(
    "any machine", settings(), database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/**/*.md", "docs/*.md"],
).pytest()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this machine cannot run; the summary says so."""
    lacking = {"root": os.geteuid() != 0, "judge": not JUDGE.exists(), "rabbitmq": not RABBITMQ.exists()}
    left_out = {item for item in items for mark in item.iter_markers() if lacking.get(mark.name)}
    config.stash[NOT_RUN] = sorted({item.nodeid.partition("[")[0] for item in left_out})
    items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line for what could not be run here."""
    left_out = config.stash.get(NOT_RUN, [])
    if left_out:
        terminalreporter.write_line(f"NOT RUN: what needs root, the independent judge or RabbitMQ: {', '.join(left_out)}")
