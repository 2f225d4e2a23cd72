"""One process of the sagas soak: `actor.py drive|take-part|start SETTINGS`, where SETTINGS is a JSON object."""

from __future__ import annotations

import asyncio
import json
import sys


def main(role: str, settings: dict) -> None:
    """Play a role until told to stop."""
    if role == "start":
        from soaking.starter import Starter

        asyncio.run(Starter(settings).act())
        return
    if role == "drive":
        from soaking.orchestrator import Orchestrator as Role
    else:
        from soaking.participant import Participant as Role
    process = Role(settings)
    process.run(process.service)


main(sys.argv[1], json.loads(sys.argv[2]))
