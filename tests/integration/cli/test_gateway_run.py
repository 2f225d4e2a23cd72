"""`skerry gateway run` as a process: it tells where it is, takes a new file while it serves, and ends when told to."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from verbs import until

SPEC = "name: door\nlisteners: [{port: 0}]\nroutes:\n  - {path: /say, respond: {status: 200, body: WORD}}\n"

ASKED = """\
services: {nobody: {url: "http://127.0.0.1:9"}}
routes:
  - {path: /say, methods: [GET], service: nobody, cors: {origins: ["https://a.b"]}}
"""


class Door:
    """A running gateway, its file, and what it has said."""

    def __init__(self, process: subprocess.Popen[bytes], file: Path, log: Path) -> None:
        self.process = process
        self.file = file
        self._log = log

    @property
    def said(self) -> str:
        return self._log.read_text()

    def port(self) -> str:
        told = until(lambda: re.search(r"^gateway: ready: http on port (\d+)$", self.said, re.MULTILINE))
        return str(told[1])

    def word(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port()}/say") as answer:
            return str(answer.read().decode())

    def answers(self, word: str) -> bool:
        """Whether it serves already, and says this."""
        try:
            return self.word() == word
        except urllib.error.URLError:
            return False

    def now(self, word: str) -> None:
        """Replace the file as editors do: at once."""
        new = self.file.with_suffix(".new")
        new.write_text(SPEC.replace("WORD", word))
        new.replace(self.file)


@contextmanager
def running(folder: Path, *options: str, text: str = SPEC) -> Iterator[Door]:
    file, log = folder / "gateway.yaml", folder / "log"
    file.write_text(text.replace("WORD", "one"))
    command = [sys.executable, "-m", "skerry", "gateway", "run", str(file), *options]
    with (
        log.open("wb") as out,
        subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, "SKERRY_DRAIN": "1"}) as process,
    ):
        try:
            yield Door(process, file, log)
        finally:
            process.kill()


@pytest.mark.parametrize("engine", ["embedded", "envoy"])
def test_a_gateway_tells_its_port_and_ends_with_sigterm(tmp_path: Path, engine: str) -> None:
    """One line says where it serves; SIGTERM ends it with status 0."""
    with running(tmp_path, "--engine", engine) as door:
        assert door.word() == "one"
        door.process.terminate()
        assert door.process.wait(timeout=60) == 0, door.said


def test_a_hangup_brings_the_new_file(tmp_path: Path) -> None:
    """After SIGHUP the new rules answer on the same port; a file that is wrong changes nothing, and is told with its line."""
    with running(tmp_path) as door:
        assert door.word() == "one"
        door.now("two")
        door.process.send_signal(signal.SIGHUP)
        until(lambda: door.word() == "two")
        door.file.write_text("routes: []\n")
        door.process.send_signal(signal.SIGHUP)
        until(lambda: f"{door.file}:1: routes: must be a list" in door.said)
        assert door.word() == "two"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_watched_file_is_read_again(tmp_path: Path, workers: str) -> None:
    """With `--watch` nobody has to send a signal, whatever the number of workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with running(tmp_path, "--watch", "--workers", workers, "--port", port) as door:
        until(lambda: door.answers("one"))
        door.now("two")
        until(lambda: all(door.answers("two") for _ in range(8)))


@pytest.mark.parametrize("engine", ["embedded", "envoy"])
def test_a_route_for_some_methods_answers_their_preflights(tmp_path: Path, engine: str) -> None:
    """A browser asks by OPTIONS before it asks by GET: a route for GET alone has to answer it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running(tmp_path, "--engine", engine, "--port", str(port), text=ASKED) as door:
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/say", method="OPTIONS")
        asked.add_header("Origin", "https://a.b")
        asked.add_header("Access-Control-Request-Method", "GET")

        def answered() -> int | None:
            assert door.process.poll() is None, door.said
            try:
                with urllib.request.urlopen(asked) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                error.close()
                return error.code
            except urllib.error.URLError:
                return None

        assert until(answered) in {200, 204}


def test_manifests_are_served_on_the_port_asked_for(tmp_path: Path) -> None:
    """`--gateway-api` and `--backends` serve what a cluster would; a service that is in no file answers 500."""
    manifests, backends = tmp_path / "m.yaml", tmp_path / "b.yaml"
    manifests.write_text(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\n"
        "spec: {gatewayClassName: x, listeners: [{name: http, port: 80, protocol: HTTP}]}\n---\n"
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\n"
        "spec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: nobody, port: 80}]}]}\n"
    )
    backends.write_text("{}")
    log = tmp_path / "log"
    command = [sys.executable, "-m", "skerry", "gateway", "run", "--gateway-api", str(manifests)]
    command += ["--backends", str(backends), "--port", "0"]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            port = Door(process, manifests, log).port()
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/")
            assert caught.value.code == 500
            caught.value.close()
        finally:
            process.kill()
