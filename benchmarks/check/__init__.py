"""`skerry check` on a repository given by `--repo PATH` (several): cold, with nothing kept, and warm, with nothing changed.

A bare repository is read from its last commit. Beside it stands what parsing the same files takes in one process.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.report import Report
from skerry.architecture.analyse import source
from skerry.architecture.source import Files

COLD: Final = 10.0
"""Seconds for so much code, and the same with what was kept."""
WARM: Final = 2.0
KLOC: Final = 850.0
MEMORY: Final = 1024.0
_STEP: Final = 0.02


@dataclass(frozen=True, slots=True)
class Run:
    seconds: float
    cpu: float
    """Seconds of processor time of all its processes."""
    memory: float
    """MiB that all its processes held at once, pages that they share counted in each."""


def run(*, rounds: int, repos: Sequence[str] = (), only: str = "") -> dict[str, Any]:  # noqa: ARG001
    report = Report("check", [])
    for repo in repos:
        _measure(report, Path(repo).resolve(), max(rounds, 1))
    if not repos:
        report.notes.append("no repository was given: use --repo PATH")
    return report.document()


def _measure(report: Report, repo: Path, rounds: int) -> None:
    name = repo.parent.name if repo.name in {"repo", "repo.git", ".git"} else repo.name
    with source(repo) as files:
        thousands = _thousands(files)
        report.add(f"{name}: code", "ours", thousands, "kLOC")
        for _ in range(rounds):
            report.add(f"{name}: cold", "ast, one process", _parsed(files), "s")
            with tempfile.TemporaryDirectory() as kept:
                cold, warm = _check(repo, kept), _check(repo, kept)
            for what, each in (("cold", cold), ("warm", warm)):
                report.add(f"{name}: {what}", "ours", each.seconds, "s")
                report.add(f"{name}: {what}, processor", "ours", each.cpu, "s")
                report.add(f"{name}: {what}, memory", "ours", each.memory, "MiB")
    report.ratio(f"{name}: cold over ast in one process", f"{name}: cold", "ast, one process")
    more = max(1.0, thousands / KLOC)
    report.bar(f"{name}: cold, s", report.median(f"{name}: cold"), "<=", COLD * more)
    report.bar(f"{name}: warm, s", report.median(f"{name}: warm"), "<=", WARM * more)
    report.bar(f"{name}: memory, MiB", report.median(f"{name}: cold, memory"), "<=", MEMORY * more)


def _thousands(files: Files) -> float:
    return sum(files.read(path).count(b"\n") for path in files.sizes if path.endswith(".py")) / 1_000


def _parsed(files: Files) -> float:
    """Seconds of parsing every file of Python, reading left out."""
    total = 0.0
    for path in files.sizes:
        if path.endswith(".py"):
            content = files.read(path)
            begun = time.perf_counter()
            with warnings.catch_warnings(), suppress(SyntaxError, ValueError):
                warnings.simplefilter("ignore")
                ast.parse(content)
            total += time.perf_counter() - begun
    return total


def _check(repo: Path, kept: str) -> Run:
    command = [os.fspath(Path(sys.executable).with_name("skerry")), "check", os.fspath(repo), "-o", "json"]
    before = os.times()
    begun = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "XDG_CACHE_HOME": kept},
        start_new_session=True,
    )
    memory = 0
    while process.poll() is None:
        memory = max(memory, _held(process.pid))
        time.sleep(_STEP)
    seconds = time.perf_counter() - begun
    after = os.times()
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    if process.returncode not in {0, 1, 3}:
        raise RuntimeError(f"skerry check ended with {process.returncode}")
    return Run(seconds, cpu, memory / 1024 / 1024)


def _held(session: int) -> int:
    """Bytes that the processes of a session hold; git has a session of its own and some MiB."""
    total = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session:
                total += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return total
