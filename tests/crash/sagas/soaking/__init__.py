"""The parts of the sagas soak: the plan, the processes (orchestrator, participant, starter), the run, the books.

It shares its crew, its way of striking and its judges with the events soak, and a little ASGI application with the other one.
"""

import sys
from pathlib import Path

_CRASH = Path(__file__).parents[2]
sys.path += [str(folder) for folder in (_CRASH / "events", _CRASH / "soak", _CRASH / "soak" / "apps", _CRASH.parent)]
