"""Two answers to the same request, and where they differ: by status, header, and JSON path of the body.

What is alike: numbers by their exact value (1, 1.0 and 1e0 are one number, 0 and -0 too; nothing is rounded), text by its
characters, arrays in their order, objects whatever their order. Null is a value: a key with null and no such key differ. A body
is JSON only when both readers of it must find the same in it: by RFC 8259, in UTF-8, within 64 levels, no name twice in an
object, no NaN. Any other body is bytes. Of arrays of different lengths only that is told, of reordered ones the order.

All of it takes time in proportion to the bodies, whatever is in them; who asks bounds their size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

from skerry.gateway import strict_json
from skerry.gateway.strangler import paths
from skerry.gateway.strangler.normalising import IGNORED, Moment, Rules, key
from skerry.gateway.strangler.redacting import plain

Kind = Literal["status", "header", "missing", "extra", "type", "value", "length", "order", "body"]
STATUS: Final = "status"
BODY: Final = "body"
HEADER: Final = "header "
"""How the path of a header begins; no JSON path does."""
MAX_DIFFERENCES: Final = 100
"""Places that are told one by one of a pair."""
MAX_ORDERED: Final = 2_000
"""Values that are looked at to tell a new order from new values; beyond them each place counts."""
MAX_TOLD: Final = 10_000
"""Values that differ, counted one by one: what differs everywhere is not told more exactly by more of them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered. Names of headers are lower case; the body is as it was before any content coding."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Difference:
    """`path` is by which it is counted: `status`, `header NAME`, `body`, or a JSON path with `[*]` for places in arrays.

    `place` is the same exactly. `control` and `candidate` are values of JSON after the rules were applied, None where there is
    none; of `length` both lengths, of `body` both numbers of bytes. `steps` leads to them.
    """

    path: str
    kind: Kind
    place: str
    control: Any = None
    candidate: Any = None
    steps: tuple[str | int, ...] = ()


_TYPES: Final = {
    type(None): "null",
    bool: "boolean",
    str: "string",
    dict: "object",
    list: "array",
    int: "number",
    Decimal: "number",
    Moment: "moment",
    type(IGNORED): "ignored",
}
_Trail = tuple["_Trail | None", str | int]
"""A place, from its end: what is above it, and the last step."""


def compare(control: Answer, candidate: Answer, rules: Rules) -> tuple[Difference, ...]:
    """Where `candidate` differs from `control`, each counted path once, at its first place. Nothing when they are alike."""
    if control.status != candidate.status:
        return (Difference(STATUS, "status", STATUS, control.status, candidate.status),)
    found = list(_headers(control, candidate, rules))
    if control.body != candidate.body:
        found += _bodies(control, candidate, rules)
    return tuple(found[:MAX_DIFFERENCES])


def _headers(control: Answer, candidate: Answer, rules: Rules) -> Iterable[Difference]:
    for name in rules.headers:
        ours, theirs = _header(control, name), _header(candidate, name)
        if ours != theirs:
            where = f"{HEADER}{name.decode('latin-1')}"
            kind: Kind = "missing" if theirs is None else "extra" if ours is None else "header"
            yield Difference(where, kind, where, ours, theirs)


def _header(answer: Answer, name: bytes) -> str | None:
    values = [value.strip().decode("latin-1") for key, value in answer.headers if key == name]
    if not values:
        return None
    text = ", ".join(values)
    return _media_type(text) if name == b"content-type" else text


def _media_type(text: str) -> str:
    """Types and their parameters have no case and no spaces; of JSON a charset says nothing (RFC 8259, section 11)."""
    kind, *more = (part.strip().lower() for part in text.split(";"))
    if kind == "application/json" or kind.endswith("+json"):
        more = [part for part in more if not part.startswith("charset=")]
    return ";".join([kind, *sorted(part for part in more if part)])


def _bodies(control: Answer, candidate: Answer, rules: Rules) -> list[Difference]:
    ours, theirs = _json(control), _json(candidate)
    if ours is None and theirs is None:
        place = f"{BODY} from byte {_alike(control.body, candidate.body)} on"
        return [Difference(BODY, "body", place, len(control.body), len(candidate.body))]
    if ours is None or theirs is None:
        kinds = ["no JSON" if each is None else "JSON" for each in (ours, theirs)]
        return [Difference("$", "type", "$", kinds[0], kinds[1])]
    return _Walk().differences(rules.applied(ours[0]), rules.applied(theirs[0]))


