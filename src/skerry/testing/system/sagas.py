"""A saga as a test looks at it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from skerry.saga import SagaStatus
from skerry.testing.system.timeline import Timeline


class SagaView:
    """A saga at the moment it was asked for. What it asserts fails with the story of the whole system."""

    def __init__(self, status: SagaStatus, log: Sequence[tuple[str, str, float]], timeline: Timeline) -> None:
        self.state: SagaStatus = status
        self._timeline = timeline
        # virtual time stands still between two steps that wait for nothing: then they are in their order by definition
        places = {name: place for place, name in enumerate(_names(status.signature))}
        in_order = sorted(log, key=lambda entry: (entry[2], places.get(entry[0], 0)))
        self.done: tuple[str, ...] = tuple(step for step, what, _ in in_order if what == "done")
        """The steps that were done, in their order, also those undone since."""
        back = sorted(log, key=lambda entry: (entry[2], -places.get(entry[0], 0)))
        self.undone: tuple[str, ...] = tuple(step for step, what, _ in back if what == "undone")
        """The steps that were undone, in the order in which that happened."""

    def __repr__(self) -> str:
        return f"<saga {self.state.name} {self.state.key}: {self.state.status}, steps {dict(self.state.steps)}>"

    @property
    def completed(self) -> bool:
        """Whether it went all the way."""
        return self.state.status == "completed"

    @property
    def compensated(self) -> bool:
        """Whether all that was done is undone."""
        return self.state.status == "compensated"

    @property
    def stuck(self) -> bool:
        """Whether it waits for a person."""
        return self.state.status == "stuck"

    @property
    def steps(self) -> Mapping[str, str]:
        """What happened to each step last: done, rejected, failed, unknown, undone, waits."""
        return dict(self.state.steps)

    def result(self, step: str) -> Any:
        """What a step returned, as plain JSON; None when it did not finish."""
        return self.state.result(step)

    def assert_completed(self, *steps: str) -> None:
        """It completed; with `steps`, these were done, in this order, and no others."""
        if not self.completed:
            self._fail(f"is {self.state.status}, not completed")
        if steps and self.done != steps:
            self._fail(f"did {list(self.done)}, not {list(steps)}")

    def assert_compensated(self, *undone: str) -> None:
        """It turned back and everything is undone; with `undone`, these steps were, in this order, and no others."""
        if not self.compensated:
            self._fail(f"is {self.state.status}, not compensated")
        if undone and self.undone != undone:
            self._fail(f"undid {list(self.undone)}, not {list(undone)}")

    def _fail(self, what: str) -> NoReturn:
        reason = f" ({self.state.reason})" if self.state.reason else ""
        raise AssertionError(
            f"the saga {self.state.name} {self.state.key} {what}{reason}; steps: {dict(self.state.steps)}\n\n"
            f"timeline:\n{self._timeline.text()}"
        )


def _names(signature: str) -> list[str]:
    """The names of the steps, in the order of the definition."""
    return [entry.split()[1] for entry in json.loads(signature)]  # "step reserve with compensation"
