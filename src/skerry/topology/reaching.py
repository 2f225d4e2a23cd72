"""Who stands behind whom, along calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def reached(start: str, calls: Mapping[str, Iterable[str]]) -> set[str]:
    """Everybody that `start` calls, and whom these call, and so on, each visited once; `start` itself only in a circle."""
    found: set[str] = set()
    ahead = [start]
    while ahead:
        for name in calls.get(ahead.pop(), ()):
            if name not in found:
                found.add(name)
                ahead.append(name)
    return found
