"""A role and a database for each service on a PostgreSQL server: what `skerry db create` does.

A role may log in and owns its database; nobody else may connect to that one. Passwords reach the server only as SCRAM
verifiers. Everything may be done again: what is there and right stays.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit, urlunsplit

from skerry.clock import SYSTEM, Clock
from skerry.deploy.secrets import SecretFolder, password, scram_verifier
from skerry.errors import ConfigurationError, DeployError, MissingExtra
from skerry.topology import System

VARIABLE: Final = "SKERRY_DATABASE"
TIMEOUT: Final = 10.0
BEGIN_CHECKPOINT: Final = 0.2
LONGEST_NAME: Final = 63
_LOCK: Final = 0x736B_6572_7279
_OWN_OPTIONS: Final = {"user", "password", "database", "dbname"}

_RIGHTS: Final = (
    "SELECT rolsuper, rolsuper OR (rolcreaterole AND rolcreatedb) FROM pg_roles WHERE rolname = current_user"
)
_ROLE: Final = (
    "SELECT rolcanlogin AND NOT (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls) "
    "AND NOT EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid) FROM pg_roles WHERE rolname = $1"
)
_DATABASE: Final = (
    "SELECT pg_get_userbyid(datdba), has_database_privilege('public', oid, 'CONNECT') "
    "FROM pg_database WHERE datname = $1"
)
_TRUSTING: Final = "SELECT line_number FROM pg_hba_file_rules WHERE auth_method = 'trust' ORDER BY line_number"
_CROSSING: Final = (
    "SELECT role, name FROM unnest($1::text[]) AS role, unnest($1::text[]) AS name "
    "WHERE role <> name AND has_database_privilege(role, name, 'CONNECT') LIMIT 1"
)
_ROLE_OPTIONS: Final = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"

Done = Literal["created", "kept", "rotated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What a service has now. `password`: a new one, the one that was there, or a new one for the role that was there."""

    service: str
    role: str
    database: str
    password: Done
    database_created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """What `create` did, and what about the server makes it worth less than it should be."""

    granted: tuple[Granted, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Wanted:
    service: str
    name: str
    """Of both the role and the database."""
    secret: str
    done: Done


async def create(
    url: str, system: System, secrets: SecretFolder, *, rotate: bool = False, clock: Clock = SYSTEM
) -> Created:
    """Give every service of `system` that has a database a role and a database on the server behind `url`.

    `url` is an administrator's address: a superuser, or a role with CREATEROLE and CREATEDB. Each service's address is put
    into its file in `secrets`, before it takes effect. Passwords that are there stay unless `rotate`; a service that runs with
    an old one is refused at its next connection. Raises `DeployError` when the server cannot be reached, refuses, or holds
    something that does not fit; nothing is changed then that was in use. Raises `ConfigurationError` for an address or file
    that is wrong, and `MissingExtra` without the driver.
    """
    where = _where(url)
    services = [service.name for service in system.services.values() if service.database is not None]
    if not services:
        raise ConfigurationError(f"no service of {system.name} has a database in {system.file.name}")
    async with _connected(url, where) as admin:
        await admin.execute("SELECT pg_advisory_lock($1)", _LOCK)
        is_super, may_create = await admin.fetchrow(_RIGHTS)
        if not may_create:
            raise DeployError(
                f"{where}: that role may not create roles and databases; use a superuser, or one with CREATEROLE and CREATEDB"
            )
        plans = [await _plan(admin, url, system, name, secrets, rotate=rotate, clock=clock) for name in services]
        granted = [await _grant(admin, url, plan, secrets, borrow=not is_super, clock=clock) for plan in plans]
        await _demand_apart(admin, [plan.name for plan in plans])
        warnings = await _warnings(admin, url, plans[0], is_super=is_super, clock=clock)
    return Created(granted=tuple(granted), warnings=warnings)


async def settle(url: str) -> None:
    """On a server that is ours alone, after `create` made databases there.

    The maintenance databases, too, are taken from everybody but the administrator; and a checkpoint is begun, so that a crash
    in the next minutes need not write the new databases again.
    """
    async with _connected(url, _where(url)) as admin:
        for name in ("postgres", "template1"):
            await admin.execute(f"REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC")
        await admin.execute("SET log_min_messages = fatal")  # that we do not wait is no error
        with contextlib.suppress(TimeoutError):  # it goes on without us
            await admin.execute("CHECKPOINT", timeout=BEGIN_CHECKPOINT)


def address_of(url: str, name: str, secret: str) -> str:
    """The address of the database `name` for the role `name`, on the server of `url`."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    options = [(key, value) for key, value in parse_qsl(parts.query) if key not in _OWN_OPTIONS]
    who = f"{quote(name, safe='')}:{quote(secret, safe='')}"
    return urlunsplit(("postgresql", f"{who}@{host}", f"/{quote(name, safe='')}", urlencode(options), ""))


async def _plan(
    admin: Any, url: str, system: System, service: str, secrets: SecretFolder, *, rotate: bool, clock: Clock
) -> _Wanted:
    """What to do for a service. Changes nothing; raises when it must not be done."""
    name = f"{system.name}_{service}"
    if len(name) > LONGEST_NAME:
        raise ConfigurationError(f"the name {name} is longer than {LONGEST_NAME} characters, which PostgreSQL cuts off")
    known = _password_in(secrets.read(service).get(VARIABLE, ""), name)
    is_plain = await admin.fetchval(_ROLE, name)
    database = await admin.fetchrow(_DATABASE, name)
    if database is not None and database[0] != name:
        raise DeployError(f"the database {name} is there and belongs to {database[0]}, not to the role {name}")
    if is_plain is None:
        return _Wanted(service, name, known or password(clock), "created")
    if not is_plain:
        raise DeployError(f"the role {name} has rights beyond its own database: take them, or drop it")
    if rotate:
        return _Wanted(service, name, password(clock), "rotated")
    if not known:
        raise DeployError(
            f"the role {name} is there, but {secrets.file(service)} has no password for it: "
            "name the folder of the first time with --output, or give new passwords with --rotate"
        )
    if database is not None and not await _opens(address_of(url, name, known)):
        raise DeployError(
            f"the role {name} has another password than {secrets.file(service)} says: give new ones with --rotate"
        )
    return _Wanted(service, name, known, "kept")


async def _grant(
    admin: Any, url: str, wanted: _Wanted, secrets: SecretFolder, *, borrow: bool, clock: Clock
) -> Granted:
    name = wanted.name
    variables = {**secrets.read(wanted.service), VARIABLE: address_of(url, name, wanted.secret)}
    async with admin.transaction():
        if wanted.done != "kept":
            verb, rights = ("CREATE", _ROLE_OPTIONS) if wanted.done == "created" else ("ALTER", "")
            verifier = scram_verifier(wanted.secret, clock)
            await admin.execute(f"{verb} ROLE \"{name}\" {rights} PASSWORD '{verifier}'")
        secrets.write(wanted.service, variables)
    if borrow:  # to hand a database to a role one must be a member of it
        await admin.execute(f'GRANT "{name}" TO CURRENT_USER')
    try:
        database = await admin.fetchrow(_DATABASE, name)
        if database is None:
            await admin.execute(f'CREATE DATABASE "{name}" OWNER "{name}"')
        if database is None or database[1]:
            await admin.execute(f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC')
    finally:
        if borrow:
            await admin.execute(f'REVOKE "{name}" FROM CURRENT_USER')
    return Granted(
        service=wanted.service,
        role=name,
        database=name,
        password=wanted.done,
        database_created=database is None,
    )


async def _demand_apart(admin: Any, names: list[str]) -> None:
    crossing = await admin.fetchrow(_CROSSING, names)
    if crossing is not None:
        raise DeployError(
            f"the role {crossing[0]} may still connect to the database {crossing[1]}: somebody granted it that; revoke it"
        )


async def _warnings(admin: Any, url: str, one: _Wanted, *, is_super: bool, clock: Clock) -> tuple[str, ...]:
    """What makes passwords worth less: rules that trust everybody, or a server that keeps weak hashes of others."""
    found: list[str] = []
    if is_super:
        lines = [str(row[0]) for row in await admin.fetch(_TRUSTING)]
        if lines:
            found.append(
                f"pg_hba.conf lets roles in without a password (trust, line {', '.join(lines)}): "
                "use scram-sha-256 there, or any process can log in as any service"
            )
    elif await _opens(address_of(url, one.name, password(clock))):
        found.append(
            "the server lets roles in without asking for their password (trust): use scram-sha-256 in its pg_hba.conf, "
            "or any process can log in as any service"
        )
    kind = await admin.fetchval("SHOW password_encryption")
    if kind != "scram-sha-256":
        found.append(f"the server's password_encryption is {kind}; services have scram-sha-256, other roles do not")
    return tuple(found)


def _password_in(address: str, role: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return (parts.password or "") if parts.username == role else ""


async def _opens(address: str) -> bool:
    import asyncpg

    try:
        connection = await asyncpg.connect(address, timeout=TIMEOUT)
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError):
        return False
    await connection.close(timeout=TIMEOUT)
    return True


def _where(url: str) -> str:
    """The server, as an error may show it. Raises `ConfigurationError`."""
    try:
        parts: SplitResult = urlsplit(url)
        shown = f"{parts.hostname or 'localhost'}:{parts.port or 5432}"
    except ValueError:
        shown, parts = "", urlsplit("")
    if parts.scheme not in {"postgresql", "postgres"} or not url.startswith(f"{parts.scheme}://"):
        raise ConfigurationError("the administrator's address is postgresql://USER:PASSWORD@HOST:PORT/postgres")
    return f"the PostgreSQL server at {shown}"


@asynccontextmanager
async def _connected(url: str, where: str) -> AsyncIterator[Any]:
    try:
        import asyncpg
    except ModuleNotFoundError as error:
        raise MissingExtra("PostgreSQL", "postgres") from error
    with _explained(where):
        connection: Any = await asyncpg.connect(url, timeout=TIMEOUT, server_settings={"application_name": "skerry db"})
        try:
            yield connection
        finally:
            await connection.close(timeout=TIMEOUT)


@contextlib.contextmanager
def _explained(where: str) -> Iterator[None]:
    """Turn the driver's errors into ours; none of them repeats the address."""
    import asyncpg

    try:
        yield
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise DeployError(f"{where} refuses the name or the password of the administrator's address") from error
    except asyncpg.PostgresError as error:
        raise DeployError(f"{where}: {type(error).__name__}: {str(error).partition(chr(10))[0]}") from error
    except asyncpg.InterfaceError as error:
        raise ConfigurationError(f"{where}: the administrator's address cannot be used") from error
    except (OSError, TimeoutError) as error:
        raise DeployError(f"{where} cannot be reached: {getattr(error, 'strerror', None) or 'no answer'}") from error
