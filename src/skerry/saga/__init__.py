"""Sagas that cannot be half done.

A saga is a list of steps, each with the compensation that undoes it. Every transition is durable before the next step
begins, so a saga survives its process at any point and ends completed, compensated, or STUCK where a person sees it.
"""

from __future__ import annotations

from skerry.errors import Locked, MissingExtra, Rejected

try:
    import pydantic  # noqa: F401 - looked for here, once, so that its absence has one message
except ImportError as _error:
    raise MissingExtra("Sagas", "events") from _error

from skerry.saga.barrier import Barrier
from skerry.saga.definition import Saga
from skerry.saga.engine import Engine
from skerry.saga.entry import SagaStatus
from skerry.saga.journal import Journal
from skerry.saga.lock import SemanticLock
from skerry.saga.operation import Happened, SagaCount, SagaLine, Sagas
from skerry.saga.step import Step, StepContext

__all__ = [
    "Barrier",
    "Engine",
    "Happened",
    "Journal",
    "Locked",
    "Rejected",
    "Saga",
    "SagaCount",
    "SagaLine",
    "SagaStatus",
    "Sagas",
    "SemanticLock",
    "Step",
    "StepContext",
]
