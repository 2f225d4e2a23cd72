"""What a Python file says of its structure: imports, routes, messages, tables, workflows, who calls whom."""

from __future__ import annotations

from typing import Final

from skerry.architecture.code.facts import Role
from skerry.architecture.code.parse import Parsed
from skerry.architecture.code.structure import (
    comments,
    databases,
    graph,
    imports,
    labels,
    messages,
    mounts,
    routes,
    sagas,
    sql,
    steps,
    tables,
    uses,
    variables,
)
from skerry.architecture.code.structure.raw import Reach, Structure
from skerry.architecture.code.structure.resolved import Resolved
from skerry.architecture.code.structure.roles import is_program, refined, role_of
from skerry.architecture.code.structure.walk import Walk, walk

__all__ = ["Reach", "Resolved", "Structure", "is_quiet", "read", "read_sql"]

QUIET: Final = frozenset((Role.TEST, Role.GENERATED))
"""Roles of which nothing is read but the imports at the top, and comments."""


def is_quiet(path: str, content: bytes) -> bool:
    """Whether nothing but imports and comments is read of a file, so that no more of it has to be understood."""
    role = role_of(path, content)
    return role in QUIET or (role is Role.MIGRATION and not tables.makes_some(content))


def read(parsed: Parsed, path: str, content: bytes) -> Structure:
    """All of it for one file. Pure; never raises for what the file holds."""
    role = role_of(path, content)
    taken = imports.read(parsed.tree, path, inner=role not in QUIET and role is not Role.MIGRATION)
    role = refined(role, taken)
    lines, allowed = comments.count(parsed.text), comments.allowed(parsed.text, path)
    if role in QUIET or (role is Role.MIGRATION and not tables.makes_some(content)):
        return Structure(role=role, lines=lines, imports=taken, allowed=allowed)
    found = walk(parsed.tree, path)
    if role is Role.MIGRATION:
        return Structure(role=role, lines=lines, imports=taken, allowed=allowed, tables=tables.read(found))
    answered = routes.read(found)
    sent, used = messages.read(found, role, answered), uses.read(found)
    return Structure(
        role=role,
        lines=lines,
        imports=taken,
        functions=tuple(found.functions),
        classes=tuple(found.classes),
        bases=_bases(found),
        instances=tuple((name, made) for (scope, name), made in found.instances.items() if not scope),
        reaches=graph.reaches(found),
        routes=answered,
        mounts=mounts.read(found),
        messages=sent,
        tables=tables.read(found),
        uses=used,
        steps=steps.read(found, sent, used),
        saga_steps=sagas.read(found),
        spans=tuple((name, *steps.span(node)) for name, node in found.functions.items()),
        databases=databases.read(found),
        variables=variables.read(found),
        settings=variables.settings(found),
        program=role is Role.REQUEST and is_program(path, content) and not (answered or sent),
        label=labels.read(found),
        allowed=allowed,
    )


def read_sql(text: str, path: str) -> Structure:
    """Tables that a file of SQL makes, and those that it uses."""
    lines = sum(1 for line in text.split("\n") if line.strip() and not line.lstrip().startswith("--"))
    return Structure(role=Role.MIGRATION, lines=lines, tables=tuple(sql.tables(text, path)))


def _bases(found: Walk) -> tuple[tuple[str, tuple[str, ...]], ...]:
    bases = ((name, tuple(found.dotted(base) for base in node.bases)) for name, node in found.classes.items())
    return tuple((name, those) for name, those in bases if those)