def _alike(control: bytes, candidate: bytes) -> int:
    """How many bytes both begin with."""
    low, high = 0, min(len(control), len(candidate))
    while low < high:
        middle = (low + high + 1) // 2
        if control[low:middle] == candidate[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _json(answer: Answer) -> tuple[Any] | None:
    """What the body says, in a tuple, for null is a value as well; None when it is no JSON."""
    told = _header(answer, b"content-type") or ""
    if "json" not in told and answer.body.lstrip()[:1] not in {b"{", b"["}:
        return None
    try:
        return (strict_json.loads(answer.body, exact=True),)
    except ValueError:
        return None


class _Walk:
    """Goes through two documents beside each other, without recursion."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Kind], Difference] = {}
        self._left = MAX_ORDERED
        self._told = 0
        self._next: list[tuple[_Trail | None, Any, Any]] = []

    def differences(self, control: Any, candidate: Any) -> list[Difference]:
        self._next.append((None, control, candidate))
        while self._next and self._told < MAX_TOLD and len(self._found) < MAX_DIFFERENCES:
            self._look(*self._next.pop())
        return list(self._found.values())

    def _look(self, trail: _Trail | None, control: Any, candidate: Any) -> None:
        if control is IGNORED and candidate is IGNORED:
            return
        kind = _TYPES[type(control)]
        if kind != _TYPES[type(candidate)]:
            self._tell("type", trail, control, candidate)
        elif kind == "object":
            self._objects(trail, control, candidate)
        elif kind == "array":
            self._arrays(trail, control, candidate)
        elif kind == "moment":
            if not control.near(candidate):
                self._tell("value", trail, control.told, candidate.told)
        elif control != candidate:
            self._tell("value", trail, control, candidate)

    def _objects(self, trail: _Trail | None, control: dict[str, Any], candidate: dict[str, Any]) -> None:
        for name, value in candidate.items():
            if name not in control:
                self._tell("extra", (trail, name), None, value)
        both: list[tuple[_Trail, Any, Any]] = []
        for name, value in control.items():
            if name not in candidate:
                self._tell("missing", (trail, name), value, None)
            elif not _same(value, candidate[name]):
                both.append(((trail, name), value, candidate[name]))
        self._next.extend(reversed(both))

    def _arrays(self, trail: _Trail | None, control: list[Any], candidate: list[Any]) -> None:
        if len(control) != len(candidate):
            self._tell("length", trail, len(control), len(candidate))
            return
        pairs = enumerate(zip(control, candidate, strict=True))
        both: list[tuple[_Trail, Any, Any]] = [
            ((trail, place), ours, theirs) for place, (ours, theirs) in pairs if not _same(ours, theirs)
        ]
        if len(both) > 1 and self._reordered(both):
            self._tell("order", trail, control, candidate)
        else:
            self._next.extend(reversed(both))

    def _reordered(self, both: list[tuple[_Trail, Any, Any]]) -> bool:
        """Whether they are the same values in another order; not told once too much was looked at."""
        keys: tuple[list[str], list[str]] = ([], [])
        for _, *pair in both:
            for value, written in zip(pair, keys, strict=True):
                if self._left <= 0:
                    return False
                size = [0]
                written.append(key(value, size))
                self._left -= size[0]
        return sorted(keys[0]) == sorted(keys[1]) and keys[0] != keys[1]

    def _tell(self, kind: Kind, trail: _Trail | None, control: Any, candidate: Any) -> None:
        self._told += 1
        steps: list[str | int] = []
        at = trail
        while at is not None:
            steps.append(at[1])
            at = at[0]
        path = tuple(reversed(steps))
        known = (paths.counted(path), kind)
        if known not in self._found:
            shown = paths.counted(tuple(_shown(step) for step in path))
            self._found[known] = Difference(shown, kind, paths.written(path), control, candidate, path)


def _shown(step: str | int) -> paths.Step:
    """A step as it may be told: paths are in files and reports, so a key that looks secret is any key there."""
    return None if isinstance(step, str) and plain(step) != step else step


def _same(control: Any, candidate: Any) -> bool:
    """Whether two values are alike for sure, told at the speed of the interpreter's own comparison; False is no answer yet."""
    kind = type(control)
    if kind is not type(candidate) or control != candidate:
        return False
    # for Python true is 1, which is seen only inside
    return kind not in {dict, list} or repr(control) == repr(candidate)
