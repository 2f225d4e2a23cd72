"""The files of a repository beside each other, before their outgoing calls are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skerry.architecture.code.facts import Role
from skerry.architecture.code.structure.graph import Names
from skerry.architecture.code.structure.imports import Modules
from skerry.architecture.code.structure.raw import Structure


@dataclass(frozen=True, slots=True)
class Resolved:
    """What is known of all files before their outgoing calls are."""

    files: Mapping[str, Structure]
    modules: Modules
    roles: Mapping[str, Role]
    imports: Mapping[str, tuple[str, ...]]
    """By file, the files of the repository that it imports when it runs."""
    names: Names
