"""Whether there is any way to leave a saga half done: `check_saga` tries them all.

`check.py` says what is tried, `_tape.py` in which order, `_execution.py` plays one of them, with the processes of `_worker.py` on
the database of `_store.py`; `windows.py` names what was met.
"""

from __future__ import annotations

from skerry.testing.sagas._tape import Budget
from skerry.testing.sagas.barrier import FakeBarrier
from skerry.testing.sagas.check import Counterexample, Outcome, Report, Simulation, Violation, check_saga
from skerry.testing.sagas.windows import WINDOWS

__all__ = [
    "WINDOWS",
    "Budget",
    "Counterexample",
    "FakeBarrier",
    "Outcome",
    "Report",
    "Simulation",
    "Violation",
    "check_saga",
]
