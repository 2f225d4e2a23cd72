"""The schemas of events: frozen in the repository, compared with the code and with earlier revisions, exported.

Schemas are JSON Schema 2020-12, in `schemas/TYPE/VERSION.json` beside the system file. `skerry events` is their command.
"""

from __future__ import annotations

from skerry.events.schemas.asyncapi import export
from skerry.events.schemas.check import Finding, check
from skerry.events.schemas.compatibility import Mismatch, mismatches
from skerry.events.schemas.discovery import ServiceEvents, discover, discover_modules
from skerry.events.schemas.model import MODES, Compatibility, EventClass, EventSchema, describe
from skerry.events.schemas.registry import Frozen, Registry, freeze, read
from skerry.events.schemas.revision import read_at

__all__ = [
    "MODES",
    "Compatibility",
    "EventClass",
    "EventSchema",
    "Finding",
    "Frozen",
    "Mismatch",
    "Registry",
    "ServiceEvents",
    "check",
    "describe",
    "discover",
    "discover_modules",
    "export",
    "freeze",
    "mismatches",
    "read",
    "read_at",
]
