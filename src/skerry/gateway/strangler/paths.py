"""JSON paths: where a value stands in a document, and rules that are for many such places.

A small and strict part of RFC 9535: `$` is the whole, then `.name` or `['any name']`, `[0]`, and `*` for any key or place, as
`.*` or `[*]`. No slices, filters or descendants: a rule has to be read at a glance.
"""

from __future__ import annotations

import re
from typing import Final

Step = str | int | None
"""A key, a place in an array, or None: any of them."""
Path = tuple[Step, ...]
MAX_LENGTH: Final = 500
MAX_STEPS: Final = 32
SYNTAX: Final = r"\$(?:\.(?:[A-Za-z_][A-Za-z0-9_-]*|\*)|\[(?:[0-9]{1,6}|\*|'(?:[^'\\\x00-\x1f]|\\['\\])*')\])*"
"""What a path looks like, as a regular expression."""
HINT: Final = "a JSON path such as $.lines[*].price or $['a key'][0]"
_STEP: Final = re.compile(
    r"\.(?P<name>[A-Za-z_][A-Za-z0-9_-]*)|(?P<any>\.\*|\[\*\])|\[(?P<place>[0-9]{1,6})\]"
    r"|\['(?P<quoted>(?:[^'\\\x00-\x1f]|\\['\\])*)'\]"
)
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def parse(text: str) -> Path:
    """The steps of a path. Raises `ValueError` that says what is wrong, and at which character."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a JSON path has at most {MAX_LENGTH} characters")
    if not text.startswith("$"):
        raise ValueError(f"{text[:80]!r} is not a JSON path: it has to begin with $")
    steps: list[Step] = []
    at = 1
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            raise ValueError(f"{text[:80]!r} is not a JSON path from character {at + 1} on: write {HINT}")
        if len(steps) == MAX_STEPS:
            raise ValueError(f"a JSON path has at most {MAX_STEPS} steps")
        steps.append(_step(found))
        at = found.end()
    return tuple(steps)


def _step(found: re.Match[str]) -> Step:
    if found["any"]:
        return None
    if found["place"]:
        return int(found["place"])
    if found["name"]:
        return found["name"]
    return re.sub(r"\\(.)", r"\1", found["quoted"])


def written(steps: Path) -> str:
    """A path as text, which `parse` reads: each place in an array as it is."""
    return "$" + "".join(map(_written, steps))


def counted(steps: Path) -> str:
    """A path by which differences are counted: all places of an array are one, `[*]`."""
    return "$" + "".join("[*]" if isinstance(step, int) else _written(step) for step in steps)


def _written(step: Step) -> str:
    if step is None:
        return ".*"
    if isinstance(step, int):
        return f"[{step}]"
    if _PLAIN.fullmatch(step):
        return f".{step}"
    # what a stranger may have put into a key does not get out of its quotes, nor out of its line
    quoted = re.sub(r"[\\']", r"\\\g<0>", re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", "?", step))
    return f"['{quoted}']"
