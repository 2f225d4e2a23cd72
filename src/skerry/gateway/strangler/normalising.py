"""What is done to a document before it is compared: places that are not looked at, and values that count as alike."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final

from skerry.gateway.model import Normalise, Shadow
from skerry.gateway.strangler import paths
from skerry.gateway.strangler.paths import Node, follow

_FARTHEST: Final = 10**15
"""Seconds; a number beyond it is no moment."""
_LONGEST: Final = 64
"""Characters of a moment as text."""
_DIGITS: Final = Context(prec=1_000_000, rounding=ROUND_HALF_EVEN)


class _Ignored:
    """Stands for a value that is not looked at."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "IGNORED"


IGNORED: Final = _Ignored()
_DROP: Final = None
"""The mark of a path that is ignored; others are a `Normalise`."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as seconds, with how far another may be away, and the value that it was."""

    seconds: Decimal
    within: float
    told: Any

    def near(self, other: Moment) -> bool:
        """Whether both count as the same time."""
        return abs(self.seconds - other.seconds) <= Decimal(repr(self.within))


class Rules:
    """The rules of a `Shadow`, ready. Raises `ValueError` for a path that is none."""

    __slots__ = ("_root", "headers")

    def __init__(self, shadow: Shadow) -> None:
        self.headers: tuple[bytes, ...] = tuple(name.lower().encode("latin-1") for name in shadow.headers)
        self._root: Node[Normalise | None] = Node()
        for text in shadow.ignore:
            self._root.add(paths.parse(text), _DROP)
        for rule in shadow.normalise:
            self._root.add(paths.parse(rule.path), rule)

    def applied(self, document: Any) -> Any:
        """The document by the rules. What no rule is for is the same object; `IGNORED` stands where a value is not looked at."""
        return _applied(document, [self._root])


def _applied(value: Any, nodes: list[Node[Normalise | None]]) -> Any:
    # the depth of a document is bounded where it is read, so this cannot go deep
    if not nodes:
        return value
    rules: list[Normalise] = []
    for node in nodes:
        for mark in node.marks:
            if mark is _DROP:
                return IGNORED
            rules.append(mark)
    if isinstance(value, dict):
        inner = ((name, _applied(each, follow(nodes, name))) for name, each in value.items())
        value = {name: each for name, each in inner if each is not IGNORED}
    elif isinstance(value, list):
        value = [_applied(each, follow(nodes, place)) for place, each in enumerate(value)]
    for rule in rules:
        value = _by(rule, value)
    return value


def _by(rule: Normalise, value: Any) -> Any:
    """A value after one rule; one that the rule is not for stays as it is."""
    changed = value
    match rule.rule, value:
        case "round", Decimal():
            changed = _rounded(value, rule.digits)
        case "time", str() | int() | Decimal():
            changed = _moment(value, rule.within)
        case "unordered", list():
            changed = sorted(value, key=lambda each: key(each, [0], times=True))
        case "case", str():
            changed = value.casefold()
        case "space", str():
            changed = " ".join(value.split())
    return changed


def _rounded(value: Decimal, digits: int) -> Decimal:
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -digits and value.adjusted() < 1000:
        return value.quantize(Decimal(1).scaleb(-digits), context=_DIGITS)
    return value


def _moment(value: str | float | Decimal, within: float) -> Any:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return Moment(Decimal(value), within, value) if -_FARTHEST < value < _FARTHEST else value
    if len(value) > _LONGEST:
        return value
    try:
        told = datetime.fromisoformat(value)
        aware = told if told.tzinfo is not None else told.replace(tzinfo=UTC)
        return Moment(Decimal(repr(aware.timestamp())), within, value)
    except (ValueError, OverflowError):
        return value


def key(value: Any, size: list[int], *, times: bool = False) -> str:
    """A text that is the same for values that are alike, and only for them; `size` grows by how many values were looked at.

    Moments are one with each other, for how near they have to be is no matter of order; with `times` they sort, too.
    """
    size[0] += 1
    if isinstance(value, dict):
        return "{" + ",".join(f"{name!r}:{key(value[name], size, times=times)}" for name in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(key(each, size, times=times) for each in value) + "]"
    if isinstance(value, Moment):
        return f"t{value.seconds + _FARTHEST:040f}" if times else "t"
    number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    return _digits(value) if number else repr(value)


def _digits(value: Any) -> str:
    """A number by its value, however it is written."""
    if isinstance(value, int):
        whole = str(value)
        short = whole.rstrip("0")
        return f"{short}e{len(whole) - len(short)}" if short else "0e0"
    sign, digits, exponent = Decimal(value).as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    bare = text.rstrip("0")
    assert isinstance(exponent, int)
    return f"{'-' if sign and bare else ''}{bare or 0}e{exponent + len(text) - len(bare) if bare else 0}"
