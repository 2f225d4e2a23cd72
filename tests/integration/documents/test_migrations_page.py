"""What the page on migrations shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import ROOT, Block, runs
from terminal import commands, terminal

from skerry.deploy import SecretFolder

SYSTEM = '[system]\nname = "inn"\n[services.rooms]\napp = "rooms:service"\ndatabase = "sqlite:///rooms.db"\n'
MODULE = (
    "from pathlib import Path\nfrom skerry import Service\n"
    'service = Service("rooms", database="sqlite:///rooms.db", migrations=Path("rooms_sql"))\n'
)


@runs("docs/how-to/migrate-before-and-after-a-deploy.md", "console", "sql")
def test_the_page_on_migrations_does_what_it_shows(
    shown: list[Block], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files, on a service that works already; its commands, in their order; and the index, which comes after them."""
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    from servers.postgresql import PostgresServer

    (tmp_path / "skerry.toml").write_text(SYSTEM)
    (tmp_path / "rooms.py").write_text(MODULE)
    (tmp_path / "rooms_sql").mkdir()
    (tmp_path / "rooms_sql" / "0001_rooms.sql").write_text("CREATE TABLE rooms (number INTEGER, memo TEXT);")
    *first, index = [block for block in shown if block.language == "sql"]
    with PostgresServer(tmp_path / "server") as server, terminal(tmp_path) as opened:
        SecretFolder(tmp_path / "secrets").write("rooms", {"SKERRY_DATABASE": server.own_database("rooms")})
        opened.run("skerry db migrate --env secrets", [])
        server.execute("INSERT INTO rooms VALUES (1, 'quiet')", database="rooms")
        for block in first:
            (tmp_path / block.file).write_text(block.text)
        for command, expected in (
            entry for block in shown if block.language == "console" for entry in commands(block.text)
        ):
            opened.run(command, expected)
        (tmp_path / index.file).write_text(index.text)
        opened.run("skerry db migrate --env secrets", ["rooms  1 file applied"])
        assert server.execute("SELECT number, note FROM rooms", database="rooms") == "1|quiet\n"
        made = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'rooms_by_note'::regclass"
        assert server.execute(made, database="rooms") == "t\n"
