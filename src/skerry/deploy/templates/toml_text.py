"""Adds to a skerry.toml as a person would: at its end, or inside one list. All that stands there, comments too, stays as it is.

What comes out is read again and compared with what was meant, so a file that is written in a way not foreseen here is left alone.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from skerry.errors import ConfigurationError

_TOKEN: Final = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|#[^\n]*|[\[\],]|\s+")
_GATEWAY: Final = re.compile(r"^[ \t]*\[[ \t]*gateway[ \t]*\][ \t]*(?:#[^\n]*)?$", re.MULTILINE)
_HEADER: Final = re.compile(r"^[ \t]*\[", re.MULTILINE)
_CALLS: Final = re.compile(r"^[ \t]*calls[ \t]*=[ \t]*\[", re.MULTILINE)


def add_tables(text: str, tables: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    """The text with further tables at its end, such as `("services", "stock")`; their values are texts and lists of texts.

    Raises `ConfigurationError` where that is not possible without a change of what is there.
    """
    wanted = _read(text)
    added = ""
    for (outer, name), values in tables.items():
        lines = "".join(f"{key} = {_value(value)}\n" for key, value in values.items())
        added += f"\n[{outer}.{name if re.fullmatch('[a-z0-9_-]+', name) else json.dumps(name)}]\n{lines}"
        wanted.setdefault(outer, {})[name] = dict(values)
    return _checked(text.rstrip("\n") + "\n" + added, wanted, added)


def add_call(text: str, service: str) -> str:
    """The text with `service` in the `calls` of `[gateway]`. Raises `ConfigurationError` as `add_tables` does."""
    wanted = _read(text)
    by_hand = f'calls = ["{service}"]\n'
    gateway = _GATEWAY.search(text)
    if gateway is None or "gateway" not in wanted:
        raise ConfigurationError("there is no table [gateway] for a route: a service without one needs no --data route")
    wanted["gateway"]["calls"] = [*wanted["gateway"].get("calls", []), service]
    following = _HEADER.search(text, gateway.end())
    calls = _CALLS.search(text, gateway.end(), following.start() if following else len(text))
    if calls is None:
        end = gateway.end()
        return _checked(f"{text[:end]}\n{by_hand.rstrip()}{text[end:]}", wanted, by_hand)
    return _checked(_in_list(text, calls.end(), f'"{service}"'), wanted, by_hand)


def _in_list(text: str, begin: int, element: str) -> str:
    """The text with another element in the list of texts whose first character is at `begin`."""
    at, last, comma = begin, begin, True
    while at < len(text) and (token := _TOKEN.match(text, at)):
        word = token[0]
        if word == "]":
            break
        if word == "," or word[0] in "\"'":
            last, comma = token.end(), word == ","
        at = token.end()
    close = at
    line = text.rfind("\n", begin, close)
    if line < 0 or text[line + 1 : close].strip():
        return f"{text[:last]}{', ' if not comma else ' ' if last > begin else ''}{element}{text[last:]}"
    indent = re.match(r"[ \t]*", text[text.find("\n", begin) + 1 :])
    separator = "" if comma else ","
    return f"{text[:last]}{separator}{text[last:line]}\n{indent[0] if indent else ''}{element},{text[line:]}"


def _value(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return "[" + ", ".join(map(_value, value)) + "]"


def _read(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"not a usable TOML file: {error}") from None


def _checked(text: str, wanted: dict[str, Any], by_hand: str) -> str:
    try:
        read = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        read = {}
    if read != wanted:
        raise ConfigurationError(
            f"this cannot be added to the file as it is written; add it yourself:\n{by_hand.strip()}"
        )
    return text
