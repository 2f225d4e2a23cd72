"""Database and event-log addresses. Three slashes are relative to the data folder, four are absolute."""

from __future__ import annotations

from pathlib import Path

from skerry.errors import ConfigurationError

SQLITE = "sqlite:///"


def resolve(url: str, data: Path) -> Path:
    """The path that a `sqlite:` URL stands for.

    >>> resolve("sqlite:///order.db", Path("/srv/shop"))
    PosixPath('/srv/shop/order.db')

    Raises `ConfigurationError` for another scheme, an empty path, or a relative path that leaves the data folder.
    """
    scheme = url.partition(":")[0]
    if scheme != "sqlite":
        raise ConfigurationError(f"no engine for {scheme!r} addresses here yet; use sqlite:///FILE")
    if not url.startswith(SQLITE) or not url.removeprefix(SQLITE).strip("/"):
        raise ConfigurationError("a sqlite address needs a path: sqlite:///FILE, or sqlite:////ABSOLUTE/FILE")
    path = url.removeprefix(SQLITE)
    if path.startswith("/"):
        return Path(path)
    if ".." in Path(path).parts:
        raise ConfigurationError(f"the path {path!r} leaves the data folder")
    return data / path
