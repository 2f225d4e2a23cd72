"""The embedded engine as processes: reload, several workers, TLS, and what is shared between them."""

from __future__ import annotations

import os
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
import pytest
import trustme
from tests.integration.gateway.gateway_processes import PATIENCE, Running, running
from tests.integration.gateway.raw_backends import serving
from tests.integration.gateway.raw_client import Broken, ask

SPEC = """
name: front
routes:
  - {path: /fixed, respond: {status: 200, body: "one"}}
  - {path: /, service: v1}
services: {v1: {urls: ["http://%s"]}}
"""


def until(met: object, what: str) -> None:
    """Wait until `met()` is true; a hang fails with `what`."""
    end = time.monotonic() + PATIENCE
    while not met():  # type: ignore[operator]
        assert time.monotonic() < end, what
        time.sleep(0.01)


@contextmanager
def gateway(tmp_path: Path, *arguments: str, spec: str = SPEC) -> Iterator[tuple[Running, Path]]:
    with serving("v1") as backends:
        path = tmp_path / "gateway.yaml"
        path.write_text(spec % backends["v1"].address)
        with running([path, *arguments]) as started:
            yield started, path


def put(path: Path, old: str, new: str) -> None:
    """Replace the file in one step, as editors and deployments do."""
    text = path.read_text()
    assert old in text
    path.with_suffix(".new").write_text(text.replace(old, new))
    path.with_suffix(".new").replace(path)


def body(started: Running) -> bytes:
    return started.ask("/fixed").body


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_changed_file_is_served_and_nothing_is_lost(tmp_path: Path, workers: str) -> None:
    """While clients ask without pause, every change is served at last by all workers, and each request is answered."""
    with gateway(tmp_path, "--watch", "--workers", workers) as (started, path):
        lost: list[str] = []
        answered = 0
        stop = threading.Event()

        def keep_asking() -> None:
            nonlocal answered
            while not stop.is_set():
                try:
                    answer = ask(started.port, "/x")
                except (OSError, Broken) as error:
                    lost.append(str(error))
                else:
                    answered += 1
                    if answer.status != 200:
                        lost.append(f"{answer.status} {answer.body!r}")

        askers = [threading.Thread(target=keep_asking) for _ in range(3)]
        for asker in askers:
            asker.start()
        for old, new in (("one", "two"), ("two", "three"), ("three", "four")):
            put(path, f'"{old}"', f'"{new}"')
            until(lambda new=new: all(body(started) == new.encode() for _ in range(8)), f"{new} is not served")
        until(lambda: answered > 100, "too few requests were answered")
        stop.set()
        for asker in askers:
            asker.join()
        assert lost == []


def test_a_wrong_file_changes_nothing_and_is_told(tmp_path: Path) -> None:
    """On SIGHUP a file that cannot be served is told with its line, and what was served before goes on."""
    with gateway(tmp_path) as (started, path):
        put(path, "path: /fixed", "colour: red")
        os.kill(started.process.pid, signal.SIGHUP)
        until(lambda: "not reloaded" in started.said, "nothing was told")
        assert "gateway.yaml:4" in started.said
        assert body(started) == b"one"
        put(path, "colour: red", "path: /fixed")
        put(path, '"one"', '"two"')
        os.kill(started.process.pid, signal.SIGHUP)
        until(lambda: body(started) == b"two", "the mended file is not served")


def test_what_was_counted_survives_a_reload(tmp_path: Path) -> None:
    """An open circuit stays open when another route changes."""
    policy = "policy: {retry: {attempts: 1}, breaker: {consecutive: 2, open_for: 300}}"
    spec = SPEC.replace("{path: /, service: v1}", f"{{path: /, service: v1, {policy}}}")
    spec = spec.replace("http://%s", "http://127.0.0.1:9") + "# %s\n"
    with gateway(tmp_path, "--watch", spec=spec) as (started, path):
        assert [started.ask("/x").status for _ in range(3)] == [502, 502, 503]
        put(path, '"one"', '"two"')
        until(lambda: body(started) == b"two", "the change is not served")
        assert started.ask("/x").status == 503


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    """After SIGKILL of one of two workers the other answers meanwhile, and there are two again; a stop ends all."""
    with gateway(tmp_path, "--workers", "2") as (started, _):
        first, *workers = started.processes()
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        until(lambda: len(set(started.processes()) - {first, workers[0]}) == 2, "there is no new worker")
        until(lambda: all(body(started) == b"one" for _ in range(8)), "it does not answer")
        family = started.processes()
        started.process.terminate()
        assert started.process.wait(PATIENCE) == 0
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family), "a worker stayed behind")


def test_no_worker_outlives_its_parent(tmp_path: Path) -> None:
    """When the process that keeps the workers is killed, they stop by themselves."""
    with gateway(tmp_path, "--workers", "2") as (started, _):
        family = started.processes()
        started.process.kill()
        started.process.wait(PATIENCE)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family), "a worker stayed behind")


def test_tls_is_spoken_and_told_to_services(tmp_path: Path) -> None:
    """A listener with a certificate speaks TLS 1.2 or later, its services learn of https, and plain HTTP gets nothing."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    for number, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(tmp_path / "cert.pem", append=number > 0)
    spec = SPEC + "listeners: [{name: web}, {name: safe, port: 0, tls: {certificate: cert.pem, key: key.pem}}]\n"
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with serving("v1") as backends:
        (tmp_path / "gateway.yaml").write_text(spec % backends["v1"].address)
        with running([tmp_path / "gateway.yaml"]) as started:
            port = _port_of(started, "safe")
            with closing(httpx2.Client(verify=trust, trust_env=False, timeout=PATIENCE)) as client:
                told = client.get(f"https://localhost:{port}/x").json()
                assert _header(told, "x-forwarded-proto") == "https"
            with (
                closing(httpx2.Client(trust_env=False, timeout=PATIENCE)) as client,
                pytest.raises(httpx2.TransportError),
            ):
                client.get(f"http://localhost:{port}/x")


def _port_of(started: Running, listener: str) -> int:
    """Where the kernel says that this process listens, the first listener's port taken out."""
    del listener
    folder = Path(f"/proc/{started.process.pid}/fd")
    inodes = {str(each.readlink()) for each in folder.iterdir() if each.is_symlink()}
    ports = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
            ports.add(int(fields[1].rpartition(":")[2], 16))
    (port,) = ports - {started.port}
    return port


def _header(told: object, name: str) -> str | None:
    headers = told["headers"]  # type: ignore[index]
    pairs = headers.items() if isinstance(headers, dict) else headers
    return next((value if isinstance(value, str) else value[0] for key, value in pairs if key.lower() == name), None)
