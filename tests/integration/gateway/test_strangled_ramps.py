"""Ramps on real gateways, led by a real controller: what is as good gets all, what fails gets nothing, whoever is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.integration.gateway.flaky_upstreams import Upstream, asking, upstreams
from tests.integration.gateway.gateway_processes import ENGINES, Engine, Running, free_port, running

from skerry.gateway import reading
from skerry.gateway.strangler import deciding, shares
from skerry.gateway.strangler.applying import plans
from skerry.gateway.strangler.ramps import Ramps

PATIENCE = 60.0
SPEC = """
services: {{monolith: {{urls: ["{control}"]}}, catalogue: {{urls: ["{candidate}"]}}}}
routes:
  - name: books
    path: /
    policy: {{breaker: false, retry: false}}
    strangle:
      {{from: monolith, to: catalogue, steps: [20%, 100%], shadow: {shadow},
       guard: {{interval: 0.3, worse_by: 5%, slower_by: 80%, mismatches: 5%, enough: 50, limit: 60%}}}}
"""


@dataclass
class Ramping:
    """A gateway with a route that can be strangled."""

    gateway: Running
    control: Upstream
    candidate: Upstream
    spec: Path
    state: Path

    def strangle(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`skerry strangle` on this state folder."""
        command = [sys.executable, "-m", "skerry", "strangle", *words, "--state", str(self.state)]
        if words[0] == "start":
            command += ["--spec", str(self.spec)]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    @property
    def told(self) -> dict[str, Any]:
        """What the report says now."""
        found: dict[str, Any] = json.loads(self.strangle("report", "books", "-o", "json").stdout)
        return found

    def until(self, *states: str) -> dict[str, Any]:
        """Wait for a state of the ramp; the test fails when none of them comes."""
        end = time.monotonic() + PATIENCE
        while (told := self.told)["state"] not in states:
            assert time.monotonic() < end, self.strangle("status", "books").stdout
            time.sleep(0.2)
        return told

    def until_confirmed(self) -> None:
        """Wait until every gateway serves what was decided last."""
        end = time.monotonic() + PATIENCE
        while self.told["decisions"][-1]["effective"] is None:
            assert time.monotonic() < end
            time.sleep(0.05)

    def controllers(self) -> list[int]:
        """The processes that decide about this folder."""
        found: list[int] = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = path.read_bytes().decode(errors="replace").split("\0")
                if "skerry.gateway.strangler" in words and str(self.state) in words:
                    found.append(int(path.parent.name))
        return found

    def until_controllers(self, count: int) -> list[int]:
        """Wait until there are so many."""
        end = time.monotonic() + PATIENCE
        while len(found := self.controllers()) != count:
            assert time.monotonic() < end, found
            time.sleep(0.05)
        return found


@contextmanager
def ramping(
    folder: Path, *more: str, engine: Engine = "embedded", fails: int = 0, shadow: str = "false"
) -> Iterator[Ramping]:
    spec, state = folder / "gateway.yaml", folder / "state"
    with upstreams(fails=fails) as (control, candidate):
        spec.write_text(SPEC.format(control=control.url, candidate=candidate.url, shadow=shadow))
        with running([spec, "--state", state, *more], engine=engine) as gateway:
            yield Ramping(gateway, control, candidate, spec, state)


def verdicts(told: dict[str, Any]) -> list[str]:
    return [each["verdict"] for each in told["decisions"]]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_good_candidate_gets_all_requests(engine: Engine, tmp_path: Path) -> None:
    """It is compared, then takes its steps, is watched and done; no request fails, and no step is taken twice."""
    with ramping(tmp_path, engine=engine, shadow="{sample: 30%}") as made, asking(made.gateway.port) as answers:
        assert made.strangle("start", "books").returncode == 0
        told = made.until("done", "rolled_back")
    assert verdicts(told) == ["start", "promote", "promote", "promote"]
    assert [each["after"] for each in told["decisions"]] == [0.0, 20.0, 100.0, 100.0]
    assert all(each["effective"] is not None for each in told["decisions"][:-1])
    assert set(answers) == {200}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_candidate_that_fails_now_and_then_goes_back_by_itself(engine: Engine, tmp_path: Path) -> None:
    """A fifth of its answers fails, which no guard forbids: the evidence does, and from then on nothing fails."""
    with ramping(tmp_path, engine=engine, fails=5) as made, asking(made.gateway.port) as answers:
        made.strangle("start", "books")
        told = made.until("done", "rolled_back")
        assert made.strangle("status", "books").returncode == 4
        answers.clear()
        end = time.monotonic() + PATIENCE
        while sum(answers.values()) < 200 and time.monotonic() < end:
            time.sleep(0.02)
        assert set(answers) == {200}
    last = told["decisions"][-1]
    assert (last["verdict"], last["by"], last["after"]) == ("roll_back", "evidence", 0.0)
    assert last["numbers"]["evidence errors"] >= last["numbers"]["limit"]


