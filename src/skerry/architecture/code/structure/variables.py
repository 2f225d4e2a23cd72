"""Environment variables that a file reads."""

from __future__ import annotations

import ast
import itertools
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
_MADE_OF: Final = (ast.Call, ast.JoinedStr, ast.BinOp, ast.BoolOp, ast.Subscript)
_MAX_NODES: Final = 200
_SETTINGS: Final = re.compile(r"(?:^|\.)BaseSettings$")


def read(found: Walk) -> tuple[str, ...]:
    """Their names, sorted."""
    makers = _makers(found)
    names = {_read_by(found, node, makers) for _, node in (*found.calls, *found.reads)}
    for owner in found.classes.values():
        if any(_SETTINGS.search(found.dotted(base)) for base in owner.bases):
            names |= _fields(owner)
    return tuple(sorted(name for name in names if _NAME.match(name)))


def settings(found: Walk) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Settings that are made from variables of other names: `config["ORDERS_URL"] = f"http://{os.environ['ORDERS_HOST']}"`."""
    if not (found.calls or found.reads):
        return ()
    makers, made = _makers(found), dict[str, tuple[str, ...]]()
    for _, node in found.assigns:
        if node.value is None or not isinstance(node.value, _MADE_OF):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        name = _setting(target)
        if not name.isupper() or name in made:
            continue
        inner = itertools.islice(ast.walk(node.value), _MAX_NODES)
        used = dict.fromkeys(_read_by(found, each, makers) for each in inner)
        names = tuple(each for each in used if _NAME.match(each))
        if names and names != (name,):
            made[name] = names
    return tuple(made.items())


def _setting(target: ast.expr) -> str:
    if isinstance(target, ast.Subscript):
        return text_of(target.slice) or ""
    return target.attr if isinstance(target, ast.Attribute) else target.id if isinstance(target, ast.Name) else ""


def _makers(found: Walk) -> set[str]:
    return {name for (scope, name), made in found.instances.items() if not scope and _ENV_OBJECTS.match(made)}


def _read_by(found: Walk, node: ast.AST, makers: set[str]) -> str:
    """The variable that an expression reads; `` for any other."""
    if isinstance(node, ast.Call):
        full = found.dotted(node.func)
        if _GETTERS.match(full) or full.partition(".")[0] in makers:
            return text_of(argument(node, 0, "key", "var", "name")) or ""
    elif (
        isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and _ENVIRON.search(found.dotted(node.value))
    ):
        return text_of(node.slice) or ""
    return ""


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
