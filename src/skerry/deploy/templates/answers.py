"""What is answered to a template's questions: known names, and texts that are safe wherever the template puts them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any, Final

from skerry.errors import ConfigurationError
from skerry.topology.tables import quoted, suggestion

MAX_DESCRIPTION: Final = 100
"""Characters: it stands on one line of code, of TOML and of a page."""

_ROUTE: Final = re.compile(r"(?:/[a-z0-9][a-z0-9._-]*)+")


def read_data(pairs: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """What `--data NAME=VALUE` says. Raises `ConfigurationError` for an unknown name, or one that stands twice."""
    data: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ConfigurationError(f"--data {quoted(pair)} is not NAME=VALUE")
        if name not in known:
            asked = ", ".join(known)
            raise ConfigurationError(
                f"--data {quoted(name)} answers no question{suggestion(name, known)}; there are {asked}"
            )
        if name in data:
            raise ConfigurationError(f"--data {quoted(name)} is there twice")
        data[name] = value
    return data


def check_description(text: str) -> str:
    """One sentence, without its full stop. Raises `ConfigurationError` when it would break what it is put into."""
    text = text.strip().rstrip(".")
    if not text or len(text) > MAX_DESCRIPTION:
        raise ConfigurationError(f"a description has 1 to {MAX_DESCRIPTION} characters, not {len(text)}")
    if not text.isprintable() or set(text) & set('"\\{}'):
        raise ConfigurationError('a description is one line without any of " \\ { }')
    return text


def check_port(port: Any) -> int:
    """A port. Raises `ConfigurationError`."""
    text = str(port)
    if not text.isascii() or not text.isdigit() or len(text) > 5 or int(text) > 65535:
        raise ConfigurationError(f"{quoted(text)} is no port: use a whole number from 0 to 65535, 0 for any free one")
    return int(text)


def check_route(path: str) -> str:
    """A path at the gateway, or nothing. Raises `ConfigurationError`."""
    if path and (not _ROUTE.fullmatch(path) or len(path) > 200):
        raise ConfigurationError(
            f"{quoted(path)} is no path for a route: use one like /api/stock, without / at its end"
        )
    return path
