"""Runs the Python blocks of the documentation, page by page; how fast the machine is, and what it lacks, fails no test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

JUDGE = Path(__file__).parent.parent / "shared" / "judges" / "history_check.py"
ETCD = Path("/usr/bin/etcd")
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
VITE = Path(__file__).parent / "ui" / "node_modules" / ".bin" / "vite"
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


def may_trace() -> bool:
    """Whether strace is there, and may look at processes that it did not start."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    alone = os.geteuid() != 0 and scope.exists() and scope.read_text().strip() != "0"
    return shutil.which("strace") is not None and not alone


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this machine cannot run; the summary says so."""
    lacking = {
        "chromium": shutil.which("chromium") is None,
        "compose": shutil.which("docker-compose") is None,
        "root": os.geteuid() != 0,
        "etcd": not ETCD.exists(),
        "judge": not JUDGE.exists(),
        "node": not VITE.exists(),
        "rabbitmq": not RABBITMQ.exists(),
        "strace": not may_trace(),
    }
    left_out = {item for item in items for mark in item.iter_markers() if lacking.get(mark.name)}
    config.stash[NOT_RUN] = sorted({item.nodeid.partition("[")[0] for item in left_out})
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test has printed may be no text; a report that goes to another process has to be one."""
    report = yield
    report.sections = [(name, text.encode(errors="replace").decode()) for name, text in report.sections]
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that writes the summary."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["not_run"] = session.config.stash.get(NOT_RUN, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """The other side of `pytest_sessionfinish`."""
    node.config.stash[NOT_RUN] = getattr(node, "workeroutput", {}).get("not_run", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line for what could not be run here."""
    left_out = config.stash.get(NOT_RUN, [])
    if left_out:
        terminalreporter.write_line(
            "NOT RUN: what needs root, the independent judge, Chromium, docker-compose, etcd, the packages of ui/, RabbitMQ "
            "or strace: " + ", ".join(left_out)
        )
