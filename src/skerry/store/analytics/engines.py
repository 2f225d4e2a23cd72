"""Engines by URL."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from skerry.errors import ConfigurationError
from skerry.store.analytics.columnar import ClickHouse
from skerry.store.analytics.port import Analytics
from skerry.store.url import resolve

TIMEOUT: Final = 5.0
"""Seconds for one call. The handler that appends holds its transaction meanwhile, and others wait up to 10 for theirs."""
LONGEST: Final = 3600.0


def connect(url: str, *, owner: str, data: Path) -> Analytics:
    """The analytics engine behind `url`, for the service `owner`.

    `chdb:///FOLDER/` is ClickHouse inside this process, on a folder below `data` (`skerry[chdb]`);
    `clickhouse://USER:PASSWORD@HOST:8123/DATABASE` is a server (`skerry[clickhouse]`), `clickhouses:` one with TLS. Both take
    `?timeout=5`, the seconds for one call. Opens nothing. Raises `ConfigurationError` for another address, without repeating
    it, and `MissingExtra`.
    """
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        raise ConfigurationError("the analytics address cannot be read") from None
    if parts.scheme == "chdb":
        from skerry.store.analytics.chdb import EmbeddedLink

        if unknown := sorted(options.keys() - {"timeout"}):
            raise ConfigurationError(f"a chdb address has no option {unknown[0][:40]!r}: use timeout")
        folder = resolve(f"sqlite:{url.partition('?')[0].removeprefix('chdb:')}".rstrip("/"), data)
        return ClickHouse(EmbeddedLink(folder, timeout=_timeout(options)), owner=owner)
    if parts.scheme in {"clickhouse", "clickhouses"}:
        from skerry.store.analytics.clickhouse import ServerAddress, ServerLink

        address = ServerAddress.of(parts)
        return ClickHouse(ServerLink(address, owner=owner, timeout=_timeout(options)), owner=owner)
    raise ConfigurationError("no analytics engine for this address: use chdb:///FOLDER/ or clickhouse://...")


def _timeout(options: dict[str, str]) -> float:
    text = options.get("timeout")
    try:
        seconds = TIMEOUT if text is None else float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST:
        raise ConfigurationError(f"timeout in an analytics address: use a number of seconds, at most {LONGEST:g}")
    return seconds
