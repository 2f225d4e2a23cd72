"""What an expression stands for, as far as reading tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from skerry.architecture.code.calls.raw import Expr


class Is(StrEnum):
    """The kinds of values that are told apart."""

    UNKNOWN = "unknown"
    NONE = "none"
    NUMBER = "number"
    """`seconds` is None for a number that is not known, such as one from the environment."""
    TEXT = "text"
    """`name` has `{}` for what is not known; `variables` are what it is made of."""
    MAPPING = "mapping"
    SEQUENCE = "sequence"
    EXTERNAL = "external"
    """Something of a library, by its dotted `name`."""
    MADE = "made"
    """What comes of a call of something of a library; `expr` is the call, None where only an annotation says so."""
    MEMBER = "member"
    """The attribute `name` of `base`, which is made or a member."""
    MODULE = "module"
    CLASS = "class"
    INSTANCE = "instance"
    FUNCTION = "function"
    """A function of the repository; `base` is the instance of a method."""
    PARTIAL = "partial"
    """`base` with the arguments of `expr` already given."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an expression stands. `frame` holds what the parameters are for one call; None: for any call."""

    file: str
    function: str = ""
    cls: str = ""
    frame: Mapping[str, tuple[Expr, Scope]] | None = None
    this: Value | None = None
    """What `self` is."""


@dataclass(frozen=True, slots=True)
class Value:
    """What is known of a value."""

    kind: Is = Is.UNKNOWN
    name: str = ""
    file: str = ""
    seconds: float | None = None
    variables: tuple[str, ...] = ()
    expr: Expr | None = None
    scope: Scope | None = None
    base: Value | None = None

    @property
    def line(self) -> int:
        """Of the call that made it; 0 where there is none."""
        return self.expr.line if self.expr is not None else 0


UNKNOWN = Value()
NONE = Value(Is.NONE)


def chain(value: Value) -> tuple[Value, tuple[str, ...]]:
    """What a value hangs on, and the way from it: `client().db.find` is `client()` and `db`, `find`; calls are `()`."""
    way: list[str] = []
    for _ in range(30):
        if value.kind is Is.MEMBER and value.base is not None:
            way.append(value.name)
        elif value.kind is Is.MADE and value.base is not None and value.base.kind in {Is.MADE, Is.MEMBER}:
            way += ["()", value.name]
        else:
            break
        value = value.base
    return value, tuple(reversed(way))


def steps(value: Value) -> Iterator[Value]:
    """A value and everything that it hangs on."""
    each: Value | None = value
    for _ in range(30):
        if each is None:
            return
        yield each
        each = each.base
