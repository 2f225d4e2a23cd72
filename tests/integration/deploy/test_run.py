"""`skerry run` as a process of its own, and the verbs that talk to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from systems import BOUND, HERE, alive, until_sync, write_system

from skerry.cli.main import main
from skerry.deploy import find_running, running
from skerry.errors import DeployError

KEYS = ["name", "pid", "state", "ready", "url", "restarts", "since", "reason", "retry_in"]


class Run:
    """A supervisor in a process and a process group of its own."""

    def __init__(self, folder: Path, port: int = 0, **modes: str) -> None:
        self.file = write_system(folder, **(modes or {"one": "normal", "other": "normal"}))
        self.data = folder / "var"
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "drive.py"), str(self.file), str(self.data), str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.events: list[dict[str, Any]] = []

    def until(self, **values: Any) -> dict[str, Any]:
        """Read events until one has these values; the time-out of the test is the bound."""
        assert self.process.stdout is not None
        while True:
            line = self.process.stdout.readline()
            assert line, f"it ended: {self.process.stderr.read() if self.process.stderr else ''}"
            self.events.append(json.loads(line))
            if values.items() <= self.events[-1].items():
                return self.events[-1]

    def ready(self) -> Run:
        self.until(event="system", state="ready")
        return self

    def pids(self) -> list[int]:
        return [event["pid"] for event in self.events if event.get("pid")]

    def end(self) -> int:
        """Wait for the end, and for that of every process that was ever started."""
        rest, self.errors = self.process.communicate(timeout=BOUND)
        self.events += map(json.loads, rest.splitlines())
        until_sync(lambda: not any(map(alive, self.pids())))
        return self.process.returncode


@contextmanager
def run(folder: Path, **options: Any) -> Iterator[Run]:
    started = Run(folder, **options)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


def skerry(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_to_the_group_stops_everything(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM and a closed terminal end in an orderly stop with exit code 0, the gateway before the services."""
    with run(tmp_path) as system:
        system.ready()
        os.killpg(system.process.pid, number)
        assert system.end() == 0
    stopped = [event["name"] for event in system.events if event.get("state") == "stopped"]
    assert stopped[0] == "gateway"
    assert stopped[-1] == "tiny"
    assert set(stopped) == {"gateway", "one", "other", "tiny"}
    assert system.errors == ""


def test_signal_while_starting(tmp_path: Path) -> None:
    """Ctrl-C before everything is ready stops what was started, and that is no error."""
    with run(tmp_path, one="normal", two="deaf") as system:
        system.until(name="one", state="ready")
        os.killpg(system.process.pid, signal.SIGINT)
        assert system.end() == 0
    assert not any(event.get("event") == "system" and event["state"] == "ready" for event in system.events)


def test_second_signal_kills(tmp_path: Path) -> None:
    """A second Ctrl-C does not wait for a process that will not stop."""
    with run(tmp_path, one="stubborn") as system:
        system.ready()
        os.killpg(system.process.pid, signal.SIGINT)
        system.until(name="one", state="stopping")
        os.killpg(system.process.pid, signal.SIGINT)
        assert system.end() == 0


def test_killed_supervisor_leaves_nobody(tmp_path: Path) -> None:
    """SIGKILL of the supervisor: its processes see the end of their input and stop; its entry is found to be stale."""
    with run(tmp_path) as system:
        system.ready()
        assert find_running(system.data).pid == system.process.pid
        system.process.kill()
        assert system.end() == -signal.SIGKILL
    assert not [entry for entry in running() if entry.data == str(system.data)]
    with pytest.raises(DeployError, match="not running"):
        find_running(system.data)
    with run(tmp_path) as again:
        again.ready()


def test_supervisor_survives_its_reader(tmp_path: Path) -> None:
    """When nobody reads its output any more, the system runs on."""
    with run(tmp_path) as system:
        system.ready()
        assert system.process.stdout is not None
        system.process.stdout.close()
        skerry("hold", "one", "--data", system.data)
        skerry("release", "one", "--data", system.data)
        until_sync(lambda: "All 2 services are healthy" in skerry("ps", "--data", system.data).output)
        system.process.stdout = None
        system.process.send_signal(signal.SIGTERM)
        assert system.process.wait(BOUND) == 0


