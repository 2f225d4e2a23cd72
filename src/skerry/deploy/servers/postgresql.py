"""PostgreSQL, run for the services: scram-sha-256, flushed writes, a role and a database for each service.

It refuses to run as root; started by root it runs as `postgres` or `nobody`. So that this user need not be able to reach its
folder by name, the server is started inside it and told to work where it is.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final

from skerry.clock import Clock
from skerry.deploy import databases
from skerry.deploy.ports import HOST
from skerry.deploy.secrets import FOLDER, SecretFolder, password
from skerry.deploy.servers import binaries
from skerry.deploy.servers.port import Addresses, Program
from skerry.errors import ConfigurationError, DeployError
from skerry.topology import System

SUPERUSER: Final = "skerry"
SETTINGS: Final = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "250",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",  # a failed statement may hold what a customer wrote
    "log_parameter_max_length_on_error": "0",
}
_SYSTEM_SETTINGS = {"recovery_init_sync_method": "syncfs"} if sys.platform == "linux" else {}
"""After a crash: one call instead of one for each of thousands of files."""
INITDB_TIMEOUT: Final = 120.0
PROBE_TIMEOUT: Final = 2.0
_KEPT_IN: Final = "postgresql.password"
_PROTOCOL: Final = 196608
_HERE: Final = "/proc/self/cwd"


class PostgresServer:
    """See `Server`. Its data are in DATA/postgresql, its passwords in DATA/secrets."""

    name = "postgresql"
    scheme = "postgresql"

    def prepare(self, data: Path, port: int, clock: Clock) -> Program:
        """See `Server.prepare`. Makes the cluster when there is none; half a one is thrown away."""
        folder = data / "postgresql"
        written = _version_of(folder)
        programs, _ = binaries.postgresql(written)
        user = _user(folder)
        secrets = SecretFolder(data / FOLDER)
        if written is None:
            secret = secrets.text(_KEPT_IN).strip() or password(clock)
            secrets.keep(_KEPT_IN, secret + "\n")
            _make_cluster(programs, folder, user, secret)
        options = [f"--{name}={value}" for name, value in {**SETTINGS, **_SYSTEM_SETTINGS}.items()]
        command = [str(programs / "postgres"), "-D", _HERE if user else str(folder), f"--port={port}", *options]
        return Program(command=command, folder=folder, stop=signal.SIGINT, user=user)

    async def ready(self, host: str, port: int) -> bool:
        """See `Server.ready`: it begins to ask who we are, which it does not while it recovers."""
        settings = b"user\0skerry\0database\0postgres\0application_name\0skerry probe\0\0"
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                reader, writer = await asyncio.open_connection(host, port, limit=4096)
                try:
                    writer.write(struct.pack("!ii", len(settings) + 8, _PROTOCOL) + settings)
                    return await reader.readexactly(1) == b"R"
                finally:
                    writer.transport.abort()
        except (OSError, EOFError):
            return False

    async def provide(self, system: System, data: Path, port: int, clock: Clock) -> Addresses:
        """See `Server.provide`: what `skerry db create` does."""
        secrets = SecretFolder(data / FOLDER)
        secret = secrets.text(_KEPT_IN).strip()
        if not secret:
            raise DeployError(
                f"{data / FOLDER / _KEPT_IN} is gone, and with it the way into the database server's data: "
                "bring it back, or begin with another --data"
            )
        services = [service.name for service in system.services.values() if service.database is not None]
        if not services:
            return Addresses()
        url = databases.address_of(f"postgresql://{HOST}:{port}", SUPERUSER, secret)
        url = url.removesuffix(f"/{SUPERUSER}") + "/postgres"
        created = await databases.create(url, system, secrets, clock=clock)
        if any(granted.database_created for granted in created.granted):
            await databases.settle(url)
        return Addresses(databases={name: secrets.read(name)[databases.VARIABLE] for name in services})


def _version_of(folder: Path) -> int | None:
    """The major version that wrote the cluster in `folder`; None when there is none."""
    try:
        return int((folder / "PG_VERSION").read_text("ascii"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise ConfigurationError(f"{folder} is no folder of PostgreSQL's: begin with another --data") from None


def _user(folder: Path) -> str:
    """Whom the server runs as; empty for ourselves."""
    if os.geteuid() != 0:
        return ""
    if folder.is_dir() and (owner := folder.stat().st_uid) != 0:
        return pwd.getpwuid(owner).pw_name
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise ConfigurationError(
        "PostgreSQL refuses to run as root, and there is no user nobody: run skerry as another user"
    )


def _make_cluster(programs: Path, folder: Path, user: str, secret: str) -> None:
    """Make it beside its place and move it there, so that half a cluster is never taken for a whole one."""
    part = folder.with_name(folder.name + ".new")
    if part.exists():
        shutil.rmtree(part)
    if user and sys.platform != "linux":
        raise ConfigurationError("PostgreSQL refuses to run as root: run skerry as another user")
    part.mkdir(parents=True, mode=0o700)
    read, write = os.pipe()
    try:
        with os.fdopen(write, "w") as pipe:
            pipe.write(secret + "\n")
        if user:
            account = pwd.getpwnam(user)
            os.chown(part, account.pw_uid, account.pw_gid)
            os.fchown(read, account.pw_uid, account.pw_gid)
        auth = f"-U {SUPERUSER} -A scram-sha-256 -E UTF8 --no-locale --no-instructions --pwfile=/dev/stdin".split()
        ran = subprocess.run(  # noqa: S603 - the program that was found
            [programs / "initdb", "-D", _HERE if user else part, *auth],
            stdin=read,
            capture_output=True,
            text=True,
            cwd=part,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            user=user or None,
            group=pwd.getpwnam(user).pw_gid if user else None,
            extra_groups=[] if user else None,
            timeout=INITDB_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(f"initdb cannot be run{_as(user)}: {error}") from None
    finally:
        os.close(read)
    if ran.returncode != 0:
        said = (ran.stderr.strip() or ran.stdout.strip()).splitlines()[-3:]
        raise ConfigurationError(f"initdb failed{_as(user)}: {' / '.join(said)}")
    part.rename(folder)


def _as(user: str) -> str:
    return f" as {user}, for PostgreSQL refuses to run as root" if user else ""
