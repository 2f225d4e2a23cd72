"""Each thing that was looked at is a line; what is missing says what to do, and only what nothing works without is a failure."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from skerry.cli import doctor as looked_at
from skerry.cli.main import main

SYSTEM = (
    '[system]\nname = "shop"\n[gateway]\nspec = "gateway.yaml"\nport = {port}\n[services.order]\napp = "order:app"\n'
)


def _doctor(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["doctor", *map(str, words)], catch_exceptions=False)


def _found(result: Result) -> dict[str, dict[str, Any]]:
    return {line["what"]: line for line in json.loads(result.output)["lines"]}


def _system(folder: Path, port: int) -> Path:
    file = folder / "skerry.toml"
    file.write_text(SYSTEM.format(port=port))
    (folder / "gateway.yaml").write_text("routes: [{path: /orders, service: order}]\n")
    return file


def test_a_machine_that_has_all_of_it_is_well(tmp_path: Path) -> None:
    """As text a line for each thing, as JSON the same."""
    file = _system(tmp_path, 0)
    told = _doctor("--file", file, "--data", tmp_path / "var", "-o", "json")
    assert told.exit_code == 0
    assert json.loads(told.output)["ok"] is True
    lines = _found(told)
    assert lines["Python"]["found"] == lines["data folder"]["found"] == lines["system file"]["found"] == "ok"
    assert lines["system file"]["said"] == "shop: 1 service"
    shown = _doctor("--file", file, "--data", tmp_path / "var")
    assert shown.exit_code == 0
    todo = sum(bool(line["todo"]) for line in lines.values())
    assert len(shown.output.splitlines()) == len(lines) + 1 + todo
    assert not (tmp_path / "var").exists()


def test_an_extra_that_is_missing_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning: who does not use it does not need it."""
    monkeypatch.setattr(looked_at, "EXTRAS", {"gateway": ("no_such_module_anywhere",)})
    line = _found(_doctor("--file", _system(tmp_path, 0), "--data", tmp_path, "-o", "json"))["skerry[gateway]"]
    assert (line["found"], line["todo"]) == ("warn", "pip install 'skerry[gateway]'")


def test_a_wrong_system_file_is_a_failure(tmp_path: Path) -> None:
    """Its first mistake is what to do."""
    file = tmp_path / "skerry.toml"
    file.write_text("[system\n")
    told = _doctor("--file", file, "--data", tmp_path, "-o", "json")
    assert told.exit_code == 1
    assert "skerry.toml" in _found(told)["system file"]["todo"]


def test_what_the_system_file_leads_to_is_looked_at(tmp_path: Path) -> None:
    """`run` would refuse a wrong `.env`, and the gateway a wrong route, each time that it is started."""
    file = _system(tmp_path, 0)
    assert ".env" not in _found(_doctor("--file", file, "--data", tmp_path, "-o", "json"))
    (tmp_path / ".env").write_text("KEY=secret\n")
    lines = _found(_doctor("--file", file, "--data", tmp_path, "-o", "json"))
    assert (lines[".env"]["said"], lines["gateway.yaml"]["said"]) == ("1 variable", "1 route")
    (tmp_path / ".env").write_text("KEY=secret\nKEY\n")
    (tmp_path / "gateway.yaml").write_text("routes: [{path: nowhere, service: order}]\n")
    told = _doctor("--file", file, "--data", tmp_path, "-o", "json")
    assert told.exit_code == 1
    lines = _found(told)
    assert (lines[".env"]["found"], lines["gateway.yaml"]["found"]) == ("fail", "fail")
    assert lines[".env"]["todo"].startswith(f"{tmp_path}/.env:2: ")
    assert lines["gateway.yaml"]["todo"].startswith(f"{tmp_path}/gateway.yaml:1: ")
    assert "secret" not in told.output


def test_a_data_folder_that_cannot_be_one_is_a_failure(tmp_path: Path) -> None:
    """Here a file is in its way."""
    (tmp_path / "var").write_text("")
    told = _doctor("--file", _system(tmp_path, 0), "--data", tmp_path / "var", "-o", "json")
    assert told.exit_code == 1
    assert _found(told)["data folder"]["found"] == "fail"


def test_a_port_of_a_service_that_is_taken_is_told(tmp_path: Path) -> None:
    """Whose it is, and where another is chosen; a service without a port of its own gets a free one."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        file = _system(tmp_path, 0)
        file.write_text(f'{file.read_text()}port = {port}\n[services.payment]\napp = "payment:app"\n')
        lines = _found(_doctor("--file", file, "--data", tmp_path, "-o", "json"))
    assert [what for what in lines if what.startswith("port")] == [f"port {port}"]
    assert lines[f"port {port}"]["found"] == "warn"
    assert "port in [services.order]" in lines[f"port {port}"]["todo"]


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    """It may be the system itself, so it is a warning."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = _doctor("--file", _system(tmp_path, port), "--data", tmp_path, "-o", "json")
    assert told.exit_code == 0
    assert _found(told)[f"port {port}"]["found"] == "warn"
