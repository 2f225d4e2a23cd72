"""One walk over a file's tree, shared by all readers: each node with the function that it stands in."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Final

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_LEAVES: Final = frozenset(
    [
        *(
            leaf
            for kind in (ast.expr_context, ast.operator, ast.boolop, ast.cmpop, ast.unaryop)
            for leaf in kind.__subclasses__()
        ),
        *(ast.Name, str, int, float, complex, bool, bytes, type(None), type(...)),
    ]
)
"""Types of what has nothing within it that is asked for."""
_ASKED: Final = frozenset(
    [
        *(ast.Call, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Constant, ast.JoinedStr, ast.Subscript),
        ast.Expr,
    ]
)
_MAX_GIVEN: Final = 20
_MAX_TERMS: Final = 100
"""Additions within one text."""
_KEPT_LENGTH: Final = 20_000
"""Characters of one text that are looked at."""


@dataclass(slots=True)
class Walk:
    """What one file holds, in the order of its lines. Functions are named `Class.method`, `outer.inner`."""

    path: str
    module: str = ""
    aliases: dict[str, str] = field(default_factory=dict)
    """Imported names, written out: `np` is `numpy`, `load` is `.store.load`."""
    functions: dict[str, FunctionNode] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    calls: list[tuple[str, ast.Call]] = field(default_factory=list)
    assigns: list[tuple[str, ast.Assign | ast.AnnAssign]] = field(default_factory=list)
    given: dict[str, list[tuple[str, ast.expr]]] = field(default_factory=dict)
    """By name, also of an attribute: scope and what it was given, the first few times."""
    texts: list[tuple[str, int, str]] = field(default_factory=list)
    """Function, line and content of texts that are no docstrings; what an f-string fills in is `{}`."""
    reads: list[tuple[str, ast.Subscript]] = field(default_factory=list)
    owners: dict[str, str] = field(default_factory=dict)
    """By function, the class that it is a method of."""
    instances: dict[tuple[str, str], str] = field(default_factory=dict)
    """(scope, name) to the class that was called for it; the scope is a function, a class (for `self.name`), or ``."""

    def dotted(self, node: ast.expr | None) -> str:
        """`a.b.c` with the first name written out where it was imported; `` for what is no plain name."""
        parts: list[str] = []
        while True:
            if isinstance(node, ast.Attribute):
                parts.append(node.attr)
                node = node.value
            elif isinstance(node, ast.Name):
                parts.append(self.aliases.get(node.id, node.id))
                return ".".join(reversed(parts))
            elif isinstance(node, ast.Call):
                node = node.func
                parts.append("()")
            else:
                parts.append("?")
                return ".".join(reversed(parts))


def walk(tree: ast.Module, path: str) -> Walk:
    """Everything in `tree` that a reader may ask for."""
    found = Walk(path)
    pending: list[tuple[ast.AST, str, str]] = [(node, "", "") for node in reversed(tree.body)]
    while pending:
        node, function, owner = pending.pop()
        if isinstance(node, _FUNCTIONS):
            pending += _function(found, node, function, owner)
        elif isinstance(node, ast.ClassDef):
            outer = function or owner
            name = f"{outer}.{node.name}" if outer else node.name
            found.classes[name] = node
            pending += [(each, "", name) for each in reversed(_children(node))]
        elif not _kept(found, node, function, owner):
            pending += [(each, function, owner) for each in reversed(_children(node))]
    return found


def _kept(found: Walk, node: ast.AST, function: str, owner: str) -> bool:
    """Keep what a reader may ask for; whether there is nothing more to see within it."""
    if type(node) not in _ASKED:
        return False
    if isinstance(node, ast.Call):
        found.calls.append((function, node))
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        _import(found, node)
        return True
    elif isinstance(node, (ast.Assign, ast.AnnAssign)):
        found.assigns.append((function or owner, node))
        _given(found, node, function or owner)
        _instance(found, node, function, owner)
    elif isinstance(node, ast.Constant):
        if type(node.value) is str and node.value:
            found.texts.append((function, node.lineno, node.value[:_KEPT_LENGTH]))
        return True
    elif isinstance(node, ast.JoinedStr):
        found.texts.append((function, node.lineno, joined(node)[:_KEPT_LENGTH]))
    elif isinstance(node, ast.Subscript):
        found.reads.append((function, node))
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _children(node: ast.AST) -> list[ast.AST]:
    found: list[ast.AST] = []
    for name in node._fields:
        value = getattr(node, name, None)
        if type(value) is list:
            if name == "values" and isinstance(node, ast.JoinedStr):
                value = [each for each in value if isinstance(each, ast.FormattedValue)]
            found += [each for each in value if type(each) not in _LEAVES]
        elif type(value) not in _LEAVES and isinstance(value, ast.AST):
            found.append(value)
    return found


def _function(found: Walk, node: FunctionNode, function: str, owner: str) -> list[tuple[ast.AST, str, str]]:
    outer = function or owner
    name = f"{outer}.{node.name}" if outer else node.name
    found.functions[name] = node
    if owner:
        found.owners[name] = owner
    for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
        if argument.annotation is not None:
            kind = found.dotted(argument.annotation)
            if kind and "?" not in kind:
                found.instances[name, argument.arg] = kind
    inner: list[tuple[ast.AST, str, str]] = [(each, name, owner) for each in reversed(node.body)]
    heads: list[ast.AST] = [*node.decorator_list, node.args]
    return inner + [(each, function, owner) for each in reversed(heads)]


def _import(found: Walk, node: ast.Import | ast.ImportFrom) -> None:
    if isinstance(node, ast.Import):
        for alias in node.names:
            local = alias.asname or alias.name.partition(".")[0]
            found.aliases[local] = alias.name if alias.asname else local
        return
    prefix = "." * node.level + (node.module or "")
    for alias in node.names:
        if alias.name != "*":
            joint = "" if prefix.endswith(".") or not prefix else "."
            found.aliases[alias.asname or alias.name] = f"{prefix}{joint}{alias.name}"


def _given(found: Walk, node: ast.Assign | ast.AnnAssign, scope: str) -> None:
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        name = target.attr if isinstance(target, ast.Attribute) else target.id if isinstance(target, ast.Name) else ""
        if name and node.value is not None:
            those = found.given.setdefault(name, [])
            if len(those) < _MAX_GIVEN:
                those.append((scope, node.value))


def _instance(found: Walk, node: ast.Assign | ast.AnnAssign, function: str, owner: str) -> None:
    value = node.value
    if isinstance(value, ast.Await):
        value = value.value
    if not isinstance(value, ast.Call):
        return
    made = found.dotted(value.func)
    if not made or "?" in made or "()" in made:
        return
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        if isinstance(target, ast.Name):
            found.instances[function or owner, target.id] = made
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
            found.instances[owner, target.attr] = made


def joined(node: ast.JoinedStr) -> str:
    """An f-string with `{}` for what it fills in."""
    return "".join(str(each.value) if isinstance(each, ast.Constant) else "{}" for each in node.values[:1000])


def text_of(node: ast.expr | None, depth: int = 0) -> str | None:
    """The text that an expression is, `{}` for what is not known; None for what is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return joined(node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and depth < _MAX_TERMS:
        left, right = text_of(node.left, depth + 1), text_of(node.right, depth + 1)
        if left is not None or right is not None:
            return f"{'{}' if left is None else left}{'{}' if right is None else right}"
    return None


def argument(call: ast.Call, position: int, *names: str) -> ast.expr | None:
    """An argument of a call by its position or one of its names; position -1 for names only."""
    for each in call.keywords:
        if each.arg in names:
            return each.value
    if 0 <= position < len(call.args) and not isinstance(call.args[position], ast.Starred):
        return call.args[position]
    return None
