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

import pytest

HERE = Path(__file__).parent
UI = Path(__file__).parents[3] / "ui"
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


def telling(address: str, name: str) -> dict[str, str]:
    """The environment of a program that OpenTelemetry's own variables tell where to send, and what it is called."""
    return {
        **os.environ,
        "OTEL_SERVICE_NAME": name,
        "OTEL_EXPORTER_OTLP_ENDPOINT": address,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{TOKEN}",
    }


def ask(address: str, path: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(address + path, headers=BEARER), timeout=30) as answer:
        return json.load(answer)


def test_a_plain_program_with_opentelemetry_is_in_map_and_traces() -> None:
    """Nothing but OpenTelemetry's own variables says where: its service, its call and its trace are there."""
    with running() as (address, _):
        told = telling(address, "billing") | {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
        program = [sys.executable, str(HERE / "plain_program.py")]
        done = subprocess.run(program, env=told, capture_output=True, text=True, timeout=60, check=False)
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


@contextmanager
def ledger(address: str) -> Iterator[str]:
    """A plain server's address; what it has to tell is told by the time that this ends."""
    command = [sys.executable, str(HERE / "plain_server.py")]
    process = subprocess.Popen(
        command, env=telling(address, "ledger"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.communicate(timeout=60)


@pytest.mark.node
def test_a_trace_through_node_and_a_plain_python_server_is_one() -> None:
    """Two languages, two SDKs of OpenTelemetry and none of ours: a call between them on the map, and one trace with both."""
    with running() as (address, _):
        with ledger(address) as asked:
            command = ["node", str(HERE / "plain_program.mjs"), str(UI), asked]
            told = telling(address, "web")
            done = subprocess.run(command, env=told, capture_output=True, text=True, timeout=60, check=False)
            assert (done.returncode, done.stderr) == (0, "")
        view = ask(address, "/api/view")
        assert {(one["name"], one["kind"]) for one in view["services"]} == {("web", "service"), ("ledger", "service")}
        called = [(edge["from"], edge["to"], edge["kind"], edge["errors"]) for edge in view["edges"]]
        assert called == [("web", "ledger", "call", 1.0)]
        assert view["sentence"]["subject"] == "ledger"
        lines = ask(address, "/api/traces?service=ledger")
        assert len(lines) == 3
        spans = ask(address, f"/api/traces/{lines[0]['id']}")["spans"]
        assert {span["service"] for span in spans} == {"web", "ledger"}
        assert [span["kind"] for span in spans if span["service"] == "ledger"] == ["server"]


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