def test_several_workers_are_counted_together(tmp_path: Path) -> None:
    """Each worker counts for itself; steps are confirmed by all of them."""
    with ramping(tmp_path, "--workers", "2") as made, asking(made.gateway.port):
        made.strangle("start", "books")
        told = made.until("done", "rolled_back")
        assert len(list((made.state / "tallies").glob("*.json"))) == 2
    assert told["state"] == "done"


def test_a_controller_that_is_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    """Killed at random moments of a ramp it comes back and goes on: shares only ever rise, each step is taken once."""
    draw, kills = random.Random(9), 6
    with ramping(tmp_path) as made, asking(made.gateway.port) as answers:
        made.strangle("start", "books")
        rising: list[float] = []
        end = time.monotonic() + PATIENCE
        while kills or made.told["state"] != "done":
            assert time.monotonic() < end, made.strangle("status", "books").stdout
            for pid in made.controllers() if kills else []:
                kills -= 1
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            until = time.monotonic() + draw.uniform(0.4, 2.0)
            while time.monotonic() < until:
                rising.append(shares.read(made.state).routes["books"].percent)
                time.sleep(0.02)
        told = made.told
    assert kills == 0
    assert rising == sorted(rising)
    assert verdicts(told) == ["start", "promote", "promote"]
    assert set(answers) == {200}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_controller_ends_with_its_gateway(engine: Engine, number: int, tmp_path: Path) -> None:
    """Whether the gateway is stopped or killed, nothing of it stays behind."""
    with ramping(tmp_path, engine=engine) as made:
        made.until_controllers(1)
        made.gateway.process.send_signal(number)
        made.gateway.process.wait(PATIENCE)
        made.until_controllers(0)


def test_without_a_strangled_route_nothing_is_started_or_written(tmp_path: Path) -> None:
    """A gateway that strangles nothing needs no folder and no process."""
    spec, state = tmp_path / "gateway.yaml", tmp_path / "state"
    spec.write_text("routes: [{path: /, respond: {status: 204}}]")
    with running([spec, "--state", state]) as gateway:
        assert gateway.ask("/").status == 204
        assert len(gateway.processes()) == 1
        assert not state.exists()


@pytest.mark.parametrize(("engine", "more"), [("embedded", ("--workers", "2")), ("embedded", ()), ("envoy", ())])
def test_a_route_that_is_strangled_by_a_reload_is_led_like_any_other(
    engine: Engine, more: tuple[str, ...], tmp_path: Path
) -> None:
    """A gateway that began without one decides about it all the same: nobody has to start the gateway anew."""
    spec, state = tmp_path / "gateway.yaml", tmp_path / "state"
    with upstreams() as (control, candidate):
        spec.write_text(
            f'services: {{monolith: {{urls: ["{control.url}"]}}}}\nroutes: [{{path: /, service: monolith}}]'
        )
        with running([spec, "--state", state, *more], engine=engine) as gateway:
            made = Ramping(gateway, control, candidate, spec, state)
            assert gateway.ask("/books").status == 200
            spec.write_text(SPEC.format(control=control.url, candidate=candidate.url, shadow="false"))
            gateway.process.send_signal(signal.SIGHUP)
            made.until_controllers(1)
            assert made.strangle("start", "books").returncode == 0
            assert made.strangle("step", "books", "--to", "100").returncode == 0
            made.until_confirmed()
            assert {gateway.ask("/books").status for _ in range(5)} == {200}
            assert candidate.answers == 5
            gateway.process.terminate()
            gateway.process.wait(PATIENCE)
            made.until_controllers(0)


def test_a_gateway_begins_with_what_was_decided_last(tmp_path: Path) -> None:
    """Although its file of shares is an older one, or gone: not one request goes where the ramp is no more."""
    state = tmp_path / "state"
    with upstreams() as (control, candidate):
        spec = tmp_path / "gateway.yaml"
        spec.write_text(SPEC.format(control=control.url, candidate=candidate.url, shadow="false"))
        plan = plans(reading.read(spec))["books"]
        with Ramps(state) as ramps:
            ramps.start("books", plan, deciding.Place("ramping", 100.0), at=0.0, reason="a test")
        for before in (None, b"{", (state / shares.FILE).read_bytes().replace(b"100.0", b"0.0").replace(b"1,", b"0,")):
            (state / shares.FILE).unlink()
            if before is not None:
                (state / shares.FILE).write_bytes(before)
            with running([spec, "--state", state]) as gateway:
                assert {gateway.ask("/books").status for _ in range(5)} == {200}
        assert control.answers == 0


WRONG = {
    "not understood": "routes: nonsense",
    # it is in order as far as can be told without a look at other files
    "not taken": 'services: {{x: {{url: "https://127.0.0.1:1", ca: "{nowhere}"}}, monolith: {{url: "{control}"}}}}\n'
    "routes: [{{path: /x, service: x}}, {{path: /, service: monolith}}]",
}


