"""One database, one service: on PostgreSQL both by the name in the database and by what the credentials open elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from skerry.errors import StoreError, WrongOwner

if TYPE_CHECKING:
    from skerry.store.postgresql import PostgreSQLDatabase

MAX_DATABASES: Final = 200
TIMEOUT: Final = 5.0
_OTHERS: Final = (
    "SELECT datname FROM pg_database WHERE datname <> current_database() AND datallowconn AND NOT datistemplate "
    "AND has_database_privilege(datname, 'CONNECT') ORDER BY datname LIMIT ?"
)
_IS_THERE: Final = "SELECT 1 WHERE to_regclass(?) IS NOT NULL"
_OWNER: Final = (
    "SELECT CASE WHEN to_regclass('skerry_owner') IS NULL THEN false "
    "ELSE has_table_privilege('skerry_owner', 'SELECT') END"
)


async def claim(database: PostgreSQLDatabase, url: str) -> None:
    """Put the owner's name into the database, so that a second service cannot share it by mistake.

    Raises `WrongOwner` when another name is in it, or when the same credentials open the database of another service: then
    nothing but good will keeps the two apart.
    """
    async with database.transaction() as tx:
        await tx.lock("skerry_owner")
        if not await tx.fetch_all(_IS_THERE, ("skerry_owner",)):  # a role that may create nothing can still start
            try:
                await tx.execute("CREATE TABLE skerry_owner (name TEXT NOT NULL)")
            except asyncpg.InsufficientPrivilegeError as error:
                raise StoreError(
                    f"{database.where} is empty, and the role of {database.owner!r} may not create tables: run "
                    f"`skerry db migrate {database.owner}` as one that may"
                ) from error
        row = await tx.fetch_one("SELECT name FROM skerry_owner")
        if row is None:
            await tx.execute("INSERT INTO skerry_owner VALUES (?)", (database.owner,))
    if row is not None and row[0] != database.owner:
        raise WrongOwner(
            f"{database.where} belongs to the service {row[0]!r}; give {database.owner!r} a database of its own"
        )
    for name in [row[0] for row in await database.fetch_all(_OTHERS, (MAX_DATABASES,))]:
        owner = await _owner_of(url, name)
        if owner is not None and owner != database.owner:
            raise WrongOwner(
                f"the credentials of {database.owner!r} also open {name!r}, the database of the service {owner!r}; "
                "give each service a role of its own: skerry db create"
            )


async def _owner_of(url: str, name: str) -> str | None:
    """The service whose tables the credentials of `url` open in another database; None when they do not."""
    parts = urlsplit(url)
    connection: Any = None
    try:
        connection = await asyncpg.connect(urlunsplit(parts._replace(path=f"/{name}")), timeout=TIMEOUT)
        if await connection.fetchval(_OWNER):
            owner: str | None = await connection.fetchval("SELECT name FROM skerry_owner")
            return owner
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        return None
    finally:
        if connection is not None:
            connection.terminate()
    return None
