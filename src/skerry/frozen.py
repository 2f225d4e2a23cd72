"""Frozen dataclasses of which every call makes some."""

from __future__ import annotations

from typing import Any


def opened(kind: type[Any]) -> Any:
    """A class like the frozen and slotted dataclass `kind`, whose instances can still be written to.

    `made = Opened(); made.name = ...; made.__class__ = kind`, every field of it, gives what `kind(...)` does in a third of the
    time: the dataclass's own constructor sets each field by a call.
    """
    # what it is derived from may be frozen too
    plain = {"__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    return type(kind.__name__, kind.__bases__, {"__slots__": kind.__slots__, **plain})
