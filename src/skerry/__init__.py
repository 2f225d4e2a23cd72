"""skerry: systems of services that survive each other.

The names a user meets first, each imported when it is used, so that `import skerry` costs nothing and needs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skerry.client import Reply, ServiceClient, SyncServiceClient
    from skerry.clock import Clock
    from skerry.errors import Rejected, SkerryError
    from skerry.events import DeadLetter, DomainEvent, EventBus, Inbox, Outbox, Token
    from skerry.resilience import (
        AdaptiveLimit,
        Bulkhead,
        CircuitBreaker,
        Fallback,
        Hedge,
        Policy,
        RateLimit,
        Retry,
        RetryBudget,
        deadline,
    )
    from skerry.saga import Barrier, Saga, SagaStatus, StepContext
    from skerry.service import Problem, Service
    from skerry.store import Database, Transaction

__version__ = "0.1.0"

__all__ = [
    "AdaptiveLimit",
    "Barrier",
    "Bulkhead",
    "CircuitBreaker",
    "Clock",
    "Database",
    "DeadLetter",
    "DomainEvent",
    "EventBus",
    "Fallback",
    "Hedge",
    "Inbox",
    "Outbox",
    "Policy",
    "Problem",
    "RateLimit",
    "Rejected",
    "Reply",
    "Retry",
    "RetryBudget",
    "Saga",
    "SagaStatus",
    "Service",
    "ServiceClient",
    "SkerryError",
    "StepContext",
    "SyncServiceClient",
    "Token",
    "Transaction",
    "deadline",
]

_HOMES = {
    "client": ("Reply", "ServiceClient", "SyncServiceClient"),
    "clock": ("Clock",),
    "errors": ("Rejected", "SkerryError"),
    "events": ("DeadLetter", "DomainEvent", "EventBus", "Inbox", "Outbox", "Token"),
    "resilience": (
        "AdaptiveLimit",
        "Bulkhead",
        "CircuitBreaker",
        "Fallback",
        "Hedge",
        "Policy",
        "RateLimit",
        "Retry",
        "RetryBudget",
        "deadline",
    ),
    "saga": ("Barrier", "Saga", "SagaStatus", "StepContext"),
    "service": ("Problem", "Service"),
    "store": ("Database", "Transaction"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"skerry.{home}"), name)
    raise AttributeError(f"module 'skerry' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
