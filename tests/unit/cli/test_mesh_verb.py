"""The verb `skerry mesh`, as far as nothing has to run for it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from skerry.cli.main import main
from skerry.cli.mesh import table
from skerry.clock import SYSTEM
from skerry.envoy.mesh import CertificateFolder

FILE = '[system]\nname = "tiny"\n[services.shop]\napp = "shop:app"\n'


def test_a_folder_of_certificates_is_what_a_run_takes(tmp_path: Path) -> None:
    """Written for each service, valid for as long as was asked, with the authority's key nowhere in it."""
    (tmp_path / "skerry.toml").write_text(FILE)
    command = ["mesh", "certificates", "--out", str(tmp_path / "out"), "--file", str(tmp_path / "skerry.toml")]
    command += ["--data", str(tmp_path / "var"), "--lifetime", "600"]
    done = CliRunner().invoke(main, [*command, "-o", "json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["files"] == ["shop.key", "shop.pem", "ca.crt"]
    identity = CertificateFolder(tmp_path / "out", system="tiny").identity("shop")
    assert 0 < identity.ends - SYSTEM.now() <= 600
    assert stat.S_IMODE((tmp_path / "out" / "shop.key").stat().st_mode) == 0o600
    assert "PRIVATE" not in (tmp_path / "out" / "ca.crt").read_text()
    again = CliRunner().invoke(main, command)
    assert again.stdout == f"1 certificates with their keys, and ca.crt, are in {tmp_path / 'out'}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--certificates", "x"],
        ["run", "--lifetime", "60"],
        ["run", "--mesh", "--lifetime", "1"],
        ["run", "--mesh", "--certificates", "x", "--lifetime", "600"],
        ["mesh", "rotate", "shop", "--authority"],
        ["mesh", "export", "consul"],
    ],
)
def test_what_makes_no_sense_is_a_usage_error(words: list[str]) -> None:
    """Options that need another one, that exclude each other, or are out of bounds."""
    assert CliRunner().invoke(main, words).exit_code == 2


def test_status_without_a_system_is_one_line() -> None:
    """As of the other verbs for running systems."""
    done = CliRunner().invoke(main, ["mesh", "status", "--data", "/nowhere"])
    assert (done.exit_code, done.stderr) == (1, "error: that system is not running: start one with `skerry run`\n")


def test_the_table_says_when_and_who() -> None:
    """Times in the largest unit of which there are two; nobody where there is no caller."""
    rows = [
        {"service": name, "identity": f"spiffe://tiny/{name}", "callers": callers, "version": 4, "acknowledged": ok}
        | {"remaining": remaining}
        for name, callers, ok, remaining in (
            ("shop", ["gateway"], True, 3599.0),
            ("bank", [], False, 90.0),
            ("other", [], True, -1.0),
            ("slow", [], True, 3 * 86400.0),
        )
    ]
    lines = [line.split("  ") for line in table(rows).splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells[1] == ["shop", "spiffe://tiny/shop", "gateway", "in 60 min", "4", "up to date"]
    assert cells[2] == ["bank", "spiffe://tiny/bank", "nobody", "in 90 s", "4", "waits"]
    assert [line[3] for line in cells[3:]] == ["expired", "in 3 d"]
