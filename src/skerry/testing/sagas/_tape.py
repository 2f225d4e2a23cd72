"""Choices: everything that may go one way or another in an execution, and the order in which all of it is tried.

An execution runs normally, and asks the tape at each point where something can go wrong. The tape answers what it was given,
and "nothing" behind that. The next execution is given the same answers but for the last one that has another option left: a
depth-first search over all executions, without a state that would have to be kept or restored.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from skerry.errors import DefinitionError

NOTHING: Final = ""
"""What every point offers first: all goes well."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may go wrong in one execution.

    Crashes and faults are tried in all combinations. With `preemptions` executions are tried too in which no worker is killed,
    but one is stopped in the middle while another takes over, and goes on later; with one fault beside it, if `faults` has
    any. `runs` bounds the executions; beyond it the report says that it is truncated.
    """

    crashes: int = 2
    faults: int = 2
    preemptions: int = 1
    runs: int = 200_000

    def __post_init__(self) -> None:
        for part in fields(self):
            value = getattr(self, part.name)
            if not isinstance(value, int) or value < (1 if part.name == "runs" else 0):
                raise DefinitionError(f"a budget of {value!r} {part.name} makes no sense")


Choice = tuple[str, tuple[str, ...]]
"""What happens at a point, and what else could that was not tried yet."""


class Merged(BaseException):
    """All that can follow from here was tried before. Not for the program under test to catch."""


class Seen:
    """States that were reached, and with how much left to go wrong.

    What followed from one with as much left or more was tried already, so it is not tried again.
    """

    def __init__(self) -> None:
        self._left: dict[bytes, list[tuple[int, ...]]] = {}

    def __len__(self) -> int:
        return len(self._left)

    def covers(self, state: object, left: tuple[int, ...]) -> bool:
        """Whether the state was reached before with as much left; remembers it otherwise."""
        key = hashlib.blake2b(pickle.dumps(state, 5), digest_size=16).digest()
        before = self._left.setdefault(key, [])
        if any(all(old >= new for old, new in zip(other, left, strict=True)) for other in before):
            return True
        before[:] = [other for other in before if any(old > new for old, new in zip(other, left, strict=True))]
        before.append(left)
        return False


def _unknown(_option: str) -> object:
    return None


class Tape:
    """The choices of one execution.

    `given` are the first of them; `wanted` are incidents by the number of the point instead, for
    a replay, and then no budget counts.
    """

    def __init__(
        self,
        left: Mapping[str, int],
        *,
        given: Sequence[Choice] = (),
        seen: Seen | None = None,
        wanted: Mapping[int, str] | None = None,
    ) -> None:
        self._left = dict(left)
        self._given = given
        self._seen = seen
        self._wanted = wanted
        self._taken: list[Choice] = []
        self.points = 0
        self.incidents: dict[int, str] = {}

    def choose(
        self, options: Mapping[str, str], state: Callable[[], object], leads_to: Callable[[str], object] = _unknown
    ) -> str:
        """What happens at this point: nothing, or one of `options`, which say what each costs.

        `state` is all that what follows can depend on, and `leads_to` the same for behind an option, where that is known.
        Raises `Merged` when the execution does not have to go on.
        """
        self.points += 1
        if self._wanted is not None:
            return self._note(self._wanted.get(self.points, NOTHING))
        place = len(self._taken)
        if place < len(self._given):
            choice = self._given[place]
        else:
            if self._seen is not None and self._seen.covers(state(), tuple(self._left.values())):
                raise Merged
            choice = (NOTHING, tuple(name for name in options if self._is_worth(name, options[name], leads_to)))
        self._taken.append(choice)
        if choice[0]:
            self._left[options[choice[0]]] -= 1
        return self._note(choice[0])

    def _is_worth(self, name: str, cost: str, leads_to: Callable[[str], object]) -> bool:
        """Whether an option can be paid for, and leads to where nothing led before."""
        if self._left[cost] <= 0:
            return False
        if self._seen is None or (state := leads_to(name)) is None:
            return True
        return not self._seen.covers(state, tuple(left - (part == cost) for part, left in self._left.items()))

    def _note(self, name: str) -> str:
        if name:
            self.incidents[self.points] = name
        return name

    def next(self) -> Sequence[Choice] | None:
        """What the next execution is given; None when all were tried."""
        taken = list(self._taken)
        while taken:
            _, left = taken.pop()
            if left:
                return [*taken, (left[0], left[1:])]
        return None


def written(incidents: Mapping[int, str]) -> str:
    """Incidents as a text, such as `3:lost 7:crash`."""
    return " ".join(f"{point}:{name}" for point, name in sorted(incidents.items()))


def read(text: str, known: Mapping[str, Any]) -> dict[int, str]:
    """Incidents from a text. Raises `DefinitionError` for one that is none."""
    found = {}
    for part in text.split():
        point, _, name = part.partition(":")
        if not point.isascii() or not point.isdecimal() or name not in known:
            raise DefinitionError(f"{part[:60]!r} is no incident; write POINT:WHAT, such as 3:lost")
        found[int(point)] = name
    return found
