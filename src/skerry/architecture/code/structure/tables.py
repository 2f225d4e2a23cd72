"""Tables that a file maps or makes: SQLAlchemy, Django, peewee, Tortoise, Alembic, Django's migrations, MongoDB models."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

from skerry.architecture.code.facts import ForeignKey, Table
from skerry.architecture.code.structure import sql
from skerry.architecture.code.structure.walk import Walk, argument, text_of
from skerry.architecture.source import Place

_DJANGO_KEYS: Final = frozenset(("ForeignKey", "OneToOneField", "ManyToManyField", "ForeignKeyField", "ParentalKey"))
_MODEL_BASE: Final = re.compile(
    r"(?:^|\.)(?:\w*Model(?!\w*(?:Serializer|Form|Object|View|Admin|Factory|Choice|Filter|Mutation|Resource|Schema|Type))\w*|"
    r"\w*Document|\w*Base)$"
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


_MAKES: Final = re.compile(rb"CreateModel|create_table|Table\(|(?i:create\s+(?:unlogged\s+)?table)")


def makes_some(content: bytes) -> bool:
    """Whether a migration is worth a walk: most only change what is there."""
    return _MAKES.search(content) is not None


def read(found: Walk) -> tuple[Table, ...]:
    """Every table, in the order of the file."""
    return tuple(sorted([*_models(found), *_made(found)], key=lambda each: each.place))


def _models(found: Walk) -> Iterator[Table]:
    django = any(name.startswith("django.db") for name in found.aliases.values())
    for name, node in found.classes.items():
        bases = [found.dotted(base) for base in node.bases]
        if not bases:
            continue
        explicit, abstract = _named(node)
        keys = tuple(_keys(found, node))
        if explicit is None and not (keys or any(_MODEL_BASE.search(base) for base in bases)):
            continue
        if explicit is None and not _has_columns(found, node):
            continue
        table = explicit or (_django_name(found.path, name) if django else _CAMEL.sub("_", name).lower())
        yield Table(name=table.lower(), place=Place(found.path, node.lineno), model=name, keys=keys, abstract=abstract)


def _named(node: ast.ClassDef) -> tuple[str | None, bool]:
    """What a class says of its table's name, and whether it is abstract."""
    name: str | None = None
    abstract = False
    for each in node.body:
        inner = each.body if isinstance(each, ast.ClassDef) and each.name in {"Meta", "Settings"} else [each]
        for line in inner:
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                key = line.targets[0].id
                if key in {"__tablename__", "db_table", "table_name", "table"} and (inner != [each] or key[0] == "_"):
                    name = text_of(line.value) or name
                elif key in {"abstract", "__abstract__"}:
                    abstract = isinstance(line.value, ast.Constant) and line.value.value is True
                elif key == "meta" and isinstance(line.value, ast.Dict):
                    for word, value in zip(line.value.keys, line.value.values, strict=True):
                        name = text_of(value) if word is not None and text_of(word) == "collection" else name
    return name, abstract


def _has_columns(found: Walk, node: ast.ClassDef) -> bool:
    for each in node.body:
        value = each.value if isinstance(each, (ast.Assign, ast.AnnAssign)) else None
        if isinstance(value, ast.Call):
            made = found.dotted(value.func)
            if made.rpartition(".")[2] in {"Column", "mapped_column", "relationship"}:
                return True
            if re.search(r"(?:^|\.)\w*(?:Field|ForeignKey|ParentalKey)$", made) and "form" not in made.lower():
                top = made.partition(".")[0]
                return top not in {
                    "marshmallow",
                    "serializers",
                    "rest_framework",
                    "wtforms",
                    "pydantic",
                    "graphene",
                    "strawberry",
                }
        if isinstance(each, ast.AnnAssign) and found.dotted(_head(each.annotation)).endswith("Mapped"):
            return True
    return False


def _head(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, ast.Subscript) else node


