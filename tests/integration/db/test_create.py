"""`skerry db create` against a real server: who may enter where, and what is told to whom."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner, Result

from servers.postgresql import PostgresServer
from servers.process import free_port
from skerry.cli.main import main
from skerry.deploy import SecretFolder
from skerry.deploy.processes import environment_for
from skerry.errors import WrongOwner
from skerry.store import connect
from skerry.topology import load

Create = Callable[..., Result]


@pytest.fixture
def create(postgres: PostgresServer, system_file: Path, tmp_path: Path) -> Create:
    """Runs the command; with `url` for another administrator."""

    def run(*arguments: str, url: str = "") -> Result:
        where = ["--file", str(system_file), "--output", str(tmp_path / "secrets")]
        return CliRunner().invoke(main, ["db", "create", "--url", url or postgres.url(), *where, *arguments])

    return run


def address(folder: Path, service: str) -> str:
    return SecretFolder(folder / "secrets").read(service)["SKERRY_DATABASE"]


def password(folder: Path, service: str) -> str:
    found = re.search(r":([^:@/]+)@", address(folder, service))
    assert found is not None
    return found[1]


def ask(url: str, sql: str = "SELECT current_user || '@' || current_database()") -> Any:
    async def query() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(query())


def done(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)["services"]
    return found


def refused(result: Result, what: str) -> None:
    assert result.exit_code == 1, result.output
    assert re.match(f"error: .*{what}", result.stderr), result.stderr
    assert result.stderr.count("\n") == 1


def test_each_service_gets_a_role_that_owns_its_database(create: Create, tmp_path: Path, name: str) -> None:
    """A service without a database gets none; the others can log in, each as its own role in its own database."""
    assert done(create("-o", "json")) == [
        {
            "service": service,
            "role": f"{name}_{service}",
            "database": f"{name}_{service}",
            "password": "created",
            "database_created": True,
        }
        for service in ("order", "pay-desk")
    ]
    for service in ("order", "pay-desk"):
        assert ask(address(tmp_path, service)) == f"{name}_{service}@{name}_{service}"
    assert not (tmp_path / "secrets" / "mail.env").exists()


def test_passwords_are_in_private_files_and_nowhere_else(
    create: Create, postgres: PostgresServer, tmp_path: Path
) -> None:
    """Files are 0600 in a folder that is 0700; neither the output nor the server's log of statements has a password."""
    shown = create().output + create("-o", "json").output + create("--rotate").output
    folder = tmp_path / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / ".gitignore").read_text() == "*\n"
    for service in ("order", "pay-desk"):
        assert stat.S_IMODE((folder / f"{service}.env").stat().st_mode) == 0o600
        secret = password(tmp_path, service)
        assert len(secret) >= 32
        assert secret not in shown
        assert secret not in postgres.log.read_text()
    assert postgres.password not in shown
    assert "CREATE ROLE" in postgres.log.read_text()  # the log has the statements, so its silence means something


def test_a_file_works_in_a_shell(create: Create, tmp_path: Path) -> None:
    """`set -a; . NAME.env` gives the variable as it is."""
    create()
    script = f'set -a; . "{tmp_path}/secrets/order.env"; printf %s "$SKERRY_DATABASE"'
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout == address(
        tmp_path, "order"
    )


def test_no_role_enters_the_database_of_another(create: Create, tmp_path: Path) -> None:
    """The credentials of one service are refused by the database of the other; so is a wrong or no password."""
    create()
    order = address(tmp_path, "order")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
        ask(order.removesuffix("_order") + "_pay-desk")
    with pytest.raises(asyncpg.InvalidPasswordError):
        ask(order.replace(password(tmp_path, "order"), password(tmp_path, "pay-desk")))
    with pytest.raises(asyncpg.PostgresError):
        ask(order.replace(":" + password(tmp_path, "order"), ""))


def test_tables_of_another_are_closed_even_to_a_role_that_gets_in(
    create: Create, postgres: PostgresServer, tmp_path: Path, name: str
) -> None:
    """Should somebody grant CONNECT, the tables are still refused, and the next run names the grant."""
    create()
    ask(address(tmp_path, "pay-desk"), "CREATE TABLE money (n int)")
    postgres.execute(f'GRANT CONNECT ON DATABASE "{name}_pay-desk" TO "{name}_order"')
    there = address(tmp_path, "order").removesuffix("_order") + "_pay-desk"
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for table"):
        ask(there, "SELECT n FROM money")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for schema"):
        ask(there, "CREATE TABLE mine (n int)")
    refused(create(), f"{name}_order may still connect to the database {name}_pay-desk")


