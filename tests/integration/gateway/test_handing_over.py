"""Ownership is handed over under load: nothing is lost or taken twice, and the new owner begins where the old one ended."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.integration.gateway.gateway_processes import ENGINES, Engine, Running, running
from tests.integration.gateway.two_owners import Owner, two_owners

WRITERS = 4


@dataclass
class Stage:
    """A route at 100 %, both sides, and who writes to it."""

    gateway: Running
    control: Owner
    candidate: Owner
    spec: Path
    state: Path
    answered: list[tuple[int, int]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def strangle(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`skerry strangle` on this state folder."""
        command = [sys.executable, "-m", "skerry", "strangle", *words, "--state", str(self.state)]
        if words[0] in {"start", "handover", "handback"}:
            command += ["--spec", str(self.spec)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60.0, check=False)

    def write(self) -> str:
        """One fact by way of the gateway; who took it."""
        number = next(self.numbers)
        answer = self.gateway.ask("/books", method="POST", body=json.dumps({"n": number}).encode())
        self.answered.append((number, answer.status))
        return str(answer.json().get("by"))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Several clients that write one after the other."""
        stop = threading.Event()

        def go_on() -> None:
            while not stop.is_set():
                self.write()

        threads = [threading.Thread(target=go_on) for _ in range(WRITERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def audit(self) -> None:
        """Every request was answered well, and every fact is on one side once."""
        assert {status for _, status in self.answered} == {200}
        kept = [number for side in (self.control, self.candidate) for _, number in side.facts]
        assert sorted(kept) == sorted(number for number, _ in self.answered)


@pytest.fixture(params=ENGINES)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    engine: Engine = request.param
    with two_owners() as (control, candidate):
        strangle = {"from": "old", "to": "new", "steps": [50, 100], "shadow": False, "position": "/position"}
        document = {
            "services": {"old": {"url": control.url}, "new": {"url": candidate.url}},
            "routes": [{"name": "books", "path": "/books", "strangle": strangle}],
        }
        spec, state = tmp_path / "gateway.yaml", tmp_path / "state"
        spec.write_text(json.dumps(document))
        with running([spec, "--state", state], engine=engine) as gateway:
            stage = Stage(gateway, control, candidate, spec, state)
            for words in (("start", "books"), ("step", "books", "--to", "100")):
                done = stage.strangle(*words)
                assert done.returncode == 0, done.stderr
            yield stage


def _owned(stage: Stage) -> str:
    """Whom the file of shares, which gateways follow, names."""
    return str(json.loads((stage.state / "shares.json").read_text())["routes"]["books"]["owner"])


def test_it_is_handed_over_under_load(stage: Stage) -> None:
    """Not one request fails; the new owner has all facts of the old one before it takes its first."""
    with stage.writing():
        while len(stage.control.facts) < 50:
            stage.write()
        done = stage.strangle("handover", "books", "-o", "json")
        while len(stage.candidate.facts) < 50:
            stage.write()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["owner"] == "candidate"
    stage.audit()
    assert stage.candidate.seen_before_own == len(stage.control.facts)
    assert max(at for at, _ in stage.control.facts) < min(at for at, _ in stage.candidate.facts)
    refused = stage.strangle("handback", "books")
    assert refused.returncode == 1
    assert "facts since the hand-over" in refused.stderr
    assert _owned(stage) == "candidate"
    assert stage.write() == "candidate"


def test_it_is_undone_while_nothing_new_was_written(stage: Stage) -> None:
    """Then the old owner goes on where it was, and the record has both decisions."""
    assert stage.write() == "control"
    assert stage.strangle("handover", "books").returncode == 0
    done = stage.strangle("handback", "books")
    assert done.returncode == 0, done.stderr
    assert stage.write() == "control"
    report = json.loads(stage.strangle("report", "books", "-o", "json").stdout)
    assert [each["verdict"] for each in report["decisions"]][-2:] == ["hand_over", "hand_back"]
    stage.audit()


def test_a_candidate_that_does_not_catch_up_gets_nothing(stage: Stage) -> None:
    """What was held goes to the old owner, within its time: nobody sees more than a delay."""
    stage.candidate.stuck = True
    with stage.writing():
        while not stage.control.facts:
            stage.write()
        done = stage.strangle("handover", "books")
    assert done.returncode == 1
    assert "the control stays the owner" in done.stderr
    assert _owned(stage) == "control"
    assert not stage.candidate.facts
    stage.audit()


def test_reads_come_first(stage: Stage) -> None:
    """At less than all reads a customer would not find what was written a moment ago."""
    assert stage.strangle("step", "books", "--to", "50").returncode == 0
    done = stage.strangle("handover", "books")
    assert done.returncode == 1
    assert "hand over at 100 %" in done.stderr
    assert _owned(stage) == "control"
