"""JSON values one after the other out of a text, so that a large list is never held as objects all at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

_SPACE: Final = re.compile(r"[\s,]*")
_DATA: Final = re.compile(r'"data"\s*:\s*\[')
_NEXT: Final = re.compile(r"\n[{\[]")
_DECODER: Final = json.JSONDecoder()
HEAD: Final = 4096
"""Characters at the beginning of an object in which its list `data` begins."""


class Broken(Exception):
    """The text is no JSON from `line` on."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


def values(text: str) -> Iterator[tuple[int, object]]:
    """The values of a text with the line at which each begins: elements of lists at the top, and of an object's list `data`.

    Raises `Broken` at the first that is no JSON; those before it have been given by then.
    """
    position = _skip(text, 0)
    counted, line = 0, 1
    lists = 0
    while position < len(text):
        line, counted = line + text.count("\n", counted, position), position
        letter = text[position]
        data = _DATA.search(text, position, position + HEAD) if letter == "{" and not lists else None
        if letter == "[" and lists < 2:
            lists += 1
            position = _skip(text, position + 1)
        elif letter == "]" and lists:
            lists -= 1
            position = _skip(text, position + 1)
            if not lists and position < len(text) and text[position] in '}"':
                # what follows a list `data` in its object tells of errors and sizes; another object may stand on a later line
                following = _NEXT.search(text, position)
                position = following.start() + 1 if following else len(text)
        elif data is not None and '"resourceSpans"' not in text[position : data.start()]:
            lists += 1
            position = _skip(text, data.end())
        else:
            value, position = _decoded(text, position, line)
            yield line, value
    if lists:
        raise Broken(line, "the text ends within a list")


def decoded(text: str) -> object:
    """One value that is all of a line. Raises `ValueError`."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("too deep") from None


def _decoded(text: str, position: int, line: int) -> tuple[object, int]:
    try:
        value, end = _DECODER.raw_decode(text, position)
    except json.JSONDecodeError as error:
        raise Broken(line + text.count("\n", position, error.pos), f"no JSON: {error.msg}") from None
    except RecursionError:
        raise Broken(line, "too deep") from None
    except ValueError:
        raise Broken(line, "a number of too many digits") from None
    return value, _skip(text, end)


def _skip(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position
