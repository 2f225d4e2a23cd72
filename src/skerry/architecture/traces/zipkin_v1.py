"""Zipkin's JSON, version 1: what a span means stands in annotations, and both sides of a call may stand in one span.

Source: the Zipkin API's description of version 1, and how Zipkin itself makes version 2 of it: `cs`/`cr` and `sr`/`ss` are
begin and end of the client's and the server's side, `ms` and `mr` a message that was sent and taken; `sa`, `ca` and `ma` tell the
other end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from skerry.architecture.traces.fields import Malformed, listed, mapping, number

_MAX_ANNOTATIONS: Final = 64
_MAX_TAGS: Final = 128
_SIDES: Final = (
    ("CLIENT", "cs", "cr", "sa"),
    ("SERVER", "sr", "ss", "ca"),
    ("PRODUCER", "ms", "", "ma"),
    ("CONSUMER", "mr", "", "ma"),
)
_ENDS: Final = frozenset({"sa", "ca", "ma"})
_MARKS: Final = frozenset({"cs", "cr", "sr", "ss", "ms", "mr"})


def is_first(given: Mapping[str, object]) -> bool:
    """Whether a span is of version 1: it has no kind, for its annotations tell."""
    if "binaryAnnotations" in given:
        return True
    said = (mapping(each).get("value") for each in listed(given.get("annotations"))[:_MAX_ANNOTATIONS])
    return "kind" not in given and any(isinstance(each, str) and each in _MARKS for each in said)


def second(given: Mapping[str, object]) -> Iterator[dict[str, Any]]:
    """One span of version 2 for each side that is in it. Raises `Malformed`."""
    marks: dict[str, Mapping[str, Any]] = {}
    for each in map(mapping, listed(given.get("annotations"))[:_MAX_ANNOTATIONS]):
        if isinstance(each.get("value"), str):
            marks.setdefault(each["value"], each)
    binary = [mapping(each) for each in listed(given.get("binaryAnnotations"))[:_MAX_TAGS]]
    ends = {str(each["key"]): mapping(each.get("endpoint")) for each in binary if each.get("key") in _ENDS}
    sides = [side for side in _SIDES if side[1] in marks or side[2] in marks]
    if not sides:
        # a side that only names the other end
        sides = [side for side in _SIDES[:2] if side[3] in ends] or [("", "", "", "")]
    for kind, begin, end, far in sides:
        local = mapping(marks.get(begin, marks.get(end, {})).get("endpoint")) or _anywhere(marks, binary)
        start, length = _times(given, marks.get(begin), marks.get(end), alone=len(sides) == 1 or kind == "CLIENT")
        found = {name: given[name] for name in ("traceId", "id", "parentId", "name") if name in given}
        found |= {"timestamp": start, "duration": length, "localEndpoint": local, "remoteEndpoint": ends.get(far, {})}
        tags = _tags(binary, local, alone=len(sides) == 1)
        yield {**found, "tags": tags, **({"kind": kind} if kind else {})}


def _anywhere(marks: Mapping[str, Mapping[str, Any]], binary: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The endpoint of whatever else the span says."""
    said = (*marks.values(), *(each for each in binary if each.get("key") not in _ENDS))
    return next((found for each in said if (found := mapping(each.get("endpoint")))), {})


def _times(
    given: Mapping[str, object], begin: Mapping[str, Any] | None, end: Mapping[str, Any] | None, *, alone: bool
) -> tuple[float, float]:
    """Start and length: those of the span where they are this side's, else what the annotations say."""
    first = number(begin["timestamp"], "an annotation") if begin is not None and "timestamp" in begin else None
    last = number(end["timestamp"], "an annotation") if end is not None and "timestamp" in end else None
    if alone and given.get("timestamp"):
        first = number(given["timestamp"], "timestamp")
        if given.get("duration"):
            return first, number(given["duration"], "duration")
    if first is None and last is None:
        raise Malformed("timestamp of a span is missing")
    start = first if first is not None else last or 0.0
    return start, max((last or start) - start, 0.0)


def _tags(binary: list[Mapping[str, Any]], local: Mapping[str, Any], *, alone: bool) -> dict[str, object]:
    """Of a span with both sides, what the endpoint says is this one's."""
    found: dict[str, object] = {}
    for each in binary:
        key, value = each.get("key"), each.get("value")
        theirs = mapping(each.get("endpoint")).get("serviceName")
        ours = alone or theirs in {None, "", local.get("serviceName")}
        if isinstance(key, str) and key not in _ENDS and ours and isinstance(value, str | int | float | bool):
            found[key] = str(value)
    return found
