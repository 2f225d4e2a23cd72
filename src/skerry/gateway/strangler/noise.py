"""What counts against a candidate: not where the control differs from itself as often (Diffy's idea, Twitter 2015).

Each compared request gives two pairs: control and candidate, control and control. If the candidate is as good, a path differs
as often in the one kind as in the other. So a path is noise once it differed between control and control, until it differs
between control and candidate clearly more often than that. Both kinds of pairs are judged by the same paths: whoever decides
can take the second for what chance does to the first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, Literal

from skerry.gateway.strangler.tally import MAX_PATHS, Compared

Verdict = Literal["alike", "noisy", "differing"]
CLEARLY: Final = 4.0
"""Standard deviations. It is looked at again with every pair, so it has to be far."""


class Noise:
    """Judges the pairs of one ramp in one process, and adds them to `sums`. Not for several threads.

    What it learns is of its own pairs: a candidate is not judged by what another one did before it.
    """

    def __init__(self, sums: Compared) -> None:
        self.sums: Compared = sums
        self._pairs = self._control_pairs = 0
        self._known: dict[str, list[int]] = {}

    def judge(self, candidate: Iterable[str], control: Iterable[str] | None) -> Verdict:
        """One request: the paths at which the candidate differed from the control, and the control from itself.

        `control` None: it was not asked again.
        """
        against, own = frozenset(candidate), None if control is None else frozenset(control)
        sums = self.sums
        if own is not None:
            sums.control_pairs += 1
            self._control_pairs += 1
            sums.control_differing += any(not self.noisy(path) for path in own)
            self._count(own, 1)
        sums.pairs += 1
        self._pairs += 1
        self._count(against, 0)
        # the control's own differences come first: what it differs in at this very request is noise already
        verdict: Verdict = "alike"
        if against:
            verdict = "noisy" if all(self.noisy(path) for path in against) else "differing"
        sums.noisy += verdict == "noisy"
        sums.differing += verdict == "differing"
        return verdict

    def noisy(self, path: str) -> bool:
        """Whether a difference there says nothing now."""
        counts = self._known.get(path)
        if counts is None or counts[1] == 0:
            return False
        both = counts[0] + counts[1]
        share = self._pairs / (self._pairs + self._control_pairs)
        expected = both * share
        return counts[0] <= expected + CLEARLY * math.sqrt(both * share * (1 - share))

    def _count(self, found: frozenset[str], side: int) -> None:
        for path in sorted(found):
            for known in (self._known, self.sums.paths):
                counts = known.get(path)
                if counts is None:
                    if len(known) >= MAX_PATHS:
                        continue
                    counts = known[path] = [0, 0]
                counts[side] += 1
