"""SQL lives in files. A file holds named statements: each follows a line `-- name: THE_NAME`."""

from __future__ import annotations

from importlib.resources import files

_MARK = "-- name:"


class Queries:
    """The named statements of one SQL file inside a package.

    >>> Queries("skerry.store", "sql/sqlite/receipts.sql")["find"]  # doctest: +ELLIPSIS
    'SELECT ...'
    """

    def __init__(self, package: str, path: str) -> None:
        self._source = f"{package}/{path}"
        self._statements: dict[str, str] = {}
        name = ""
        lines: list[str] = []
        text = files(package).joinpath(path).read_text("utf-8")
        for line in [*text.splitlines(), _MARK]:
            if line.startswith(_MARK):
                if name:
                    self._statements[name] = "\n".join(lines).strip().rstrip(";")
                name, lines = line.removeprefix(_MARK).strip(), []
            elif not line.startswith("--"):
                lines.append(line)

    def __getitem__(self, name: str) -> str:
        try:
            return self._statements[name]
        except KeyError:
            raise KeyError(f"{self._source} has no statement {name!r}") from None