@pytest.mark.parametrize(
    ("engine", "wrong"), [("embedded", "not understood"), ("embedded", "not taken"), ("envoy", "not taken")]
)
def test_a_roll_back_takes_effect_while_the_specification_is_wrong(engine: Engine, wrong: str, tmp_path: Path) -> None:
    """Whoever edits the file badly at that moment does not keep a bad candidate in place, whoever finds out that it is bad."""
    with ramping(tmp_path, "--watch", engine=engine) as made:
        made.strangle("start", "books")
        made.until_confirmed()
        made.spec.write_text(WRONG[wrong].format(nowhere=tmp_path / "none.pem", control=made.control.url))
        assert made.strangle("rollback", "books").returncode == 0
        made.until_confirmed()
        before = made.candidate.answers
        assert {made.gateway.ask("/books").status for _ in range(20)} == {200}
        assert made.candidate.answers == before


def test_a_gateway_of_a_system_keeps_ramps_in_its_data_folder(tmp_path: Path) -> None:
    """`python -m skerry.gateway`, as a supervisor runs it, leads its ramps in `strangle` of its data folder."""
    port, spec = free_port(), tmp_path / "gateway.yaml"
    with upstreams() as (control, candidate):
        spec.write_text(SPEC.format(control=control.url, candidate=candidate.url, shadow="false"))
        environment = {**os.environ, "SKERRY_DATA": str(tmp_path / "data"), "SKERRY_PORT": str(port)}
        process = subprocess.Popen([sys.executable, "-m", "skerry.gateway", str(spec)], env=environment)
        made = Ramping(Running(port, process, tmp_path), control, candidate, spec, tmp_path / "data" / "strangle")
        try:
            made.until_controllers(1)
            assert made.strangle("start", "books").returncode == 0
        finally:
            process.terminate()
            process.wait(PATIENCE)
        made.until_controllers(0)


def test_one_controller_at_a_time_works_on_a_folder(tmp_path: Path) -> None:
    """Of two, such as those of two gateways, one waits; when the first is killed it takes over."""
    spec, state = tmp_path / "gateway.yaml", tmp_path / "state"
    spec.write_text(SPEC.format(control="http://127.0.0.1:1", candidate="http://127.0.0.1:2", shadow="false"))
    command = [sys.executable, "-m", "skerry.gateway.strangler", "--spec", str(spec), "--state", str(state)]
    plan = plans(reading.read(spec))["books"]
    with Ramps(state) as ramps:
        ramps.start("books", plan, deciding.begun(plan), at=0.0, reason="a test")
    both: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(2):
            (state / shares.FILE).unlink()
            both.append(subprocess.Popen(command))
            _until_written(state / shares.FILE)  # by the first one, each time
        both[0].kill()
        both[0].wait()
        (state / shares.FILE).unlink()
        _until_written(state / shares.FILE)
        both[1].terminate()
        assert both[1].wait(PATIENCE) == 0
    finally:
        for process in both:
            process.kill()
            process.wait()


def _until_written(path: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < end, path
        time.sleep(0.05)


def test_a_controller_says_what_is_wrong_with_its_specification(tmp_path: Path) -> None:
    """It ends with status 2 and one line for each mistake."""
    spec = tmp_path / "gateway.yaml"
    spec.write_text("routes: nonsense")
    command = [
        sys.executable,
        "-m",
        "skerry.gateway.strangler",
        "--spec",
        str(spec),
        "--state",
        str(tmp_path / "state"),
    ]
    told = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert told.returncode == 2
    assert "gateway.yaml:1" in told.stderr


def test_commands_lead_a_ramp_without_a_gateway(tmp_path: Path) -> None:
    """They work on the state folder alone, and exit with what a pipeline asks: 0, 3 to wait, 4 for gone back."""
    spec = tmp_path / "gateway.yaml"
    spec.write_text(SPEC.format(control="http://127.0.0.1:1", candidate="http://127.0.0.1:2", shadow="false"))
    made = Ramping(Running(0, subprocess.Popen(["true"]), tmp_path), Upstream(), Upstream(), spec, tmp_path / "state")
    for upstream in (made.control, made.candidate):
        upstream.server.server_close()
    made.gateway.process.wait()
    assert "has no ramp" in made.strangle("status", "books").stderr
    assert made.strangle("start", "books").returncode == 0
    assert "ramping already" in made.strangle("start", "books").stderr
    assert made.strangle("hold", "books").returncode == 0
    assert made.strangle("status", "books").returncode == 3
    assert made.strangle("resume", "books").returncode == 0
    assert json.loads(made.strangle("step", "books", "-o", "json").stdout)["percent"] == 100.0
    assert "no further step" in made.strangle("step", "books").stderr
    assert json.loads(made.strangle("step", "books", "--to", "2.5", "-o", "json").stdout)["percent"] == 2.5
    assert made.strangle("rollback", "books", "--reason", "a smell").returncode == 0
    assert made.strangle("status", "books").returncode == 4
    assert "a smell" in made.strangle("report", "books").stdout
    assert made.strangle("report", "books", "--file", str(tmp_path / "page.html")).returncode == 4
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    (only,) = json.loads(made.strangle("status", "-o", "json").stdout)
    assert only["state"] == "rolled_back"
