"""Environment variables that a file reads."""

from __future__ import annotations

import ast
import re
from typing import Final

from skerry.architecture.code.structure.walk import Walk, argument, text_of

_NAME: Final = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{1,99}$")
_ENVIRON: Final = re.compile(r"(?:^|\.)(?:os\.)?environb?$")
_GETTERS: Final = re.compile(
    r"^(?:os\.getenv|os\.environ\.(?:get|pop|setdefault)|environ\.get|getenv|decouple\.config|decouple\.\w+|"
    r"environs\..*|starlette\.config\..*)$"
)
_ENV_OBJECTS: Final = re.compile(
    r"^(?:environ\.(?:Env|FileAwareEnv)|environs\.Env|starlette\.config\.Config|decouple\.Config)$"
)
_SETTINGS: Final = re.compile(r"(?:^|\.)BaseSettings$")


def read(found: Walk) -> tuple[str, ...]:
    """Their names, sorted."""
    names: set[str] = set()
    makers = {name for (scope, name), made in found.instances.items() if not scope and _ENV_OBJECTS.match(made)}
    for _, call in found.calls:
        full = found.dotted(call.func)
        if _GETTERS.match(full) or full.partition(".")[0] in makers:
            names.add(text_of(argument(call, 0, "key", "var", "name")) or "")
    for _, node in found.reads:
        if isinstance(node.ctx, ast.Load) and _ENVIRON.search(found.dotted(node.value)):
            names.add(text_of(node.slice) or "")
    for owner in found.classes.values():
        if any(_SETTINGS.search(found.dotted(base)) for base in owner.bases):
            names |= _fields(owner)
    return tuple(sorted(name for name in names if _NAME.match(name)))


def _fields(node: ast.ClassDef) -> set[str]:
    """Fields of pydantic settings, by `env_prefix` and by what they are called otherwise."""
    prefix, names = "", set[str]()
    for each in ast.walk(node):
        if isinstance(each, ast.keyword) and each.arg == "env_prefix":
            prefix = text_of(each.value) or ""
        if isinstance(each, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "env_prefix" for t in each.targets):
            prefix = text_of(each.value) or ""
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.target.id != "model_config":
            given = None
            if isinstance(each.value, ast.Call):
                given = text_of(argument(each.value, -1, "env", "validation_alias", "alias"))
            names.add(given or f"{prefix}{each.target.id}".upper())
    return names
