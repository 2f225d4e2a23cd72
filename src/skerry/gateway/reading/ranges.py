"""Checks of single values that were put together in Python: the same ranges that the tables give to the reader."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, TypeAlias

from skerry.gateway.model import PolicySpec
from skerry.gateway.reading.document import Steps
from skerry.gateway.reading.kinds import Number, Record, Size
from skerry.gateway.reading.syntax import HOSTNAME, HOSTNAME_HINT
from skerry.gateway.reading.tables import BREAKER, POLICY, RETRY

Mistake: TypeAlias = tuple[Steps, str]
"""Where, as the keys of gateway.yaml, and what."""


def ranges(value: Any, record: Record, at: Steps) -> Iterator[Mistake]:
    """Numbers out of the range that the table says; the keys of the tables are the names of the model."""
    for field in fields(value):
        known = record.fields.get(field.name)
        number = getattr(value, field.name)
        if known is None or (number is None and field.default is None):
            continue
        kind = known.kind
        if isinstance(kind, Size):
            kind = Number(kind.low, kind.high, whole=True)
        if isinstance(kind, Number) and not kind.holds(number):
            yield (*at, field.name), f"must be {kind.range}"


def policy(value: PolicySpec, at: Steps) -> Iterator[Mistake]:
    """What is wrong with a policy."""
    yield from ranges(value, POLICY, at)
    yield from ranges(value.retry, RETRY, (*at, "retry"))
    if not all(400 <= status <= 599 for status in value.retry.statuses):
        yield (*at, "retry", "statuses"), "must be statuses from 400 to 599"
    if value.breaker is not None:
        yield from ranges(value.breaker, BREAKER, (*at, "breaker"))
        if value.breaker.failure_rate is None and value.breaker.consecutive is None:
            yield (*at, "breaker"), "opens never: give it 'failure_rate' or 'consecutive'"


def hosts(names: Iterable[str], at: Steps) -> Iterator[Mistake]:
    """Host names that are none."""
    for index, name in enumerate(names):
        if not re.fullmatch(HOSTNAME, name):
            yield (*at, "hostnames", index), f"{name[:80]!r} is not {HOSTNAME_HINT}"
