"""`skerry console` by itself, where no system runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from skerry.signals import BreakerChanged, Hub
from skerry.telemetry import send_telemetry

BOUND = 60.0


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """In a folder without a system file, and where no running system can be found."""
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "skerry", "console", "-o", "json"]
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_a_console_without_a_system_shows_what_is_sent_to_it(alone: subprocess.Popen[str]) -> None:
    """It says where it is, takes what comes with its token, and ends in order when it is asked to."""
    assert alone.stdout is not None
    told: dict[str, Any] = json.loads(alone.stdout.readline())
    url, token = told["open"].split("/?token=")
    assert url == told["url"]
    hub = Hub()
    end = send_telemetry(url, service="order", token=token, hub=hub)
    hub.emit(BreakerChanged(policy="payment", before="closed", after="open", reason="5 of 5 failed"))
    end()
    headers = {"authorization": f"Bearer {token}"}
    view = httpx2.get(f"{url}/api/view", headers=headers, timeout=BOUND, trust_env=False).json()
    assert [(one["service"], one["policy"], one["state"]) for one in view["strip"]["breakers"]] == [
        ("order", "payment", "open")
    ]
    alone.send_signal(signal.SIGTERM)
    assert alone.wait(BOUND) == 0
