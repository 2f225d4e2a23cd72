"""Databases of MongoDB that a file names: an address often gives the server only, and the code the rest."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from typing import Final

from skerry.architecture.code.structure.walk import Walk, text_of

_CLIENT: Final = re.compile(r"(?:^|\.)(?:\w*MongoClient|AsyncIOMotorClient|AsyncMongoClient)$")
_METHODS: Final = frozenset(("admin", "address", "config", "local", "nodes", "options", "primary", "codec_options"))
_MAX_NODES: Final = 60
"""Parts of one expression that are looked at."""


def read(found: Walk) -> tuple[str, ...]:
    """Their names, sorted; nothing for a file that makes no client."""
    clients = {name for (_, name), made in found.instances.items() if _CLIENT.search(made)}
    if not clients and not any(_CLIENT.search(name) for name in found.aliases.values()):
        return ()
    names = (_named(found, node, clients) for node in _expressions(found))
    return tuple(sorted({name for name in names if name}))


def _expressions(found: Walk) -> Iterator[ast.AST]:
    """What is assigned, given to a function, or asked for something; a method's own name is none."""
    for _, node in found.assigns:
        if node.value is not None and not isinstance(node.value, ast.Constant):
            yield from itertools.islice(_parts(node.value), _MAX_NODES)
    for _, call in found.calls:
        yield call
        for each in call.args:
            yield from itertools.islice(_parts(each), _MAX_NODES)
        if isinstance(call.func, ast.Attribute):
            yield from itertools.islice(_parts(call.func.value), _MAX_NODES)


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """`node` and what it is made of, without the methods that are called in it."""
    pending = [node]
    while pending:
        each = pending.pop()
        yield each
        if isinstance(each, ast.Attribute | ast.Subscript | ast.Await):
            pending.append(each.value)


def _named(found: Walk, node: ast.AST, clients: set[str]) -> str:
    if isinstance(node, ast.Attribute) and _is_client(found, node.value, clients):
        return "" if node.attr in _METHODS or node.attr.startswith("_") else node.attr
    if isinstance(node, ast.Subscript) and _is_client(found, node.value, clients):
        return text_of(node.slice) or ""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get_database":
        return (text_of(node.args[0]) or "") if node.args and _is_client(found, node.func.value, clients) else ""
    return ""


def _is_client(found: Walk, node: ast.AST, clients: set[str]) -> bool:
    if isinstance(node, ast.Call):
        return bool(_CLIENT.search(found.dotted(node.func)))
    return (isinstance(node, ast.Name) and node.id in clients) or (
        isinstance(node, ast.Attribute) and node.attr in clients
    )
