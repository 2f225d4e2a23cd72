"""Checks of single values that were put together in Python: the same ranges that the tables give to the reader."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, Final, TypeAlias

from skerry.gateway.model import (
    BreakerSpec,
    Cors,
    GuardSpec,
    JwtProvider,
    Limits,
    Listener,
    PolicySpec,
    RateSpec,
    RetrySpec,
    Service,
    Shadow,
)
from skerry.gateway.reading.amounts import Seconds, Share
from skerry.gateway.reading.document import Steps
from skerry.gateway.reading.kinds import Number, Record, Size
from skerry.gateway.reading.strangle_tables import GUARD, SHADOW
from skerry.gateway.reading.syntax import HOSTNAME, HOSTNAME_HINT
from skerry.gateway.reading.tables import BREAKER, CORS, LIMITS, LISTENER, POLICY, PROVIDER, RATE, RETRY, SERVICE

Mistake: TypeAlias = tuple[Steps, str]
"""Where, as the keys of gateway.yaml, and what."""


def _rows(record: Record, names: Iterable[str]) -> tuple[tuple[str, Number | Share | Seconds, bool], ...]:
    """Of each number: its name, its range, and whether None is its way of not being there."""
    found: list[tuple[str, Number | Share | Seconds, bool]] = []
    for name in names:
        known = record.fields.get(name)
        kind = known.kind if known is not None else None
        if isinstance(kind, Size):
            kind = Number(kind.low, kind.high, whole=True)
        if known is not None and isinstance(kind, Number | Share | Seconds):
            found.append((name, kind, known.default is None))
    return tuple(found)


_ROWS: Final = {
    model: _rows(record, (field.name for field in fields(model)))
    for model, record in (
        (BreakerSpec, BREAKER),
        (Cors, CORS),
        (GuardSpec, GUARD),
        (JwtProvider, PROVIDER),
        (Limits, LIMITS),
        (Listener, LISTENER),
        (PolicySpec, POLICY),
        (RateSpec, RATE),
        (RetrySpec, RETRY),
        (Service, SERVICE),
        (Shadow, SHADOW),
    )
}


def ranges(value: Any, at: Steps) -> Iterator[Mistake]:
    """Numbers out of the range that the table says; the keys of the tables are the names of the model."""
    for name, kind, may_be_absent in _ROWS[type(value)]:
        number = getattr(value, name)
        if not (number is None and may_be_absent) and not kind.holds(number):
            yield (*at, name), f"must be {kind.range}"


def policy(value: PolicySpec, at: Steps) -> Iterator[Mistake]:
    """What is wrong with a policy."""
    yield from ranges(value, at)
    yield from ranges(value.retry, (*at, "retry"))
    if not all(400 <= status <= 599 for status in value.retry.statuses):
        yield (*at, "retry", "statuses"), "must be statuses from 400 to 599"
    if value.breaker is not None:
        yield from ranges(value.breaker, (*at, "breaker"))
        if value.breaker.failure_rate is None and value.breaker.consecutive is None:
            yield (*at, "breaker"), "opens never: give it 'failure_rate' or 'consecutive'"


def hosts(names: Iterable[str], at: Steps) -> Iterator[Mistake]:
    """Host names that are none."""
    for index, name in enumerate(names):
        if not re.fullmatch(HOSTNAME, name):
            yield (*at, "hostnames", index), f"{name[:80]!r} is not {HOSTNAME_HINT}"
