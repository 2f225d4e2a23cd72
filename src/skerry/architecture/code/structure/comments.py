"""Lines that are code, and comments that allow a finding."""

from __future__ import annotations

import io
import re
import tokenize
from typing import Final

from skerry.architecture.code.facts import Allowed
from skerry.architecture.source import Place

_ALLOW: Final = re.compile(r"#\s*skerry:\s*allow\[([\w\s,*-]{1,200})\]\s*(.*)")
_MAX_REASON: Final = 300
"""Characters of a reason that are kept."""


def count(text: str) -> int:
    """Lines that are neither blank nor a comment."""
    return sum(1 for line in text.split("\n") if (bare := line.lstrip()) and bare[0] != "#")


def allowed(text: str, path: str) -> tuple[Allowed, ...]:
    """Every `# skerry: allow[rule] reason` that is a comment and not part of a text."""
    if "skerry:" not in text:
        return ()
    found: list[Allowed] = []
    first = 0
    waiting: list[tuple[int, re.Match[str]]] = []
    here: list[tuple[int, re.Match[str]]] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                match = _ALLOW.match(token.string)
                if match is not None:
                    (here if first else waiting).append((token.start[0], match))
            elif token.type == tokenize.NEWLINE:
                for line, match in waiting + here:
                    found += _each(path, line, match, (first, token.start[0]))
                waiting, here, first = [], [], 0
            elif token.type not in _SPACE and not first:
                first = token.start[0]
    except (tokenize.TokenError, SyntaxError, ValueError):
        pass
    for line, match in waiting + here:
        found += _each(path, line, match, (line, line + 1))
    return tuple(found)


_SPACE: Final = frozenset((tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER))


def _each(path: str, line: int, match: re.Match[str], lines: tuple[int, int]) -> list[Allowed]:
    reason = match[2].strip()[:_MAX_REASON]
    rules = [rule.strip() for rule in match[1].split(",")]
    return [Allowed(place=Place(path, line), rule=rule, reason=reason, lines=lines) for rule in rules if rule]
