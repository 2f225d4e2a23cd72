"""The main job as its users run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from running import SKERRY

BOUND = 120.0


def processes_in(data: Path) -> list[str]:
    """The processes that work on the folder `data`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            environ = (entry / "environ").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if f"SKERRY_DATA={data}".encode() in environ:
            found.append(entry.name)
    return found


ENGINES = {
    "sqlite": ([], []),
    "postgresql": (["--database", "postgresql"], ["postgresql"]),
    "postgresql-nats": (["--database", "postgresql", "--broker", "nats"], ["postgresql", "nats"]),
    "chdb": (["--analytics", "chdb"], []),
    "envoy": (["--engine", "envoy"], []),
    "mesh": (["--mesh"], []),
    "mesh-envoy": (["--mesh", "--engine", "envoy"], []),
}
"""Options, and the servers that run, and are killed once, because of them."""


@pytest.mark.demo
@pytest.mark.parametrize(("engines", "servers"), ENGINES.values(), ids=ENGINES)
def test_the_demo_adds_up(tmp_path: Path, engines: list[str], servers: list[str]) -> None:
    """`skerry demo -o json` prints the whole report, ends with 0, and leaves no process behind; on every engine alike."""
    command = [*SKERRY, "demo", "--orders", "40", "--seed", "5", "--rate", "20", "--data", str(tmp_path), "-o", "json"]
    command += engines
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND, check=False)
    assert done.stdout.strip(), done.stderr
    report = json.loads(done.stdout)
    assert done.returncode == 0, report
    assert report["ok"] is True
    assert report["orders"] == {"placed": 40, "confirmed": 34, "cancelled": 6, "stuck": 0}
    audit = report["audit"]
    assert (audit.pop("events_lost"), audit.pop("events_twice")) == (0, 0)
    facts = {"facts"} if "chdb" in engines else set()
    assert audit.keys() == {"money", "stock", "parcels", "emails", "analytics", "history"} | facts
    for line in audit.values():
        assert line.keys() == {"expected", "actual", "ok"}
        assert line["expected"] == line["actual"] > 0
    assert [fault.keys() for fault in report["faults"]] == [{"what", "at", "open_sagas"}] * (2 + len(servers))
    assert [what.split()[0] for what in (f["what"] for f in report["faults"])] == ["payment", *servers, "order"]
    assert report["faults"][1]["open_sagas"] >= 1
    assert not processes_in(tmp_path)
    logs = "".join(file.read_text() for file in (tmp_path / "logs").iterdir())
    for file in (tmp_path / "secrets").glob("*.password"):
        assert file.read_text().strip() not in logs + done.stdout + done.stderr


@pytest.mark.demo
def test_the_demo_can_be_kept_and_stopped(tmp_path: Path) -> None:
    """With `--keep` the shop runs on and its address is printed; Ctrl-C then ends everything."""
    command = [*SKERRY, "demo", "--orders", "5", "--rate", "10", "--data", str(tmp_path), "--keep"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "until Ctrl-C" in line)
        assert "http://127.0.0.1:" in line
        assert len(processes_in(tmp_path)) == 8
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(BOUND) == 0
    assert not processes_in(tmp_path)


@pytest.mark.demo
def test_ctrl_c_in_the_middle_leaves_no_process(tmp_path: Path) -> None:
    """Interrupted at work, the demo stops the shop and says that nothing was audited."""
    command = [*SKERRY, "demo", "--data", str(tmp_path), "-o", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        give_up = time.monotonic() + BOUND
        while not (tmp_path / "order.db").exists():
            assert time.monotonic() < give_up
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=BOUND)
        assert process.returncode == 130
        assert "nothing was audited" in told
    assert not processes_in(tmp_path)


def test_the_demo_refuses_the_data_of_an_earlier_shop(tmp_path: Path) -> None:
    """Old orders would spoil the audit: a folder that holds some is refused in one line."""
    (tmp_path / "order.db").write_bytes(b"")
    done = subprocess.run([*SKERRY, "demo", "--data", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