def _django_name(path: str, model: str) -> str:
    folders = path.split("/")[:-1]
    while folders and folders[-1] in {"models", "model"}:
        folders.pop()
    return f"{folders[-1]}_{model.rpartition('.')[2]}" if folders else model.rpartition(".")[2]


def _keys(found: Walk, node: ast.AST) -> Iterator[ForeignKey]:
    parts = node.body if isinstance(node, ast.ClassDef) else [node]
    fields = (part for part in parts if isinstance(part, (ast.Assign, ast.AnnAssign, ast.expr)))
    for each in (inner for part in fields for inner in ast.walk(part)):
        if not isinstance(each, ast.Call):
            continue
        name = found.dotted(each.func).rpartition(".")[2]
        place = Place(found.path, each.lineno)
        first = argument(each, 0, "to", "column", "model")
        text = text_of(first)
        if name == "ForeignKey" and text and "." in text and not _is_django(found, each):
            yield ForeignKey(text.rpartition(".")[0].lower(), place)
        elif name in _DJANGO_KEYS and text and text != "self":
            yield ForeignKey(_referred(found.path, text), place)
        elif name in _DJANGO_KEYS and isinstance(first, (ast.Name, ast.Attribute)):
            yield ForeignKey(f"@{found.dotted(first)}", place)
        elif name == "ForeignKeyConstraint":
            columns = argument(each, 1, "refcolumns")
            for column in columns.elts[:1] if isinstance(columns, (ast.List, ast.Tuple)) else ():
                yield ForeignKey((text_of(column) or "").rpartition(".")[0].lower(), place)


def _is_django(found: Walk, call: ast.Call) -> bool:
    full = found.dotted(call.func)
    return full.startswith("django.") or any(word.arg == "on_delete" for word in call.keywords)


def _referred(path: str, text: str) -> str:
    """`app.Model` and `Model` of Django as the table it usually is."""
    app, _, model = text.rpartition(".")
    return f"{app}_{model}".lower() if app else _django_name(path, text).lower()


def _made(found: Walk) -> Iterator[Table]:
    assigned = {id(value): name for name, those in found.given.items() for _, value in those}
    for _, call in found.calls:
        full = found.dotted(call.func)
        last = full.rpartition(".")[2]
        place = Place(found.path, call.lineno)
        if (
            last == "Table"
            and len(call.args) > 1
            and (full.startswith(("sqlalchemy", "sa.", "db.")) or full == "Table")
        ):
            name = text_of(call.args[0])
            if name:
                yield Table(
                    name=name.lower(), place=place, model=assigned.get(id(call), ""), keys=tuple(_keys(found, call))
                )
        elif last == "create_table" and call.args and full.rpartition(".")[0].rpartition(".")[2] in {"op", "batch_op"}:
            name = text_of(argument(call, 0, "table_name"))
            if name:
                yield Table(name=name.lower(), place=place, keys=tuple(_keys(found, call)))
        elif last == "CreateModel":
            yield from _created(found, call, place)
    for _, line, text in found.texts:
        if "create" in text[:4000].lower() and sql.STATEMENT.match(text):
            yield from sql.tables(text, found.path, line)


def _created(found: Walk, call: ast.Call, place: Place) -> Iterator[Table]:
    """A model in one of Django's migrations: its app is the folder above `migrations`."""
    model = text_of(argument(call, 0, "name"))
    folders = found.path.split("/")[:-1]
    if not model or not folders:
        return
    app = folders[-2] if folders[-1] == "migrations" and len(folders) > 1 else folders[-1]
    options = argument(call, 2, "options")
    name = f"{app}_{model}"
    if isinstance(options, ast.Dict):
        for key, value in zip(options.keys, options.values, strict=True):
            if key is not None and text_of(key) == "db_table":
                name = text_of(value) or name
    yield Table(name=name.lower(), place=place, keys=tuple(_keys(found, call)))
