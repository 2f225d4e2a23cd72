"""`skerry --help` from nothing to its end, beside an interpreter that does nothing and one that only imports click.

Wall-clock time is what a person waits; processor time is what the command itself needs, also where others keep the machine busy.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any, Final

from benchmarks.report import Report

BAR: Final = 0.150
"""Seconds."""
TRIES: Final = 10
_COMMANDS: Final = {
    "ours": [sys.executable, "-m", "skerry", "--help"],
    "click alone": [sys.executable, "-c", "import click"],
    "python alone": [sys.executable, "-c", "pass"],
}


def run(*, rounds: int) -> dict[str, Any]:
    """Each command several times a round, one after the other; a round's figure is its quickest."""
    report = Report("command", ["click"])
    for command in _COMMANDS.values():  # once before, so that nothing is compiled or read from disk later
        _took(command)
    for _ in range(max(rounds, 5)):
        tries = {who: [_took(command) for _ in range(TRIES)] for who, command in _COMMANDS.items()}
        for who, took in tries.items():
            report.add("help", who, min(wall for wall, _ in took) * 1000, "ms")
            report.add("help, processor", who, min(processor for _, processor in took) * 1000, "ms")
    report.ratio("help over click alone", "help, processor", "click alone")
    report.bar("skerry --help, ms", report.median("help"), "<=", BAR * 1000)
    return report.document()


def _took(command: list[str]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    before, begin = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
    wall, after = time.perf_counter() - begin, os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, spent
