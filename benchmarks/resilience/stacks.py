"""The same protection, built from ours and from each peer: what is put around one async function."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import circuitbreaker
import interlock
import nopanic
import pyresilience
import tenacity

from skerry.resilience import Bulkhead, CircuitBreaker, Policy, Retry, RetryBudget

Fn = Callable[[], Awaitable[Any]]
Subject = Fn | tuple[Callable[[Fn], Awaitable[Any]], Fn]
"""What is called: a function, or one with its argument."""
TOTAL, ATTEMPT, PLACES = 2.0, 0.5, 20


def breakers(fn: Fn) -> dict[str, Subject]:
    """By failure rate in a window of time, or in what the peer has instead."""
    rate = pyresilience.CircuitBreakerConfig(sliding_window_size=100, minimum_calls=20)
    return {
        "ours": (CircuitBreaker().call, fn),
        "ours, 100 calls": (CircuitBreaker(window_calls=100).call, fn),
        "ours, slow calls": (CircuitBreaker(slow_call=1.0).call, fn),
        "circuitbreaker": circuitbreaker.circuit(failure_threshold=20)(fn),  # consecutive failures only
        "nopanic": nopanic.circuit_breaker(window=10.0, min_calls=20)(fn),
        "pyresilience": pyresilience.resilient(circuit_breaker=rate)(fn),
        "interlock-cb": interlock.CircuitBreaker(name="b")(fn),
    }


def retries(fn: Fn) -> dict[str, Subject]:
    """Three attempts, within a budget where there is one."""
    return {
        "ours": (Retry(3, budget=RetryBudget()).call, fn),
        "nopanic": nopanic.retry(3, budget=nopanic.RetryBudget())(fn),
        "pyresilience": pyresilience.resilient(retry=pyresilience.RetryConfig())(fn),
        "tenacity": tenacity.retry(stop=tenacity.stop_after_attempt(3), reraise=True)(fn),
    }


def bulkheads(fn: Fn) -> dict[str, Subject]:
    semaphore = asyncio.Semaphore(PLACES)

    async def behind_semaphore() -> Any:
        async with semaphore:
            return await fn()

    return {
        "ours": (Bulkhead(PLACES).call, fn),
        "asyncio.Semaphore": behind_semaphore,
        "nopanic": nopanic.bulkhead(PLACES)(fn),
        "pyresilience": pyresilience.resilient(bulkhead=pyresilience.BulkheadConfig(PLACES))(fn),
    }


def time_outs(fn: Fn) -> dict[str, Subject]:
    async def by_asyncio() -> Any:
        async with asyncio.timeout(TOTAL):
            return await fn()

    return {
        "ours": (Policy("t", total=TOTAL).call, fn),
        "asyncio.timeout": by_asyncio,
        "nopanic": nopanic.timeout(TOTAL)(fn),
        "pyresilience": pyresilience.resilient(timeout=pyresilience.TimeoutConfig(TOTAL))(fn),
    }


def stacks(fn: Fn) -> dict[str, Subject]:
    """Bulkhead, retry, breaker and time-out together; ours with two time-outs."""
    return {
        "ours": (full_policy().call, fn),
        "ours, decorated": full_policy()(fn),
        "nopanic": nopanic.compose(
            nopanic.bulkhead(PLACES),
            nopanic.retry(3, budget=nopanic.RetryBudget()),
            nopanic.circuit_breaker(window=10.0, min_calls=20),
            nopanic.timeout(ATTEMPT),
        )(fn),
        "pyresilience": pyresilience.resilient(
            bulkhead=pyresilience.BulkheadConfig(PLACES),
            retry=pyresilience.RetryConfig(),
            circuit_breaker=pyresilience.CircuitBreakerConfig(sliding_window_size=100, minimum_calls=20),
            timeout=pyresilience.TimeoutConfig(ATTEMPT),
        )(fn),
        "tenacity and others": glued(fn),
    }


def full_policy() -> Policy:
    return Policy(
        "full",
        total=TOTAL,
        attempt=ATTEMPT,
        limit=Bulkhead(PLACES),
        retry=Retry(3, budget=RetryBudget()),
        breaker=CircuitBreaker(),
    )


def glued(fn: Fn) -> Fn:
    """What is found in most code bases: tenacity, circuitbreaker, asyncio.timeout and a semaphore."""
    semaphore = asyncio.Semaphore(PLACES)

    @circuitbreaker.circuit(failure_threshold=20)
    async def attempt() -> Any:
        async with asyncio.timeout(ATTEMPT):
            return await fn()

    retried = tenacity.retry(stop=tenacity.stop_after_attempt(3), reraise=True)(attempt)

    async def call() -> Any:
        async with semaphore:
            return await retried()

    return call
