"""From sums of processes to the counts of an interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from skerry.gateway.strangler.report import Side
from skerry.gateway.strangler.tally import Arm, RouteTally
from skerry.gateway.strangler.weighing import Counts, Times

_NOTHING = RouteTally()


def counts(now: Mapping[str, RouteTally], before: Mapping[str, RouteTally]) -> Counts:
    """What came to the sums of each process since `before`; all of it for a process that was not there."""
    pairs = [(told, before.get(name, _NOTHING)) for name, told in now.items()]
    return Counts(
        control=_side((a.control, b.control) for a, b in pairs),
        candidate=_side((a.candidate, b.candidate) for a, b in pairs),
        control_times=_times((a.control, b.control) for a, b in pairs),
        candidate_times=_times((a.candidate, b.candidate) for a, b in pairs),
        pairs=sum(_more(a.compared.pairs, b.compared.pairs) for a, b in pairs),
        differing=sum(_more(a.compared.differing, b.compared.differing) for a, b in pairs),
        control_pairs=sum(_more(a.compared.control_pairs, b.compared.control_pairs) for a, b in pairs),
        control_differing=sum(_more(a.compared.control_differing, b.compared.control_differing) for a, b in pairs),
        unfit=sum(_more(a.compared.unfit, b.compared.unfit) for a, b in pairs),
        shed=sum(_more(a.compared.shed, b.compared.shed) for a, b in pairs),
        unread=sum(_more(a.compared.unread, b.compared.unread) for a, b in pairs),
        paths=_paths((a.compared.paths, b.compared.paths) for a, b in pairs),
    )


def nothing(found: Counts) -> bool:
    """Whether nobody asked anything."""
    return not (found.control.requests or found.candidate.requests or found.pairs)


def _more(now: int, before: int) -> int:
    return max(0, now - before)


def _side(pairs: Iterable[tuple[Arm, Arm]]) -> Side:
    requests = errors = refused = 0
    for now, before in pairs:
        requests += _more(now.requests, before.requests)
        errors += _more(now.errors, before.errors)
        refused += _more(now.refused, before.refused)
    return Side(requests, errors, refused, 0)


def _times(pairs: Iterable[tuple[Arm, Arm]]) -> Times:
    found = [0] * len(_NOTHING.control.times)
    for now, before in pairs:
        for at, (a, b) in enumerate(zip(now.times, before.times, strict=True)):
            found[at] += _more(a, b)
    return tuple(found)


def _paths(pairs: Iterable[tuple[dict[str, list[int]], dict[str, list[int]]]]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for now, before in pairs:
        for path, (candidate, control) in now.items():
            had = before.get(path, (0, 0))
            more = (_more(candidate, had[0]), _more(control, had[1]))
            if any(more):
                together = found.get(path, (0, 0))
                found[path] = (together[0] + more[0], together[1] + more[1])
    return found
