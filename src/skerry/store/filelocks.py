"""Roles in the embedded engine: exclusive locks on files beside the database, one file a role.

The operating system keeps them, so a role ends with its process, however that ends, and a stopped process keeps it: there are
never two holders.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from skerry.errors import StoreError

if TYPE_CHECKING:
    from skerry.store.sqlite import SQLiteDatabase, SQLiteTransaction


class LockedRoles:
    """See `Roles`: what is held is never lost while the process lives, so there is nothing to renew or to check."""

    def __init__(self, database: SQLiteDatabase) -> None:
        self.held: dict[str, int] = {}
        self._database = database

    async def look(self, roles: Iterable[str]) -> set[str]:
        """See `Roles.look`. Who only looks shares the lock for that moment; who takes it then tries again."""
        return {role for role in roles if role in self.held or is_locked(lock_file(self._database.path, role))}

    async def take(self, roles: Iterable[str]) -> None:
        """See `Roles.take`."""
        for role in roles:
            descriptor = opened(lock_file(self._database.path, role))
            try:
                locked = lock(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            if locked:
                self.held[role] = descriptor
            else:
                os.close(descriptor)

    async def give_back(self, roles: Iterable[str]) -> None:
        """See `Roles.give_back`."""
        for role in roles:
            os.close(self.held.pop(role))

    def check(self) -> None:
        """The locks are ours."""

    def transaction(self, _roles: Iterable[str]) -> AbstractAsyncContextManager[SQLiteTransaction]:
        """See `Roles.transaction`: the locks are ours."""
        return self._database.transaction()


def lock_file(database: Path, role: str) -> str:
    """Where the lock of a role is."""
    return f"{database}.{quote(role, safe='')}.lock"


def opened(path: str) -> int:
    """The descriptor of a lock file, which is made when it is not there. Raises `StoreError`."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error


def lock(descriptor: int, how: int = fcntl.LOCK_EX) -> bool:
    """Lock it, unless another process has it; whether it is locked now."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StoreError(f"this file system has no locks: {error.strerror}") from error
    return True


def is_locked(path: str) -> bool:
    """Whether somebody has locked it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    try:
        return not lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)
