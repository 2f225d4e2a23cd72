"""Strangled routes as users run them: several workers, one state folder, and processes that end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.gateway.gateway_processes import PATIENCE, Running, running
from tests.integration.gateway.raw_backends import serving
from tests.integration.gateway.raw_client import ask

from skerry.gateway.strangler import samples, tally

WORKERS = 2


@contextmanager
def strangled(folder: Path) -> Iterator[Running]:
    with serving("monolith", "catalogue") as backends:
        services = {name: {"url": f"http://{backend.address}"} for name, backend in backends.items()}
        plan = {"from": "monolith", "to": "catalogue", "shadow": {"sample": "100%"}, "guard": {"interval": "60s"}}
        spec = {
            "services": services,
            "access_log": False,
            "routes": [{"name": "books", "path": "/", "strangle": plan}],
        }
        file = folder / "gateway.yaml"
        file.write_text(json.dumps(spec))
        with running([file, "--workers", str(WORKERS), "--state", folder / "state"]) as gateway:
            yield gateway


def start(folder: Path) -> None:
    command = [sys.executable, "-m", "skerry", "strangle", "start", "books"]
    files = ["--spec", str(folder / "gateway.yaml"), "--state", str(folder / "state")]
    subprocess.run([*command, *files], check=True, capture_output=True, timeout=PATIENCE)


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def tallies(folder: Path) -> list[tally.Tally]:
    return [each for each in tally.read(folder / "state").values() if each.alive]


def served(folder: Path) -> int:
    return sum(each.route("books").control.requests for each in tallies(folder))


def test_workers_confirm_count_and_are_replaced(tmp_path: Path) -> None:
    """Each worker confirms the shares and counts for itself; one that takes a dead one's place confirms what holds by then."""
    with strangled(tmp_path) as gateway:
        until(lambda: len(tallies(tmp_path)) == WORKERS)
        start(tmp_path)
        until(lambda: [each.version for each in tallies(tmp_path)] == [1] * WORKERS)
        for number in range(60):
            assert ask(gateway.port, f"/{number}").status == 200
        until(lambda: served(tmp_path) == 60)
        victim = tallies(tmp_path)[0]
        os.kill(victim.pid, signal.SIGKILL)
        until(lambda: victim.pid not in {each.pid for each in tallies(tmp_path)} and len(tallies(tmp_path)) == WORKERS)
        assert [each.version for each in tallies(tmp_path)] == [1] * WORKERS


def test_what_was_found_outlives_the_gateway(tmp_path: Path) -> None:
    """A worker that is told to stop writes what it counted last, and samples stay to be read."""
    with strangled(tmp_path) as gateway:
        until(lambda: len(tallies(tmp_path)) == WORKERS)
        start(tmp_path)
        until(lambda: [each.version for each in tallies(tmp_path)] == [1] * WORKERS)
        assert ask(gateway.port, "/7?key=secret").status == 200
        until(lambda: any(each.route("books").compared.differing for each in tallies(tmp_path)))
        gateway.process.send_signal(signal.SIGTERM)
        gateway.process.wait(PATIENCE)
    found = samples.read(tmp_path / "state", "books")
    assert {sample.request for kept in found.values() for sample in kept} == {"GET /7?key=..."}
