"""The rules of sagas: each ends, all or nothing is left, nothing happens twice, too late or out of order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

Line = dict[str, Any]
Times = dict[str, list[float]]


@dataclass(slots=True)
class Story:
    """One saga: per step the times of its calls and effects, forward (`called`, `effects`) and back."""

    saga: str
    started: bool = False
    acknowledged: bool = False
    steps: list[Any] = field(default_factory=list)
    called: Times = field(default_factory=lambda: defaultdict(list))
    effects: Times = field(default_factory=lambda: defaultdict(list))
    undo_called: Times = field(default_factory=lambda: defaultdict(list))
    undone: Times = field(default_factory=lambda: defaultdict(list))
    ends: list[tuple[float, str]] = field(default_factory=list)

    def add(self, line: Line) -> None:
        """Take in one line, in order of time."""
        match line["kind"]:
            case "saga_started" | "saga_start_unknown" as kind:
                self.started = True
                self.acknowledged |= kind == "saga_started"
                self.steps = line.get("steps") or self.steps
            case "saga_ended":
                self.ends.append((line["t"], line["status"]))
            case kind:
                times = {
                    "step_called": self.called,
                    "step_effect": self.effects,
                    "comp_called": self.undo_called,
                    "comp_effect": self.undone,
                }[kind]
                times[line["step"]].append(line["t"])

    def ended(self, status: str) -> bool:
        """Whether it has ended so."""
        return any(each == status for _, each in self.ends)

    def ranks(self) -> dict[str, int]:
        """The place of each declared step; steps of one parallel group share a place."""
        groups = [group if isinstance(group, list) else [group] for group in self.steps]
        return {step: rank for rank, group in enumerate(groups) for step in group}


def not_ended(story: Story) -> Iterator[str]:
    """L1: an acknowledged saga ends."""
    if story.acknowledged and not story.ends:
        yield "has not ended"


def incomplete(story: Story) -> Iterator[str]:
    """S1: completed means that all steps have their effect."""
    if story.ended("completed"):
        for step in story.ranks() or story.effects:
            if not story.effects.get(step):
                yield f"completed without {step}"
            elif story.undone.get(step):
                yield f"completed, but {step} was undone"


def leftover(story: Story) -> Iterator[str]:
    """S2: compensated means that no effect is left."""
    if story.ended("compensated") and not story.ended("completed"):
        yield from (f"compensated, but {step} was not undone" for step in story.effects if not story.undone.get(step))


def undo_without_step(story: Story) -> Iterator[str]:
    """S3: only what was called is compensated."""
    for step, times in story.undo_called.items():
        if not story.called.get(step) or story.called[step][0] > times[0]:
            yield f"{step} was compensated before it was ever called"


def undo_of_nothing(story: Story) -> Iterator[str]:
    """S4: only an effect can be undone."""
    for step, times in story.undone.items():
        if not story.effects.get(step) or story.effects[step][0] > times[0]:
            yield f"the effect of {step} was undone before it was there"


def step_twice(story: Story) -> Iterator[str]:
    """S5: a step has its effect once."""
    yield from (f"{step} had {len(times)} effects" for step, times in story.effects.items() if len(times) > 1)


def undo_twice(story: Story) -> Iterator[str]:
    """S6: a step is undone once."""
    yield from (f"{step} was undone {len(times)} times" for step, times in story.undone.items() if len(times) > 1)


def step_order(story: Story) -> Iterator[str]:
    """S7: steps have their effects in the declared order."""
    ranks = story.ranks()
    for one, two in combinations([step for step in ranks if story.effects.get(step)], 2):
        if ranks[one] < ranks[two] and story.effects[two][0] < story.effects[one][0]:
            yield f"{two} had its effect before {one}"


def undo_order(story: Story) -> Iterator[str]:
    """S8: steps that had an effect are compensated in the reverse order."""
    ranks = story.ranks()
    steps = [step for step in ranks if story.effects.get(step) and story.undo_called.get(step)]
    for one, two in combinations(steps, 2):
        if ranks[one] < ranks[two] and story.undo_called[one][0] < story.undo_called[two][0]:
            yield f"{one} was compensated before {two}"


def two_ends(story: Story) -> Iterator[str]:
    """S9: a saga has one end."""
    if story.ended("completed") and story.ended("compensated"):
        yield "both completed and compensated"


def ghost(story: Story) -> Iterator[str]:
    """S10: only a saga that somebody asked for has effects."""
    if not story.started and (story.effects or story.undone):
        yield "nobody started it"


def zombie(story: Story) -> Iterator[str]:
    """Z1: once compensated, a step has no effect any more; also not when there was nothing to undo."""
    for step, times in story.effects.items():
        if story.undone.get(step):
            if times[-1] > story.undone[step][0]:
                yield f"{step} had its effect after it was undone"
        elif story.ended("compensated") and story.undo_called.get(step) and times[-1] > story.undo_called[step][0]:
            yield f"{step} had its effect after its compensation had found nothing"


def after_the_end(story: Story) -> Iterator[str]:
    """E1: after its end nothing of it happens."""
    ends = [t for t, status in story.ends if status != "stuck"]
    if ends:
        for what, times in (("step", story.effects), ("compensation", story.undone)):
            yield from (f"{what} {step} after the end" for step, found in times.items() if found[-1] > min(ends))


SAGA_RULES: dict[str, Callable[[Story], Iterator[str]]] = {
    "L1": not_ended,
    "S1": incomplete,
    "S2": leftover,
    "S3": undo_without_step,
    "S4": undo_of_nothing,
    "S5": step_twice,
    "S6": undo_twice,
    "S7": step_order,
    "S8": undo_order,
    "S9": two_ends,
    "S10": ghost,
    "Z1": zombie,
    "E1": after_the_end,
}
