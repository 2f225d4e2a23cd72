"""`make strangle`, as its users run it: with the faults that it has by itself, and with another one on the other engine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[3] / "examples" / "strangler"
BOUND = 420.0
"""Seconds until a story that hangs is ended; how long one takes fails nothing."""

pytestmark = [pytest.mark.demo, pytest.mark.timeout(BOUND + 30)]


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


def told(data: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "story", "--data", str(data), "-o", "json", *options]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=BOUND, check=False)
    assert done.stdout.strip(), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    wrong = [(act["name"], act["end"], act["reason"], act["wrong"]) for act in found["acts"] if act["wrong"]]
    assert (done.returncode, wrong, [line for line in found["audit"] if not line["ok"]]) == (0, [], [])
    return found


def steps(act: dict[str, Any]) -> list[str]:
    return [decision["verdict"] for decision in act["decisions"]]


def test_the_story_comes_true(tmp_path: Path) -> None:
    """The wrong field is named, the flaky path is taken back, both services arrive, writes change hands, the books are exact."""
    found = told(tmp_path)
    assert found["ok"] is True
    rounded, catalogue, prices, flaky, orders, written = found["acts"]
    assert steps(rounded) == ["start", "roll_back"]
    assert any("price.amount" in path for path in rounded["paths"])
    assert rounded["failed"] == 0 < rounded["spoilt"]  # customers had the monolith's answers
    assert steps(flaky)[-1] == "roll_back"
    assert "promote" in steps(flaky)
    assert flaky["failed"] <= flaky["spoilt"]
    for good in (catalogue, orders):
        assert [decision["after"] for decision in good["decisions"]][-1] == 100.0
        assert "roll_back" not in steps(good)
        assert good["failed"] == good["spoilt"] == 0
    assert prices["failed"] == written["failed"] == 0
    assert found["clients"]["failed"] == found["clients"]["injected"]
    assert found["orders"] > 100
    assert not processes_in(tmp_path)


def test_another_fault_is_found_on_envoy(tmp_path: Path) -> None:
    """An order that is shown as another customer's: the path is named, and the sample of it shows no customer."""
    found = told(tmp_path, "--fault", "leak", "--engine", "envoy")
    leak = found["acts"][3]
    assert steps(leak)[-1] == "roll_back"
    assert "$.order.customer_id" in leak["paths"]
    assert leak["failed"] == 0 < leak["spoilt"]
    page = (tmp_path / "4-orders.html").read_text()
    assert "$.order.customer_id" in page
    assert "customer-of-another-order" not in page
    assert not processes_in(tmp_path)
