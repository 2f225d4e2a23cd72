"""Database and event-log addresses. Three slashes are relative to the data folder, four are absolute."""

from __future__ import annotations

import re
from pathlib import Path

from skerry.errors import ConfigurationError

SQLITE = "sqlite:///"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,20}")
"""What may be repeated of an address in an error: the rest can hold a password."""


def resolve(url: str, data: Path) -> Path:
    """The path that a `sqlite:` URL stands for.

    >>> resolve("sqlite:///order.db", Path("/srv/shop"))
    PosixPath('/srv/shop/order.db')

    Raises `ConfigurationError` for another scheme, an empty path, or a relative path that leaves the data folder.
    """
    scheme, colon, _ = url.partition(":")
    if scheme != "sqlite":
        what = f"{scheme!r} addresses" if colon and _SCHEME.fullmatch(scheme) else "an address without a scheme"
        raise ConfigurationError(f"no engine for {what} here; use sqlite:///FILE or postgresql://...")
    if not url.startswith(SQLITE) or not url.removeprefix(SQLITE).strip("/"):
        raise ConfigurationError("a sqlite address needs a path: sqlite:///FILE, or sqlite:////ABSOLUTE/FILE")
    path = url.removeprefix(SQLITE)
    if path.startswith("/"):
        return Path(path)
    if ".." in Path(path).parts:
        raise ConfigurationError(f"the path {path!r} leaves the data folder")
    return data / path
