"""`python -m skerry.events.schemas.collect FILE MODULE...`: import modules and write what events they brought along.

It runs in a process of its own, so that a module's mistakes, its output and its imports stay there.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from skerry.errors import SkerryError
from skerry.events.event import DomainEvent
from skerry.events.schemas.model import describe


def main(arguments: list[str]) -> int:
    """Write `{"events": [...], "errors": [...]}` to the file; the process's exit status."""
    target, *modules = arguments
    sys.path.insert(0, str(Path.cwd()))
    found: dict[str, list[Any]] = {"events": [], "errors": []}
    for module in modules:
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:  # whatever a module does wrong is told, with its name
            text = str(error).partition("\n")[0][:300]
            found["errors"].append(f"cannot import {module}: {type(error).__name__}: {text}")
    for event in _subclasses(DomainEvent):
        try:
            found["events"].append({**describe(event).as_json(), "module": event.__module__})
        except SkerryError as error:
            found["errors"].append(str(error))
    Path(target).write_text(json.dumps(found), encoding="utf-8")
    return 0


def _subclasses(parent: type[DomainEvent]) -> list[type[DomainEvent]]:
    found: dict[type[DomainEvent], None] = {}
    waiting = parent.__subclasses__()
    while waiting:
        event = waiting.pop(0)
        found[event] = None
        waiting += [each for each in event.__subclasses__() if each not in found]
    return list(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
