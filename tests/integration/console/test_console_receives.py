"""A console as a process: programs that know nothing of skerry appear on its map, and it stops when it is told to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TOKEN = "a-token-for-this-test-only"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@contextmanager
def running() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A console's address, and its process."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "console_process.py"), TOKEN],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process
    finally:
        process.terminate()
        process.communicate(timeout=60)


def ask(address: str, path: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(address + path, headers=BEARER), timeout=30) as answer:
        return json.load(answer)


def test_a_plain_program_with_opentelemetry_is_in_map_and_traces() -> None:
    """Nothing but OpenTelemetry's own variables says where: its service, its call and its trace are there."""
    with running() as (address, _):
        told = {
            "OTEL_SERVICE_NAME": "billing",
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{TOKEN}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        }
        program = [sys.executable, str(HERE / "plain_program.py")]
        done = subprocess.run(
            program, env={**os.environ, **told}, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        view = ask(address, "/api/view")
        assert {(one["name"], one["kind"]) for one in view["services"]} == {
            ("billing", "service"),
            ("ledger", "external"),
        }
        assert [(edge["from"], edge["to"], edge["kind"], edge["errors"]) for edge in view["edges"]] == [
            ("billing", "ledger", "call", 1.0)
        ]
        assert view["sentence"]["subject"] == "ledger"
        line, *others = ask(address, "/api/traces")
        assert len(others) == 2
        assert (line["name"], line["service"], line["spans"], line["errors"]) == ("GET /bills", "billing", 2, 1)
        first, second = ask(address, f"/api/traces/{line['id']}")["spans"]
        assert (first["parent"], second["parent"], second["error"]) == (None, first["id"], True)
        assert second["attributes"]["status.message"] == "refused"


def test_it_stops_although_a_page_is_open() -> None:
    """A stream without an end holds nothing up: the page is told that it ends, and the process ends well."""
    with running() as (address, process):
        request = urllib.request.Request(f"{address}/api/stream", headers=BEARER)
        with urllib.request.urlopen(request, timeout=30) as stream:
            assert stream.readline() == b"event: view\n"
            process.terminate()
            rest = stream.read()
        assert rest.endswith(b"\n\n")
        assert process.wait(60) == 0
