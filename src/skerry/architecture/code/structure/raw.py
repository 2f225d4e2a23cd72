"""What one file says of its structure, before the files are held beside each other.

Everything here is text, numbers, tuples and values of the same kind, so that it can be kept by the file's content.
"""

from __future__ import annotations

from dataclasses import dataclass

from skerry.architecture.code.facts import Allowed, Import, Message, Role, Route, Table, TableUse, Workflow


@dataclass(frozen=True, slots=True)
class Reach:
    """That one function of the file calls another: `name` as written, with imports and classes resolved within the file.

    `self.load` of class `Shop` is `Shop.load`; `load` that was imported from `shop.store` is `shop.store.load`.
    """

    function: str
    name: str
    line: int


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
    messages: tuple[Message, ...] = ()
    tables: tuple[Table, ...] = ()
    uses: tuple[TableUse, ...] = ()
    workflows: tuple[Workflow, ...] = ()
    variables: tuple[str, ...] = ()
    """Names of environment variables that it reads."""
    allowed: tuple[Allowed, ...] = ()
