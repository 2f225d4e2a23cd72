"""What the page on PostgreSQL and NATS shows."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from pages import ROOT, Block, runs
from terminal import commands

from skerry.cli.demo import demo
from skerry.cli.main import main
from skerry.cli.run import run

SYSTEM = '[system]\nname = "shop"\n' + "".join(
    f'[services.{name}]\napp = "{name}:service"\ndatabase = "sqlite:///{name}.db"\n' for name in ("order", "payment")
)


@runs("docs/how-to/run-on-postgresql-and-nats.md", "console")
def test_the_page_on_postgresql_does_what_it_shows(
    shown: list[Block], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it installs is declared, the options are there (the shop's own tests run them), and `db create` prints that."""
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    from servers.postgresql import PostgresServer

    first, second = (commands(block.text) for block in shown)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (pip, _), *told = [(shlex.split(command), lines) for command, lines in first]
    assert pip[2] == "skerry[postgres,nats]"
    assert {"postgres", "nats"} <= project["project"]["optional-dependencies"].keys()
    servers = [line.partition("==")[0] for line in project["dependency-groups"]["servers"]]
    assert set(pip[3:]) <= set(servers)
    for (words, _), verb in zip(told, (run, demo), strict=True):
        assert verb.make_context(words[1], words[2:])

    (export, _), (create, printed) = second
    with PostgresServer(tmp_path / "server") as server:
        (tmp_path / "skerry.toml").write_text(SYSTEM)
        monkeypatch.chdir(tmp_path)
        variable = export.removeprefix("export ").partition("=")[0]
        done = CliRunner().invoke(main, shlex.split(create)[1:], env={variable: server.url()})
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == printed
