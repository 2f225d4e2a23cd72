"""Django apps with a label of their own: their tables are called by it, not by their folder."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from skerry.architecture.code.structure.raw import Structure
from skerry.architecture.code.structure.walk import Walk, text_of

_BELOW: Final = ("migrations", "models")


def read(found: Walk) -> str:
    """The label that an `AppConfig` in the file gives; `` for none."""
    for node in found.classes.values():
        if any(found.dotted(base).endswith("AppConfig") for base in node.bases):
            for each in node.body:
                if (
                    isinstance(each, ast.Assign)
                    and isinstance(each.targets[0], ast.Name)
                    and each.targets[0].id == "label"
                ):
                    return text_of(each.value) or ""
    return ""


def applied(files: Mapping[str, Structure]) -> dict[str, Structure]:
    """`files` with the tables of labelled apps renamed."""
    labels = {path.rpartition("/")[0]: each.label for path, each in files.items() if each.label}
    return {path: _renamed(path, each, labels) for path, each in files.items()} if labels else dict(files)


def _renamed(path: str, each: Structure, labels: Mapping[str, str]) -> Structure:
    folder = path.rpartition("/")[0]
    above, _, name = folder.rpartition("/")
    if folder not in labels and name in _BELOW:
        folder = above
    label = labels.get(folder)
    if label is None or not each.tables:
        return each
    old = f"{folder.rpartition('/')[2]}_".lower()

    def named(name: str) -> str:
        return f"{label}_{name.removeprefix(old)}".lower() if name.startswith(old) else name

    tables = (
        replace(table, name=named(table.name), keys=tuple(replace(key, table=named(key.table)) for key in table.keys))
        for table in each.tables
    )
    return replace(each, tables=tuple(tables))
