"""Trees of Python as the smaller expressions that calls are followed by."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any, Final

from skerry.architecture.code.calls.raw import Expr

MAX_DEPTH: Final = 9
MAX_ITEMS: Final = 24
MAX_TEXT: Final = 300
_LONG: Final = 120
_SECRET: Final = re.compile(
    r"""(?ix) ((?:password|passwd|secret|token|api_?key|authorization|credential)\w*["']?\s*[=:,]\s*)[rbf]*(["']).*?(?:\2|$)"""
)
_USERINFO: Final = re.compile(r"(://[^/\s:@'\"]*):[^@\s'\"]+@")
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)\s+[\w.+/=-]{8,}")
_OPAQUE: Final = re.compile(r"(['\"])[A-Za-z0-9+/=_-]{32,}\1")
OTHER: Final = Expr("other")


def dotted(node: ast.expr) -> str:
    """`a.b.c` for a name and attributes of it, else nothing."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    parts.append(node.id)
    return ".".join(reversed(parts))


def convert(node: ast.expr | None, depth: int = 0) -> Expr:
    """`node`, cut off where it is deeper or longer than the limits."""
    if node is None or depth > MAX_DEPTH:
        return OTHER
    made = _MAKERS.get(type(node))
    return made(node, depth) if made is not None else Expr("other", line=getattr(node, "lineno", 0))


def _constant(node: ast.Constant, _depth: int) -> Expr:
    value = node.value
    if value is None:
        return Expr("none", line=node.lineno)
    if isinstance(value, bool):
        return Expr("bool", str(value), line=node.lineno)
    if isinstance(value, int | float):
        return Expr("num", repr(float(value)) if abs(value) < 1e300 else "inf", line=node.lineno)
    if isinstance(value, str):
        return Expr("text", value[:MAX_TEXT].replace("{}", "{ }"), line=node.lineno)
    return Expr("other", line=node.lineno)


def _named(node: ast.Attribute | ast.Name, depth: int) -> Expr:
    name = dotted(node)
    if name:
        return Expr("name", name, line=node.lineno)
    assert isinstance(node, ast.Attribute)
    return Expr("attr", node.attr, (convert(node.value, depth + 1),), line=node.lineno)


def _call(node: ast.Call, depth: int) -> Expr:
    if (
        isinstance(node.func, ast.Attribute)
        and node.func.attr == "format"
        and isinstance(node.func.value, ast.Constant | ast.Name)
    ):
        return _formatted(node, node.func.value, depth)
    keys: list[str] = []
    args = [convert(node.func, depth + 1)]
    for given in node.args[:MAX_ITEMS]:
        star = isinstance(given, ast.Starred)
        keys.append("*" if star else "")
        args.append(convert(given.value if isinstance(given, ast.Starred) else given, depth + 1))
    for keyword in node.keywords[:MAX_ITEMS]:
        keys.append(keyword.arg or "**")
        args.append(convert(keyword.value, depth + 1))
    return Expr("call", "", tuple(args), tuple(keys), node.lineno)


def _formatted(node: ast.Call, template: ast.Constant | ast.Name, depth: int) -> Expr:
    holes = tuple(convert(each, depth + 1) for each in [*node.args, *(k.value for k in node.keywords)][:MAX_ITEMS])
    if isinstance(template, ast.Name):
        return Expr("text", "{}", (convert(template, depth + 1), *holes), line=node.lineno)
    text = re.sub(r"\{[^{}]*\}", "{}", str(template.value)[:MAX_TEXT])
    by_name = {k.arg: k.value for k in node.keywords}
    names = re.findall(r"\{([^{}]*)\}", str(template.value)[:MAX_TEXT])
    if by_name and all(name.split(":")[0].split("!")[0] in by_name for name in names):
        holes = tuple(convert(by_name[name.split(":")[0].split("!")[0]], depth + 1) for name in names)
    return Expr("text", text, holes, line=node.lineno)


def _joined(node: ast.JoinedStr, depth: int) -> Expr:
    text, holes = "", []
    for part in node.values[:MAX_ITEMS]:
        if isinstance(part, ast.Constant):
            text += str(part.value).replace("{}", "{ }")
        elif isinstance(part, ast.FormattedValue):
            text += "{}"
            holes.append(convert(part.value, depth + 1))
    return Expr("text", text[:MAX_TEXT], tuple(holes), line=node.lineno)


def _arithmetic(node: ast.BinOp, depth: int) -> Expr:
    left, right = convert(node.left, depth + 1), convert(node.right, depth + 1)
    if isinstance(node.op, ast.Mod) and left.op == "text" and not left.args:
        filled = right.args if right.op == "list" else (right,)
        return Expr("text", re.sub(r"%(?:\(\w+\))?[-+ 0#]*[\d.]*[sdrif]", "{}", left.name), filled, line=node.lineno)
    if isinstance(node.op, ast.Add) and "text" in (left.op, right.op):
        text = ""
        holes: list[Expr] = []
        for side in (left, right):
            text += side.name if side.op == "text" else "{}"
            holes += side.args if side.op == "text" else (side,)
        return Expr("text", text[:MAX_TEXT], tuple(holes), line=node.lineno)
    return Expr("arith", type(node.op).__name__, (left, right), line=node.lineno)


def _either(node: ast.BoolOp | ast.IfExp, depth: int) -> Expr:
    given = node.values if isinstance(node, ast.BoolOp) else [node.body, node.orelse]
    name = "or" if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or) else "if"
    return Expr("or", name, tuple(convert(each, depth + 1) for each in given[:MAX_ITEMS]), line=node.lineno)


def _dict(node: ast.Dict, depth: int) -> Expr:
    pairs = list(zip(node.keys, node.values, strict=True))[:MAX_ITEMS]
    keys = tuple(str(k.value) if isinstance(k, ast.Constant) else "**" if k is None else "" for k, _ in pairs)
    return Expr("dict", "", tuple(convert(value, depth + 1) for _, value in pairs), keys, node.lineno)


def _list(node: ast.List | ast.Tuple, depth: int) -> Expr:
    return Expr("list", "", tuple(convert(each, depth + 1) for each in node.elts[:MAX_ITEMS]), line=node.lineno)


def _item(node: ast.Subscript, depth: int) -> Expr:
    return Expr("item", "", (convert(node.value, depth + 1), convert(node.slice, depth + 1)), line=node.lineno)


def _inner(node: ast.Await | ast.NamedExpr | ast.Starred, depth: int) -> Expr:
    return convert(node.value, depth)


def _lambda(node: ast.Lambda, depth: int) -> Expr:
    return Expr("lambda", "", (convert(node.body, depth + 1),), line=node.lineno)


def _negative(node: ast.UnaryOp, depth: int) -> Expr:
    return Expr("arith", type(node.op).__name__, (convert(node.operand, depth + 1),), line=node.lineno)


_MAKERS: Final[dict[type[ast.expr], Callable[[Any, int], Expr]]] = {
    ast.Constant: _constant,
    ast.Name: _named,
    ast.Attribute: _named,
    ast.Call: _call,
    ast.JoinedStr: _joined,
    ast.BinOp: _arithmetic,
    ast.BoolOp: _either,
    ast.IfExp: _either,
    ast.Dict: _dict,
    ast.List: _list,
    ast.Tuple: _list,
    ast.Subscript: _item,
    ast.Await: _inner,
    ast.NamedExpr: _inner,
    ast.Starred: _inner,
    ast.Lambda: _lambda,
    ast.UnaryOp: _negative,
}


def one_line(lines: list[str], node: ast.expr) -> str:
    """The source of `node` on one line, cut off, without what may be a secret."""
    last = min(node.end_lineno or node.lineno, node.lineno + 6)
    parts = [line.strip() for line in lines[node.lineno - 1 : last]]
    if not parts:
        return ""
    first = lines[node.lineno - 1].encode()[node.col_offset :].decode(errors="replace").strip()
    text = " ".join([first, *parts[1:]])
    text = _SECRET.sub(r"\1\2…\2", text)
    text = _OPAQUE.sub(r"\1…\1", _BEARER.sub(r"\1 …", _USERINFO.sub(r"\1:…@", text)))
    return text if len(text) <= _LONG else text[: _LONG - 1] + "…"
