"""SQL lives in files. A file holds named statements: each follows a line `-- name: THE_NAME`.

One file serves every engine. Where an engine needs other words, a second statement of the same name says for which:
`-- name: THE_NAME (postgresql)`. Placeholders are `?` everywhere, see `skerry.store.placeholders`.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final, Literal

from skerry.errors import ConfigurationError

Dialect = Literal["sqlite", "postgresql"]

_MARK: Final = "-- name:"
_NAME: Final = re.compile(r"([a-z0-9_]+)(?: \((postgresql)\))?")


class Statement(str):
    """One statement: as a string it is SQLite's, `on` gives it in the words of an engine."""

    __slots__ = ("postgresql",)
    postgresql: str

    def on(self, dialect: Dialect) -> str:
        """The statement for one engine."""
        return self.postgresql if dialect == "postgresql" else str(self)


def words(sql: str, dialect: Dialect) -> str:
    """What to send for `sql`, which may be a plain string: that one is the same on every engine."""
    return sql.on(dialect) if isinstance(sql, Statement) else sql


class Queries:
    """The named statements of one SQL file inside a package.

    >>> Queries("skerry.store", "sql/receipts.sql")["find"]  # doctest: +ELLIPSIS
    'SELECT ...'
    """

    def __init__(self, package: str, path: str) -> None:
        self._source = f"{package}/{path}"
        texts: dict[tuple[str, str], str] = {}
        heading, lines = "", list[str]()
        for line in [*files(package).joinpath(path).read_text("utf-8").splitlines(), _MARK]:
            if line.startswith(_MARK):
                if heading:
                    texts[self._key(heading)] = "\n".join(lines).strip().rstrip(";")
                heading, lines = line.removeprefix(_MARK).strip(), []
            elif not line.startswith("--"):
                lines.append(line)
        self._statements: dict[str, Statement] = {}
        for name in dict.fromkeys(name for name, _ in texts):
            own = texts.get((name, "postgresql"))
            statement = Statement(texts.get((name, ""), ""))
            statement.postgresql = str(statement) if own is None else own
            self._statements[name] = statement

    def __getitem__(self, name: str) -> Statement:
        try:
            return self._statements[name]
        except KeyError:
            raise KeyError(f"{self._source} has no statement {name!r}") from None

    def _key(self, heading: str) -> tuple[str, str]:
        match = _NAME.fullmatch(heading)
        if match is None:
            raise ConfigurationError(f"{self._source}: {heading!r} is no heading: -- name: NAME or NAME (postgresql)")
        return match[1], match[2] or ""
