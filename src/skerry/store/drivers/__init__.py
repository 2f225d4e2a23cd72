"""What users bring: one module for each library whose transactions are taken as they are.

A module here is imported only when an object of its library comes along, and imports that library itself. It has one
function, `find`: the adapter for an object, or `TypeError` when the library knows the object but it is no transaction.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any, Final

from skerry.store.drivers.adapter import Adapter

__all__ = ["LIBRARIES", "Adapter", "find"]

LIBRARIES: Final = ("sqlalchemy", "asyncpg", "psycopg", "aiosqlite", "sqlite3", "django")


def find(tx: object) -> Adapter | None:
    """The adapter for what the user holds, not looked at yet; None when none of these libraries made it."""
    library = _library(tx)
    if library is None:
        return None
    found: Adapter = import_module(f"{__name__}.{library}").find(tx)
    return found


def _library(tx: object) -> str | None:
    if isinstance(tx, ModuleType):  # django.db.transaction
        return _known(tx.__name__)
    if isinstance(tx, FunctionType):  # django.db.transaction.atomic
        return _known(tx.__module__)
    kind: Any = type(tx)
    return _library_of(kind)


@lru_cache(128)
def _library_of(kind: type[Any]) -> str | None:
    """By the names of the modules that made it and what it is derived from: users have sessions of their own."""
    return next((name for each in kind.__mro__ if (name := _known(each.__module__))), None)


def _known(module: str) -> str | None:
    root = module.partition(".")[0]
    return root if root in LIBRARIES else None
