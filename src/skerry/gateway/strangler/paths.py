"""JSON paths: where a value stands in a document, and rules that are for many such places.

A small and strict part of RFC 9535: `$` is the whole, then `.name` or `['any name']`, `[0]`, and `*` for any key or place, as
`.*` or `[*]`. No slices, filters or descendants: a rule has to be read at a glance.
"""

from __future__ import annotations

import re
from typing import Final, Generic, TypeVar

T = TypeVar("T")
Step = str | int | None
"""A key, a place in an array, or None: any of them."""
Path = tuple[Step, ...]
MAX_LENGTH: Final = 500
MAX_STEPS: Final = 32
MAX_KEY: Final = 64
"""Characters; what is longer is no name of a field."""
MAX_COUNTED: Final = 250
"""Characters of a path by which differences are counted: there are many of them, and they are written often."""
SYNTAX: Final = r"\$(?:\.(?:[A-Za-z_][A-Za-z0-9_-]*|\*)|\[(?:[0-9]{1,6}|\*|'(?:[^'\\\x00-\x1f]|\\['\\])*')\])*"
"""What a path looks like, as a regular expression."""
HINT: Final = "a JSON path such as $.lines[*].price or $['a key'][0]"
_STEP: Final = re.compile(
    r"\.(?P<name>[A-Za-z_][A-Za-z0-9_-]*)|(?P<any>\.\*|\[\*\])|\[(?P<place>[0-9]{1,6})\]"
    r"|\['(?P<quoted>(?:[^'\\\x00-\x1f]|\\['\\])*)'\]"
)
_ID: Final = re.compile(
    r"[0-9]+|[^@]+@[^@]+|[A-Za-z]*[_-]?[0-9A-Fa-f-]{12,}|.*[0-9]{6,}.*|(?=.*[0-9])(?=.*[A-Z])(?=.*[a-z]).{20,}",
    re.DOTALL,
)
"""Keys that stand for one of many things: there would be no end of them, and some are nobody else's business."""
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
    """A path by which differences are counted: all places of an array are one, `[*]`, and so are keys that are ids, `.*`.

    What lies too deep counts with what is above it.
    """
    text = "$"
    for step in steps:
        more = _counted(step)
        if len(text) + len(more) > MAX_COUNTED:
            break
        text += more
    return text


def _counted(step: Step) -> str:
    if isinstance(step, int):
        return "[*]"
    return ".*" if step is None or len(step) > MAX_KEY or _ID.fullmatch(step) else _written(step)


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


class Node(Generic[T]):
    """Rules by path, to be followed step by step beside a document: what is at a place is in `marks` of the nodes that fit it."""

    __slots__ = ("any", "marks", "named")

    def __init__(self) -> None:
        self.any: Node[T] | None = None
        self.marks: list[T] = []
        self.named: dict[str | int, Node[T]] = {}

    def add(self, path: Path, mark: T) -> None:
        """Have a rule at a path."""
        node = self
        for step in path:
            if step is None:
                node.any = node.any or Node()
                node = node.any
            else:
                node = node.named.setdefault(step, Node())
        node.marks.append(mark)


def follow(nodes: list[Node[T]], step: str | int) -> list[Node[T]]:
    """The nodes that fit one step further down; none, when no rule is for what lies there or below."""
    found = [node.named[step] for node in nodes if step in node.named]
    found += [node.any for node in nodes if node.any is not None]
    return found
