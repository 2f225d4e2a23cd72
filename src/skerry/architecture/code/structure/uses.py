"""Where a file reads and writes tables: SQL texts, SQLAlchemy, Django, MongoDB.

Where only a model is known its name stands with an `@` before it; it becomes its table once all files are known.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from skerry.architecture.code.facts import TableUse
from skerry.architecture.code.structure import sql
from skerry.architecture.code.structure.walk import Walk, text_of
from skerry.architecture.source import Place

_MANAGERS: Final = frozenset(("objects", "_default_manager", "all_objects"))
_MANAGER_WRITES: Final = frozenset(
    (
        *("create", "acreate", "bulk_create", "abulk_create", "get_or_create", "aget_or_create", "update_or_create"),
        *("insert", "update", "aupdate", "delete", "adelete", "bulk_update"),
    )
)
_SESSION_WRITES: Final = frozenset(("add", "merge", "delete", "add_all", "bulk_insert_mappings", "bulk_save_objects"))
_SESSION_READS: Final = frozenset(("query", "get", "scalar", "refresh"))
_CORE: Final = {"select": False, "insert": True, "update": True, "delete": True}
_MODEL_WRITES: Final = frozenset(("save", "asave", "insert", "create", "insert_many", "update", "delete", "insert_one"))
_MONGO_WRITES: Final = frozenset(
    (
        "insert_one",
        "insert_many",
        "update_one",
        "update_many",
        "replace_one",
        "delete_one",
        "delete_many",
        "bulk_write",
        "find_one_and_update",
        "find_one_and_replace",
        "find_one_and_delete",
        "drop",
    )
)
_MONGO_READS: Final = frozenset(
    ("find", "find_one", "aggregate", "count_documents", "distinct", "estimated_document_count")
)
_MAX_HOPS: Final = 3
"""Names that a collection went through."""
_MONGO: Final = ("pymongo", "motor", "flask_pymongo", "pymongo_inmemory")


def read(found: Walk) -> tuple[TableUse, ...]:
    """Every use, in the order of the file."""
    uses = dict.fromkeys(sorted([*_texts(found), *_calls(found)], key=lambda each: each.place))
    written = {(each.place, each.table) for each in uses if each.writes}
    return tuple(each for each in uses if each.writes or (each.place, each.table) not in written)


def _texts(found: Walk) -> Iterator[TableUse]:
    for function, line, text in found.texts:
        if len(text) > 10 and sql.STATEMENT.match(text):
            yield from sql.uses(text, found.path, function, line)


def _calls(found: Walk) -> Iterator[TableUse]:
    libraries = {name.lstrip(".").partition(".")[0] for name in found.aliases.values()}
    mongo = bool(libraries.intersection(_MONGO)) or "mongo" in found.path
    for function, call in found.calls:
        for name, writes in _of(found, function, call, mongo=mongo):
            yield TableUse(table=name, place=Place(found.path, call.lineno), function=function, writes=writes)


def _of(found: Walk, function: str, call: ast.Call, *, mongo: bool) -> Iterator[tuple[str, bool]]:
    func = call.func
    full = found.dotted(func)
    last = full.rpartition(".")[2]
    parts = full.split(".")
    manager = next((i for i, part in enumerate(parts) if part in _MANAGERS), 0)
    if manager:
        yield f"@{'.'.join(parts[:manager])}", last in _MANAGER_WRITES
    elif isinstance(func, ast.Attribute) and "query" in parts and _is_model(".".join(parts[: parts.index("query")])):
        yield f"@{'.'.join(parts[: parts.index('query')])}", last in {"delete", "update"}
    elif last in _SESSION_WRITES | _SESSION_READS and call.args and _is_session(parts[:-1]):
        given = call.args[0].elts if isinstance(call.args[0], (ast.List, ast.Tuple)) else call.args[:1]
        names = (_made(found, function, each) for each in given[:20])
        yield from ((f"@{name}", last in _SESSION_WRITES) for name in names if name)
    elif last in _CORE and call.args and (full == last or full.startswith(("sqlalchemy", "sa.", "sqlmodel"))):
        model = found.dotted(call.args[0])
        if _is_model(model):
            yield f"@{_model(model)}", _CORE[last]
    elif isinstance(func, ast.Attribute):
        yield from _of_method(found, function, func, mongo=mongo)


def _of_method(found: Walk, function: str, func: ast.Attribute, *, mongo: bool) -> Iterator[tuple[str, bool]]:
    """A collection's methods, and a model's own."""
    if mongo and func.attr in _MONGO_WRITES | _MONGO_READS:
        collection = _collection(found, function, func.value)
        if collection:
            yield collection, func.attr in _MONGO_WRITES
    elif func.attr in _CORE and (table := _core(found, func.value)):
        yield table, _CORE[func.attr]
    elif func.attr in _MODEL_WRITES and isinstance(func.value, (ast.Name, ast.Call)):
        name = _made(found, function, func.value)
        if name and _is_model(name):
            yield f"@{name}", True


def _is_session(owner: list[str]) -> bool:
    return any("session" in part.lower() for part in owner) or (bool(owner) and owner[-1].lower() in {"db", "tx", "s"})


def _is_model(name: str) -> bool:
    return any(part[:1].isupper() for part in name.split(".")) or name.endswith("table")


def _model(name: str) -> str:
    """`models.Order.id` as `models.Order`."""
    parts = name.split(".")
    for index, part in enumerate(parts):
        if part[:1].isupper():
            return ".".join(parts[: index + 1])
    return name


def _made(found: Walk, function: str, node: ast.expr) -> str:
    """The class that an argument is, is an instance of, or was made from."""
    if isinstance(node, ast.Call):
        name = found.dotted(node.func)
        return name if _is_model(name) and "()" not in name else ""
    name = found.dotted(node)
    if isinstance(node, ast.Name):
        made = found.instances.get((function, node.id), "")
        return made if _is_model(made) else _model(name) if _is_model(name) else ""
    return _model(name) if _is_model(name) and "()" not in name and "?" not in name else ""


def _core(found: Walk, node: ast.expr) -> str:
    """The table that `orders` or `self.orders` is: `Table("orders", ...)` here, or what another file gives that name."""
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    for _, value in found.given.get(name, ()):
        if isinstance(value, ast.Call) and found.dotted(value.func).rpartition(".")[2] == "Table" and value.args:
            return (text_of(value.args[0]) or "").lower()
    dotted = found.dotted(node)
    return f"@{dotted}" if dotted != name and "." in dotted and not dotted.startswith(("self.", "?", "(")) else ""


def _collection(found: Walk, function: str, node: ast.expr, hops: int = 0) -> str:
    """`db.orders`, `db["orders"]`, or a name that was given one of them."""
    if isinstance(node, ast.Subscript):
        return (text_of(node.slice) or "").lower()
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get_collection":
        return (text_of(node.args[0]) if node.args else None) or ""
    wanted = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    for _, value in found.given.get(wanted, ()):
        if not isinstance(value, (ast.Name, ast.Constant)):
            return _collection(found, function, value, hops + 1) if hops < _MAX_HOPS else ""
    if isinstance(node, ast.Attribute):
        owner = found.dotted(node.value).rpartition(".")[2].lower()
        return node.attr.lower() if owner.endswith(("db", "database", "mongo", "client")) else ""
    return ""
