"""Variables in Compose files: `${NAME}`, `${NAME:-default}`, and the files that give them values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_VARIABLE: Final = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<bare>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<how>:?[-?+])(?P<rest>[^{}]*))?\})"
)
MAX_LINES: Final = 5_000
_ROUNDS: Final = 5
"""A default may hold a variable itself: `${A:-${B:-c}}`."""


def expand(text: str, values: Mapping[str, str]) -> str:
    """`text` with its variables replaced; one without a value stays as `${NAME}`, so that equal unknowns stay equal."""

    def value(found: re.Match[str]) -> str:
        if found["escaped"]:
            return "\0"
        name = found["bare"] or found["name"]
        known, how, rest = values.get(name), found["how"] or "", found["rest"] or ""
        if how in {":+", "+"}:
            return rest if known else ""
        if how == ":-" and not known:
            return rest
        if how == "-" and known is None:
            return rest
        return f"\1{name}\2" if known is None else known

    if "$" not in text:
        return text
    for _ in range(_ROUNDS):
        after = _VARIABLE.sub(value, text)
        if after == text:
            break
        text = after
    return text.replace("\0", "$").replace("\1", "${").replace("\2", "}")


def unresolved(text: str) -> tuple[str, ...]:
    """The variables that are left in an expanded text."""
    return tuple(found["bare"] or found["name"] for found in _VARIABLE.finditer(text) if not found["escaped"])


def env_file(text: str) -> dict[str, tuple[str, int]]:
    """`NAME=value` lines with the line of each; quotes and `export` are taken off, later lines see earlier ones."""
    found: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(text.splitlines()[:MAX_LINES], 1):
        bare = line.strip().removeprefix("export ").lstrip()
        name, equals, value = bare.partition("=")
        name = name.strip()
        if not equals or bare.startswith("#") or not re.fullmatch(r"[A-Za-z_][\w.]*", name):
            continue
        value = value.strip()
        if value[:1] in {'"', "'"} and value[-1:] == value[:1] and len(value) > 1:
            quote, value = value[0], value[1:-1]
        else:
            quote, value = "", re.split(r"\s+#", value, maxsplit=1)[0]
        if quote != "'":
            value = expand(value, {each: known for each, (known, _) in found.items()})
        found[name] = (value, number)
    return found
