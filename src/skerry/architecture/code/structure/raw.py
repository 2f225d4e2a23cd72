"""What one file says of its structure, before the files are held beside each other.

Everything here is text, numbers, tuples and values of the same kind, so that it can be kept by the file's content.
"""

from __future__ import annotations

from dataclasses import dataclass

from skerry.architecture.code.facts import Allowed, Import, Message, Role, Route, Table, TableUse


@dataclass(frozen=True, slots=True)
class Reach:
    """That one function of the file calls another: `name` as written, with imports and classes resolved within the file.

    `self.load` of class `Shop` is `Shop.load`; `load` that was imported from `shop.store` is `shop.store.load`.
    """

    function: str
    name: str
    line: int


@dataclass(frozen=True, slots=True)
class Step:
    """Something that a function does in its turn. `what`: commit, publish, outbox, undo, or call (of `name`)."""

    function: str
    what: str
    line: int
    name: str
    tries: tuple[int, ...] = ()
    """The `try` statements in whose body it stands, by their lines."""
    handler: int = 0
    """The `try` statement in whose `except` or `finally` it stands."""
    branches: tuple[str, ...] = ()
    """The sides of `if` that it stands in, as `line:side`, with `!` where the side leaves the function or the loop."""


@dataclass(frozen=True, slots=True)
class SagaStep:
    """One step of a saga that is written as such. `kind`: step, pivot, retriable."""

    saga: str
    function: str
    kind: str
    line: int
    compensation: str = ""
    declared: int = 0
    """Line of the saga itself."""


@dataclass(frozen=True, slots=True)
class Mount:
    """That `owner` answers what `router` does, below `prefix`. `replaces`: the router's own prefix does not count then."""

    owner: str
    router: str
    prefix: str
    replaces: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """One file. Names of imported things are written out as `module.name`, a relative module with its dots."""

    role: Role
    lines: int
    imports: tuple[Import, ...] = ()
    functions: tuple[str, ...] = ()
    """Qualified names of all functions and methods in it."""
    classes: tuple[str, ...] = ()
    bases: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """By class, the classes that it is made from."""
    instances: tuple[tuple[str, str], ...] = ()
    """Names at the top of the module, and the class that each is an instance of."""
    reaches: tuple[Reach, ...] = ()
    routes: tuple[Route, ...] = ()
    mounts: tuple[Mount, ...] = ()
    messages: tuple[Message, ...] = ()
    tables: tuple[Table, ...] = ()
    uses: tuple[TableUse, ...] = ()
    steps: tuple[Step, ...] = ()
    saga_steps: tuple[SagaStep, ...] = ()
    spans: tuple[tuple[str, int, int], ...] = ()
    """First and last line of each function that has steps."""
    variables: tuple[str, ...] = ()
    """Names of environment variables that it reads."""
    databases: tuple[str, ...] = ()
    """Names of MongoDB databases that it opens."""
    settings: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Names that are given a value made from environment variables of other names, with those."""
    program: bool = False
    """Whether it is run by itself, does one thing and ends, as far as it can be told from it alone."""
    label: str = ""
    """The label that it gives to a Django app."""
    allowed: tuple[Allowed, ...] = ()
