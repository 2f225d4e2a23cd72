"""What a repository asks of an engine, and what a caller may not assume.

A collection gets bodies that are checked already, as JSON, and gives JSON back. A change is part of the caller's unit of work:
on SQL the transaction it is in, on MongoDB the one write that the unit ends with. There a conflict may show only at the end
of the unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from skerry.store.documents.query import Index, Query, Where

Kind = Literal["insert", "replace", "put", "delete"]


@dataclass(frozen=True, slots=True)
class Row:
    """A document as an engine has it. `version` counts its changes, from 1."""

    id: str
    version: int
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one document. `text` is its new body; `version` the one it must be in, None for any."""

    kind: Kind
    id: str
    text: str = ""
    version: int | None = None


class Collection(Protocol):
    """The documents of one name in a service's own database."""

    name: str

    async def prepare(self) -> None:
        """Make what is not there yet: table and indexes. Several processes may do so at the same time."""
        ...

    async def get(self, identifier: str, tx: object | None) -> Row | None:
        """One document: as it is committed, or as the unit of work `tx` sees it."""
        ...

    async def change(self, tx: object, change: Change) -> bool:
        """Take part in the caller's unit of work; False when there was nothing to delete.

        Raises `VersionConflict` and `DuplicateValue`, here or at the end of the unit.
        """
        ...

    async def find(self, query: Query) -> list[Row]:
        """What is committed and meets all conditions, in the order asked for."""
        ...

    async def count(self, where: tuple[Where, ...]) -> int:
        """How many documents meet all conditions."""
        ...


@runtime_checkable
class DocumentStore(Protocol):
    """A database that keeps documents in a way of its own."""

    def collection(self, name: str, *, key: str, indexes: Sequence[Index]) -> Collection:
        """The collection of that name. `key` is the field that holds the id."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """An event on its way out, inside the document whose change it tells of. `body` is its envelope."""

    id: str
    type: str
    key: str
    body: str
    sequence: int = 0


@runtime_checkable
class Carrier(Protocol):
    """A unit of work that has no tables: what is to be handed over travels in the document that it changes."""

    def carry(self, entries: Sequence[Entry]) -> None:
        """Write these with the change, in the same one write."""
        ...

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once the write is durable; never when it failed."""
        ...
