"""A whole system in one process, on virtual time, with faults: what the pytest plugin's fixtures are made of.

Without pytest: `with Stage(seed=0, folder=Path("..."), root=Path(".")) as stage: stage.system("skerry.toml").run(story)`.
"""

from __future__ import annotations

from skerry.testing.system.faults import Faults
from skerry.testing.system.log import Event, Events
from skerry.testing.system.sagas import SagaView
from skerry.testing.system.stage import Stage
from skerry.testing.system.system import NotSettled, System
from skerry.testing.system.timeline import Entry, Timeline

__all__ = ["Entry", "Event", "Events", "Faults", "NotSettled", "SagaView", "Stage", "System", "Timeline"]
