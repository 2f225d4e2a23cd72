"""Calls that cannot bring the caller down: time limits, retries with a budget, a circuit breaker, limits, hedges, fallbacks.

`Policy` puts them together in the one order that works; each of them also works alone.
"""

from __future__ import annotations

from skerry.resilience.breaker import CircuitBreaker
from skerry.resilience.budget import RetryBudget
from skerry.resilience.bulkhead import Bulkhead
from skerry.resilience.chaos import Chaos
from skerry.resilience.fallback import Fallback
from skerry.resilience.hedge import Hedge
from skerry.resilience.limiter import AdaptiveLimit
from skerry.resilience.policy import Policy
from skerry.resilience.rate import RateLimit
from skerry.resilience.registry import Policies
from skerry.resilience.retry import Retry
from skerry.resilience.timeout import deadline

__all__ = [
    "AdaptiveLimit",
    "Bulkhead",
    "Chaos",
    "CircuitBreaker",
    "Fallback",
    "Hedge",
    "Policies",
    "Policy",
    "RateLimit",
    "Retry",
    "RetryBudget",
    "deadline",
]