def test_a_service_whose_credentials_open_the_tables_of_another_refuses_to_start(
    create: Create, postgres: PostgresServer, tmp_path: Path, name: str, system_file: Path
) -> None:
    """Also as a process: one line, exit status 1 or 3, and no password in it.

    Which of them it names is not said: other tests of the same server left databases that the same credentials open.
    """
    create()
    pay = connect(address(tmp_path, "pay-desk"), owner="pay-desk", data=tmp_path)

    async def claim() -> None:
        await pay.open()
        await pay.close()
        both = connect(postgres.url(f"{name}_order"), owner="order", data=tmp_path)
        with pytest.raises(WrongOwner, match=r"also open '.+', the database of the service '.+'; .*skerry db create"):
            await both.open()

    asyncio.run(claim())
    environ = {**os.environ, "SKERRY_DATABASE": postgres.url(f"{name}_order"), "SKERRY_PORT": "0"}
    command = [sys.executable, "-m", "skerry.service", "order:service"]
    ran = subprocess.run(
        command, cwd=system_file.parent, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode in {1, 3}
    assert "also open" in ran.stdout + ran.stderr
    assert postgres.password not in ran.stdout + ran.stderr


def test_a_second_run_keeps_everything(create: Create, tmp_path: Path) -> None:
    """It says so, and not a byte of the files changes."""
    create()
    before = {file.name: file.read_bytes() for file in (tmp_path / "secrets").iterdir()}
    assert [(one["password"], one["database_created"]) for one in done(create("-o", "json"))] == [("kept", False)] * 2
    assert {file.name: file.read_bytes() for file in (tmp_path / "secrets").iterdir()} == before


def test_a_second_run_takes_connect_from_everybody_again(
    create: Create, postgres: PostgresServer, tmp_path: Path, name: str
) -> None:
    """A database that was opened to PUBLIC by hand is closed again, and what else is in a file stays."""
    create()
    file = tmp_path / "secrets" / "order.env"
    file.write_text(file.read_text() + "SKERRY_DRAIN=3\n")
    postgres.execute(f'GRANT CONNECT ON DATABASE "{name}_order" TO PUBLIC')
    assert create().exit_code == 0
    assert postgres.execute(f"SELECT has_database_privilege('public', '{name}_order', 'CONNECT')") == "f\n"
    assert SecretFolder(tmp_path / "secrets").read("order")["SKERRY_DRAIN"] == "3"


def test_rotate_replaces_the_passwords(create: Create, tmp_path: Path) -> None:
    """The new address works, the old one does not."""
    create()
    old = address(tmp_path, "order")
    assert [one["password"] for one in done(create("--rotate", "-o", "json"))] == ["rotated"] * 2
    assert address(tmp_path, "order") != old
    assert ask(address(tmp_path, "order"))
    with pytest.raises(asyncpg.InvalidPasswordError):
        ask(old)


def test_a_password_that_nobody_knows_is_not_replaced_unasked(
    create: Create, postgres: PostgresServer, tmp_path: Path, name: str
) -> None:
    """Without the file, or with a wrong one, it stops and changes nothing; `--rotate` is the way out."""
    create()
    before = postgres.execute("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1")
    kept = (tmp_path / "secrets" / "order.env").read_text()
    (tmp_path / "secrets" / "order.env").unlink()
    refused(create(), f"role {name}_order is there, but .*--rotate")
    (tmp_path / "secrets" / "order.env").write_text(kept.replace(password_in(kept), "wrong"))
    refused(create(), f"role {name}_order has another password .*--rotate")
    assert postgres.execute("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1") == before
    assert create("--rotate").exit_code == 0
    assert ask(address(tmp_path, "order"))


def password_in(text: str) -> str:
    found = re.search(r":([^:@/]+)@", text)
    assert found is not None
    return found[1]


def test_an_administrator_who_is_no_superuser(
    create: Create, postgres: PostgresServer, tmp_path: Path, name: str
) -> None:
    """CREATEROLE and CREATEDB are enough, and no way into the services' databases is left to that role."""
    postgres.execute(f"CREATE ROLE {name}_admin LOGIN CREATEROLE CREATEDB PASSWORD 'secret'")
    admin = postgres.url(user=f"{name}_admin", password="secret")
    assert create(url=admin).exit_code == 0
    assert done(create("-o", "json", url=admin))[0]["password"] == "kept"
    assert ask(address(tmp_path, "order")) == f"{name}_order@{name}_order"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        ask(postgres.url(f"{name}_order", user=f"{name}_admin", password="secret"))


def test_rights_that_are_missing_are_named(create: Create, postgres: PostgresServer, name: str, tmp_path: Path) -> None:
    """A role that may not create roles is refused before anything happens."""
    postgres.execute(f"CREATE ROLE {name}_plain LOGIN CREATEDB PASSWORD 'secret'")
    refused(create(url=postgres.url(user=f"{name}_plain", password="secret")), "CREATEROLE and CREATEDB")
    assert not (tmp_path / "secrets").exists()


def test_what_does_not_fit_is_refused(create: Create, postgres: PostgresServer, name: str) -> None:
    """A role with further rights, a member of another, and a database of somebody else."""
    postgres.execute(f"CREATE ROLE {name}_order LOGIN CREATEDB")
    refused(create(), f"role {name}_order has rights beyond")
    postgres.execute(f"ALTER ROLE {name}_order NOCREATEDB; GRANT pg_read_all_data TO {name}_order")
    refused(create(), f"role {name}_order has rights beyond")
    postgres.execute(f"DROP ROLE {name}_order")
    postgres.create_database(f"{name}_order")
    refused(create(), f"database {name}_order is there and belongs to postgres")


def test_errors_are_one_line_without_a_password(create: Create, postgres: PostgresServer) -> None:
    """A server that is down, a wrong password, another kind of address."""
    for url, what in (
        (f"postgresql://ann:c4n4ry@127.0.0.1:{free_port()}/postgres", "cannot be reached"),
        (postgres.url(password="c4n4ry"), "refuses the name or the password"),
        (postgres.url(user="c4n4ry"), "refuses the name or the password"),
        ("mysql://ann:c4n4ry@host/db", "postgresql://USER"),
        ("postgresql:c4n4ry", "postgresql://USER"),
        ("postgresql://ann:c4n4ry@host:port/db", "postgresql://USER"),
    ):
        result = create(url=url)
        refused(result, what)
        assert "c4n4ry" not in result.output


def test_the_address_may_come_from_the_environment(postgres: PostgresServer, system_file: Path, tmp_path: Path) -> None:
    """So that it is in no list of processes; and it is not handed on to services."""
    environ = {"SKERRY_ADMIN_URL": postgres.url()}
    words = ["db", "create", "--file", str(system_file), "--output", str(tmp_path / "secrets")]
    assert CliRunner().invoke(main, words, env=environ).exit_code == 0
    given = environment_for(load(system_file), "order", data=tmp_path, ports={"order": 1}, environ=environ)
    assert "SKERRY_ADMIN_URL" not in given


@pytest.fixture
def trusting(tmp_path: Path) -> Any:
    """A server that believes everybody."""
    with PostgresServer(tmp_path / "trusting", settings={"password_encryption": "md5"}) as server:
        rules = server.data / "pg_hba.conf"
        rules.write_text("host all all 127.0.0.1/32 trust\n" + rules.read_text())
        server.execute("SELECT pg_reload_conf(); CREATE ROLE boss LOGIN CREATEROLE CREATEDB")
        yield server


def test_a_server_that_trusts_everybody_is_warned_of(create: Create, trusting: PostgresServer) -> None:
    """To a superuser with the line of the rule, to others because a wrong password was let in."""
    result = create(url=trusting.url(user="boss"))
    assert (result.exit_code, "lets roles in without asking" in result.stderr) == (0, True), result.output
    result = create("--rotate", "-o", "json", url=trusting.url())
    assert result.exit_code == 0, result.output
    assert "trust, line 1" in result.stderr
    assert len(json.loads(result.stdout)["warnings"]) == 2
    stored = trusting.execute("SELECT rolpassword FROM pg_authid WHERE rolname LIKE 'sys%'")
    assert stored.count("SCRAM-SHA-256$") == 2


def test_the_files_are_what_run_wants(create: Create, system_file: Path, tmp_path: Path, name: str) -> None:
    """`skerry run --env` starts each service on its own database, and shows no password."""
    create()
    command = [sys.executable, "-m", "skerry", "run", "--env", str(tmp_path / "secrets"), "-o", "json"]
    with subprocess.Popen(command, cwd=system_file.parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or '"event": "system"' not in lines[-1] or '"ready"' not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        shown = CliRunner().invoke(main, ["ps", "--data", str(system_file.parent / "var"), "-o", "json"]).output
        process.terminate()
        assert process.wait(60) == 0
    for service in ("order", "pay-desk"):
        assert ask(address(tmp_path, service), "SELECT name FROM skerry_owner") == service
        secret = password(tmp_path, service)
        logs = "".join(file.read_text() for file in (system_file.parent / "var" / "logs").iterdir())
        assert secret not in "".join(lines) + shown + logs
