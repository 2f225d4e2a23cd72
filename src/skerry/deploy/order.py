"""In which order the processes of a system start."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from skerry.topology.reaching import reached


def waves(calls: Mapping[str, Collection[str]]) -> list[list[str]]:
    """What starts together, each wave when the one before is ready: nobody before those that it calls, by `calls`.

    Those that call each other in a circle start together. Names that are no keys of `calls` are passed over; the order within
    a wave is that of `calls`.
    """
    behind = {name: reached(name, calls) for name in calls}
    found: list[list[str]] = []
    waiting = dict.fromkeys(calls)
    while waiting:
        wave = [name for name in waiting if all(name in behind[other] for other in behind[name] if other in waiting)]
        found.append(wave)
        for name in wave:
            del waiting[name]
    return found
