"""Extractions that are wrong on purpose: a layer around a service that makes its answers wrong, as somebody would by mistake.

Nothing of skerry knows of it. `kinds` says what can be wrong, `layer` does it and writes down each answer that it has spoilt.
"""

from __future__ import annotations

from .kinds import FAULTS, Fault
from .layer import Faulty, choose, injected

__all__ = ["FAULTS", "Fault", "Faulty", "choose", "injected"]
