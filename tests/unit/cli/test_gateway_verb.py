"""`skerry gateway`, apart from serving."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from skerry.cli.main import main

GOOD = "routes:\n  - {path: /a, service: a, policy: {breaker: false, retry: false, concurrency: 1024, queue: 1024}}\n"
WRONG = "routes:\n  - {path: a, service: A}\n"
MANIFESTS = """\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g}
spec: {listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: a, port: 80}]}]}
"""


def gateway(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["gateway", *map(str, arguments)])


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "g.yaml").write_text(GOOD)
    return tmp_path / "g.yaml"


def test_check_says_that_nothing_is_wrong(spec: Path) -> None:
    """One line says what was found."""
    done = gateway("check", spec)
    assert (done.exit_code, done.stdout) == (0, f"{spec}: 1 routes to 1 services, nothing is wrong\n")


def test_check_tells_all_mistakes(spec: Path) -> None:
    """Each is a line on standard error, and the exit status is 1."""
    spec.write_text(WRONG)
    done = gateway("check", spec)
    assert (done.exit_code, done.stdout) == (1, "")
    assert [line.split(" ")[1] for line in done.stderr.splitlines()] == [f"{spec}:2:", f"{spec}:2:"]


def test_check_tells_a_program(spec: Path) -> None:
    """With `-o json` each mistake has its file, line and field."""
    assert json.loads(gateway("check", spec, "-o", "json").stdout) == {"ok": True, "routes": 1, "mistakes": []}
    spec.write_text(WRONG)
    told = json.loads(gateway("check", spec, "-o", "json").stdout)
    assert (told["ok"], told["routes"]) == (False, None)
    assert [(each["line"], each["field"]) for each in told["mistakes"]] == [
        (2, "routes[0].path"),
        (2, "routes[0].service"),
    ]
    assert {each["file"] for each in told["mistakes"]} == {str(spec)}


def test_check_takes_manifests(tmp_path: Path) -> None:
    """Manifests of the Gateway API stand in for a specification."""
    (tmp_path / "m.yaml").write_text(MANIFESTS)
    (tmp_path / "b.yaml").write_text("a: 127.0.0.1:1\n")
    done = gateway("check", "--gateway-api", tmp_path / "m.yaml", "--backends", tmp_path / "b.yaml")
    assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [[], ["g.yaml", "--gateway-api", "m.yaml"], ["g.yaml", "--backends", "b.yaml"]])
def test_one_of_both_is_meant(arguments: list[str]) -> None:
    """A specification or manifests: neither, both, or backends without manifests, is wrong usage."""
    assert gateway("check", *arguments).exit_code == 2


def test_run_refuses_what_is_wrong(spec: Path) -> None:
    """A wrong file is told before anything is served."""
    spec.write_text(WRONG)
    done = gateway("run", spec)
    assert done.exit_code == 1
    assert f"error: {spec}:2: routes[0].path" in done.stderr


def test_run_refuses_services_without_an_address(spec: Path) -> None:
    """A service that nobody can find is told at the start, not at the first request."""
    done = gateway("run", spec)
    assert done.exit_code == 1
    assert "nobody says where 'a' is" in done.stderr


def test_export_lists_what_is_lost_and_writes_nothing(spec: Path, tmp_path: Path) -> None:
    """A loss is an error unless it is allowed."""
    spec.write_text(GOOD + "  - {path: /b, respond: {status: 200}}\n")
    out = tmp_path / "m.yaml"
    done = gateway("export", spec, "--file", out)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "error: would be lost: route '/b': the whole route, a fixed answer\n"
    assert not out.exists()
    done = gateway("export", spec, "--file", out, "--allow-loss")
    assert (done.exit_code, done.stderr) == (0, "lost: route '/b': the whole route, a fixed answer\n")
    assert "kind: HTTPRoute" in out.read_text()


def test_export_without_a_loss_goes_to_standard_output(spec: Path) -> None:
    """What is written can be piped."""
    done = gateway("export", spec)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n")


def test_schema_is_json() -> None:
    """An editor can be given what is printed."""
    assert json.loads(gateway("schema").stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
