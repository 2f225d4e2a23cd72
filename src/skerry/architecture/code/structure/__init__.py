"""What a Python file says of its structure: imports, routes, messages, tables, workflows, who calls whom."""

from __future__ import annotations

from dataclasses import replace

from skerry.architecture.code.facts import Role
from skerry.architecture.code.parse import Parsed
from skerry.architecture.code.structure import comments, imports
from skerry.architecture.code.structure.raw import Reach, Structure
from skerry.architecture.code.structure.resolved import Resolved
from skerry.architecture.code.structure.roles import refined, role_of

__all__ = ["Reach", "Resolved", "Structure", "read"]


def read(parsed: Parsed, path: str, content: bytes) -> Structure:
    """All of it for one file. Pure; never raises for what the file holds."""
    role = role_of(path, content)
    found = Structure(
        role=role,
        lines=comments.count(parsed.text),
        imports=imports.read(parsed.tree, path),
        allowed=comments.allowed(parsed.text, path),
    )
    role = refined(role, found.imports)
    return replace(found, role=role) if role is not found.role else found


QUIET = frozenset((Role.TEST, Role.GENERATED))
"""Roles of which nothing but imports is read."""