def test_failed_start_is_an_error_with_its_reason(tmp_path: Path) -> None:
    """A start that fails says why in an error of ours, and stops the others."""
    with run(tmp_path, one="normal", two="broken") as system:
        assert system.end() == 1
    assert system.errors.startswith("error: two ended 3 times")
    assert "Traceback" not in system.errors
    assert "no module named order" in (system.data / "logs" / "two.log").read_text()


def test_ps_shows_every_process(tmp_path: Path) -> None:
    """`ps -o json` has exactly the promised keys; both forms begin with whether all is well."""
    with run(tmp_path) as system:
        ready = system.ready().events[-1]
        told = json.loads(skerry("ps", "--data", system.data, "-o", "json").output)
        assert list(told) == ["name", "sentence", "processes"]
        assert told["name"] == "tiny"
        assert told["sentence"].startswith("All 2 services are healthy for ")
        rows = told["processes"]
        assert [list(row) for row in rows] == [KEYS] * 3
        assert [(row["name"], row["state"], row["ready"], row["restarts"]) for row in rows] == [
            (name, "ready", True, 0) for name in ("one", "other", "gateway")
        ]
        assert rows[-1]["url"] == ready["url"]
        shown = skerry("ps", "--file", system.file)
        assert shown.exit_code == 0
        assert shown.output.startswith("All 2 services are healthy for ")


def test_ps_says_that_a_system_is_stopping(tmp_path: Path) -> None:
    """What was told to stop is not down, whoever has ended already."""
    with run(tmp_path, one="stubborn", other="normal") as system:
        system.ready()
        os.killpg(system.process.pid, signal.SIGINT)
        system.until(name="other", state="stopped")
        shown = skerry("ps", "--data", system.data).output
        assert shown.startswith("the system is stopping since ")
        os.killpg(system.process.pid, signal.SIGINT)
        assert system.end() == 0


def test_hold_and_release(tmp_path: Path) -> None:
    """`hold` returns when the process is down, `ps` names it first, `release` brings it back."""
    with run(tmp_path) as system:
        system.ready()
        held = json.loads(skerry("hold", "other", "--data", system.data, "-o", "json").output)
        assert (held["name"], held["state"], held["pid"]) == ("other", "held", None)
        shown = skerry("ps", "--data", system.data).output
        assert shown.startswith("other is held back since ")
        assert "may start again" in skerry("release", "other", "--data", system.data).output
        until_sync(lambda: "All 2 services are healthy" in skerry("ps", "--data", system.data).output)
        wrong = skerry("hold", "nobody", "--data", system.data)
        assert (wrong.exit_code, wrong.stdout) == (1, "")
        assert wrong.stderr == "error: tiny has no process 'nobody': it has one, other, gateway\n"


def test_stop_returns_when_all_is_over(tmp_path: Path) -> None:
    """After `stop` the data folder is free, and nothing is running any more."""
    with run(tmp_path) as system:
        system.ready()
        assert json.loads(skerry("stop", "--data", system.data, "-o", "json").output) == {
            "name": "tiny",
            "state": "stopped",
        }
        with run(tmp_path) as again:
            again.ready()
        assert system.end() == 0


def test_several_running_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With several systems the current folder decides, or an option; otherwise the error lists them."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    with run(folders[0]) as first, run(folders[1]) as second:
        first.ready()
        second.ready()
        monkeypatch.chdir(tmp_path)
        unclear = skerry("ps")
        assert unclear.exit_code == 1
        assert all(f"--data {folder / 'var'}" in unclear.stderr for folder in folders)
        for system, folder in ((first, folders[0]), (second, folders[1])):
            monkeypatch.chdir(folder)
            assert system.events[-1]["url"] in skerry("ps").output
