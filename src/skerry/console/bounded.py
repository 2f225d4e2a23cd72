"""Mappings that forget their oldest entry instead of growing: what strangers name is never kept without end."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def put(into: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    """Set `key` as the newest entry; past `most` entries the oldest goes."""
    into[key] = value
    into.move_to_end(key)
    if len(into) > most:
        into.popitem(last=False)
