"""What is the same for every driver: what an adapter is, how its rows are read, which dialects there are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from skerry.errors import ConfigurationError
from skerry.store.queries import Dialect, Queries

_log = logging.getLogger("skerry.store")

LOCK: Final = Queries("skerry.store.drivers", "lock.sql")["lock"]


class Adapter(Protocol):
    """A `Tx` or `SyncTx` over an object of the user's."""

    def demand_open(self) -> None:
        """Raise `NoTransaction` unless the user's transaction is open and can still be written in."""
        ...


class Row(tuple[Any, ...]):  # noqa: SLOT001 - a tuple has no room for them
    """One row, readable by position and by name, whatever the user set the connection to return.

    >>> Row.of(["id", "key"], [1, "a"])["key"]
    'a'
    """

    names: Sequence[str]

    @classmethod
    def of(cls, names: Sequence[str], values: Iterable[Any]) -> Row:
        """The values, under the names of their columns."""
        row = cls(values)
        row.names = names
        return row

    def __getitem__(self, at: Any) -> Any:
        if not isinstance(at, str):
            return super().__getitem__(at)
        try:
            return super().__getitem__(self.names.index(at))
        except ValueError:
            raise KeyError(at) from None


def rows(names: Iterable[str], values: Iterable[Iterable[Any]]) -> list[Row]:
    """All rows of a result."""
    columns = tuple(names)
    return [Row.of(columns, each) for each in values]


def supported(dialect: str, where: str) -> Dialect:
    """The dialect, if skerry's tables can live there. Raises `ConfigurationError` otherwise."""
    if dialect == "sqlite":
        return "sqlite"
    if dialect == "postgresql":
        return "postgresql"
    raise ConfigurationError(f"{where} speaks {dialect!r}; skerry's tables live in 'sqlite' or 'postgresql'")


def call(callback: Callable[[], None]) -> None:
    """Run what waited for a commit. The commit stands, so the user must not take a failure here for one of it."""
    try:
        callback()
    except Exception:  # whatever it is, see above
        _log.exception("a callback after a commit failed")
