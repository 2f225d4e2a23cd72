"""One walk over a file for everything that its outgoing calls are followed by."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from skerry.architecture.code.calls import likely, loops
from skerry.architecture.code.calls.expressions import convert, one_line
from skerry.architecture.code.calls.loops import Around
from skerry.architecture.code.calls.raw import (
    Expr,
    RawBind,
    RawBody,
    RawCall,
    RawCalls,
    RawClass,
    RawFunction,
    RawParameter,
)
from skerry.architecture.code.parse import Parsed
from skerry.architecture.source import values

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_LEAVES: Final = (ast.expr_context, ast.operator, ast.boolop, ast.cmpop, ast.unaryop, ast.Name, ast.Constant)
_KEPT: Final = frozenset(
    ("num", "none", "bool", "text", "name", "attr", "call", "item", "dict", "or", "lambda", "list")
)
_MAX_WITHIN: Final = 8
_MAX_FACTS: Final = 20_000
"""Calls and values of one file that are kept."""
_PLAIN: Final = frozenset(
    [
        "print",
        "len",
        "str",
        "repr",
        "isinstance",
        "issubclass",
        "hasattr",
        "getattr",
        "setattr",
        "list",
        "dict",
        "set",
        "tuple",
        "sorted",
        "enumerate",
        "zip",
        "range",
        "min",
        "max",
        "sum",
        "any",
        "all",
        "abs",
        "bool",
        "bytes",
        "type",
        "vars",
        "id",
        "iter",
        "next",
        "open",
        "filter",
        "round",
        "super",
        "ValueError",
        "TypeError",
        "KeyError",
        "RuntimeError",
        "Exception",
        "reversed",
        "hash",
        "callable",
        "chr",
        "ord",
        "format",
        "frozenset",
        "divmod",
        "slice",
    ]
)
_METHODS: Final = frozenset(
    [
        "append",
        "extend",
        "join",
        "format",
        "strip",
        "lstrip",
        "rstrip",
        "split",
        "rsplit",
        "splitlines",
        "lower",
        "upper",
        "title",
        "replace",
        "startswith",
        "endswith",
        "encode",
        "items",
        "keys",
        "values",
        "setdefault",
        "isoformat",
        "strftime",
        "debug",
        "info",
        "warning",
        "error",
        "exception",
        "critical",
        "hexdigest",
        "add_argument",
        "zfill",
        "isdigit",
        "partition",
        "rpartition",
        "group",
        "groups",
        "total_seconds",
    ]
)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node stands."""

    function: str = ""
    cls: str = ""
    within: tuple[Expr, ...] = ()
    loops: tuple[Around, ...] = ()
    awaited: bool = False
    by_hand: bool = False


@dataclass(slots=True)
class _Reader:
    lines: list[str]
    imports: dict[str, str] = field(default_factory=dict)
    functions: dict[str, RawFunction] = field(default_factory=dict)
    classes: list[RawClass] = field(default_factory=list)
    binds: list[RawBind] = field(default_factory=list)
    calls: list[RawCall] = field(default_factory=list)
    nodes: list[ast.expr] = field(default_factory=list)
    """Of the calls, in the same order."""
    returns: dict[str, list[Expr]] = field(default_factory=dict)
    sets: dict[str, list[Expr]] = field(default_factory=dict)
    pending: list[tuple[ast.AST, _Place]] = field(default_factory=list)
    converted: dict[ast.expr, Expr] = field(default_factory=dict)
    """What is given to a name or returned is looked at again as the call that it is."""

    def run(self, tree: ast.Module) -> None:
        self.push(tree.body, _Place())
        while self.pending:
            node, place = self.pending.pop()
            visit = _VISITORS.get(type(node))
            if visit is not None:
                visit(self, node, place)
            else:
                self.children(node, _alone(place))

    def push(self, nodes: list[ast.stmt] | list[ast.expr] | list[ast.AST], place: _Place) -> None:
        self.pending += [(node, place) for node in reversed(nodes) if not isinstance(node, _LEAVES)]

    def children(self, node: ast.AST, place: _Place) -> None:
        found: list[ast.AST] = []
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, list):
                found += [each for each in value if isinstance(each, ast.AST)]
            elif isinstance(value, ast.AST):
                found.append(value)
        self.push(found, place)

    def convert(self, node: ast.expr) -> Expr:
        found = self.converted.get(node)
        if found is None:
            found = self.converted[node] = convert(node)
        return found

    def keep(self, node: ast.expr, expr: Expr, used: ast.expr, place: _Place) -> None:
        """Keep a call; `used` is where the loop's variable may stand."""
        self.nodes.append(node)
        self.calls.append(
            RawCall(
                expr=expr,
                line=node.lineno,
                function=place.function or place.cls,
                cls=place.cls,
                within=place.within,
                loop=loops.around(used, place.loops),
                awaited=place.awaited,
                by_hand=place.by_hand,
            )
        )

    def bind(self, target: ast.expr, value: Expr, line: int, place: _Place) -> None:
        """Keep what a name, an attribute or a named item is given."""
        if (value.op not in _KEPT and value.op != "each") or len(self.binds) >= _MAX_FACTS:
            return
        if isinstance(target, ast.Name):
            scope, name = place.function or place.cls, target.id
        elif isinstance(target, ast.Attribute):
            own = isinstance(target.value, ast.Name) and target.value.id in {"self", "cls"} and place.cls
            scope, name = (place.cls if own else "*"), target.attr
        elif isinstance(target, ast.Subscript):
            key = target.slice
            name = str(key.value) if isinstance(key, ast.Constant) else _last(key)
            scope = "*"
        else:
            return
        if not name:
            return
        if "timeout" in name.lower() and place.function:
            self.sets.setdefault(place.function, []).append(value)
        self.binds.append(RawBind(scope, name, value, line, place.function))


def _alone(place: _Place) -> _Place:
    """The place of what is not awaited itself."""
    return replace(place, awaited=False) if place.awaited else place


def read(parsed: Parsed, *, keep: bool = True) -> RawCalls:
    """Everything of one file; nothing where nobody's request waits (`keep` is false)."""
    if not keep:
        return RawCalls()
    reader = _Reader(parsed.text.split("\n"))
    reader.run(parsed.tree)
    functions = tuple(
        replace(each, returns=tuple(reader.returns.get(name, ())[:8]), sets=tuple(reader.sets.get(name, ())[:8]))
        for name, each in reader.functions.items()
    )
    imported = likely.Imported(reader.imports)
    calls = tuple(
        replace(each, likely=True, text=one_line(reader.lines, node)) if imported.may_leave(each) else each
        for each, node in zip(reader.calls, reader.nodes, strict=True)
    )
    body = RawBody(functions=functions, classes=tuple(reader.classes), binds=tuple(reader.binds), calls=calls)
    return RawCalls(
        imports=tuple(reader.imports.items()),
        called=tuple(sorted({name for each in calls for name in likely.names(each)})),
        starred=tuple(
            sorted(
                {
                    bind.name
                    for bind in reader.binds
                    if (bind.scope != bind.function and bind.function) or bind.scope == "*"
                }
            )
        ),
        likely=any(each.likely for each in calls),
        is_command=any(isinstance(each, ast.If) and _asks_for_main(each.test) for each in parsed.tree.body),
        body=values.dumps(body).decode(),
    )


def _asks_for_main(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def _last(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _function(reader: _Reader, node: FunctionNode, place: _Place) -> None:
    outer = place.function or place.cls
    name = f"{outer}.{node.name}" if outer else node.name
    method = bool(place.cls) and not place.function
    static = any(_last(each) == "staticmethod" for each in node.decorator_list)
    arguments = [*node.args.posonlyargs, *node.args.args]
    defaults: list[ast.expr | None] = [None] * (len(arguments) - len(node.args.defaults)) + list(node.args.defaults)
    parameters = [
        RawParameter(each.arg, convert(value) if value is not None else None, _annotation(each.annotation))
        for each, value in zip(arguments, defaults, strict=False)
    ][1 if method and not static else 0 :]
    parameters += [
        RawParameter(
            each.arg, convert(value) if value is not None else None, _annotation(each.annotation), by_name=True
        )
        for each, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=False)
    ]
    reader.functions[name] = RawFunction(
        name=name,
        line=node.lineno,
        cls=place.cls,
        parameters=tuple(parameters[:40]),
        rest=node.args.kwarg.arg if node.args.kwarg else "",
        decorators=tuple(reader.convert(each) for each in node.decorator_list[:10]),
        is_async=isinstance(node, ast.AsyncFunctionDef),
    )
    reader.push(node.decorator_list, place)
    reader.push(node.body, _Place(name, place.cls))


def _annotation(node: ast.expr | None) -> Expr | None:
    return convert(node) if node is not None else None


def _class(reader: _Reader, node: ast.ClassDef, place: _Place) -> None:
    outer = place.function or place.cls
    name = f"{outer}.{node.name}" if outer else node.name
    reader.classes.append(RawClass(name, node.lineno, tuple(convert(each) for each in node.bases[:8])))
    reader.push(node.body, _Place("", name))


def _import(reader: _Reader, node: ast.Import, _place: _Place) -> None:
    for alias in node.names:
        local = alias.asname or alias.name.partition(".")[0]
        reader.imports[local] = alias.name if alias.asname else local


def _import_from(reader: _Reader, node: ast.ImportFrom, _place: _Place) -> None:
    prefix = "." * node.level + (node.module or "")
    joint = "" if prefix.endswith(".") or not prefix else "."
    for alias in node.names:
        reader.imports[alias.asname or alias.name] = f"{prefix}{joint}{alias.name}"


def _call(reader: _Reader, node: ast.Call, place: _Place) -> None:
    name = (
        node.func.id
        if isinstance(node.func, ast.Name)
        else node.func.attr
        if isinstance(node.func, ast.Attribute)
        else ""
    )
    if name == "setdefault" and place.function and len(node.args) == 2:
        key = node.args[0]
        if isinstance(key, ast.Constant) and "timeout" in str(key.value).lower():
            reader.sets.setdefault(place.function, []).append(convert(node.args[1]))
    plain = name in (_PLAIN if isinstance(node.func, ast.Name) else _METHODS)
    inner = _alone(place)
    if not plain and len(reader.calls) < _MAX_FACTS:
        expr = reader.convert(node)
        reader.keep(node, expr, node, place)
        inner = replace(inner, within=(*place.within, expr)[-_MAX_WITHIN:])
    mapped = node.args[0] if name == "map" and node.args and isinstance(node.args[0], ast.Lambda) else None
    if mapped is not None:
        each = loops.of_map(mapped, node.lineno)
        reader.push([mapped.body], replace(inner, loops=(*inner.loops, each)[-4:]))
    reader.push([each for each in (*node.args, *node.keywords) if each is not mapped], inner)
    reader.push([node.func], _alone(place))


def _assign(reader: _Reader, node: ast.Assign | ast.AnnAssign | ast.NamedExpr, place: _Place) -> None:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if node.value is None:
        return
    value = reader.convert(node.value)
    for target in targets[:8]:
        if isinstance(target, ast.Tuple | ast.List) and isinstance(node.value, ast.Tuple | ast.List):
            for each, part in zip(target.elts[:8], node.value.elts[:8], strict=False):
                reader.bind(each, reader.convert(part), node.lineno, place)
        else:
            reader.bind(target, value, node.lineno, place)
    reader.push([node.value], _alone(place))


def _with(reader: _Reader, node: ast.With | ast.AsyncWith, place: _Place) -> None:
    inner = place
    items: list[tuple[ast.AST, _Place]] = []
    for item in node.items[:_MAX_WITHIN]:
        items.append((item.context_expr, replace(inner, awaited=isinstance(node, ast.AsyncWith))))
        expr = reader.convert(item.context_expr)
        if item.optional_vars is not None:
            reader.bind(item.optional_vars, expr, node.lineno, place)
        if expr.op in {"call", "name", "attr"}:
            inner = replace(inner, within=(*inner.within, expr)[-_MAX_WITHIN:])
    reader.push(node.body, inner)
    reader.pending += reversed(items)


def _for(reader: _Reader, node: ast.For | ast.AsyncFor, place: _Place) -> None:
    reader.bind(node.target, Expr("each", "", (reader.convert(node.iter),), line=node.lineno), node.lineno, place)
    reader.push(node.orelse, place)
    reader.push(node.body, replace(place, loops=(*place.loops, loops.of_for(node))[-4:]))
    reader.push([node.iter], place)


def _while(reader: _Reader, node: ast.While, place: _Place) -> None:
    reader.push(node.orelse, place)
    around = loops.of_while(node)
    reader.push(node.body, replace(place, loops=(*place.loops, around)[-4:]))
    reader.push([node.test], replace(place, loops=(*place.loops, replace(around, over="polls"))[-4:]))


def _comprehension(reader: _Reader, node: ast.expr, place: _Place) -> None:
    assert isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp)
    inner = _alone(place)
    parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
    for generator in node.generators[:6]:
        reader.push([generator.iter], inner)
        inner = replace(inner, loops=(*inner.loops, loops.of_comprehension(generator, node))[-4:])
        reader.push(list(generator.ifs), inner)
    reader.push(parts, inner)


def _branch(reader: _Reader, node: ast.If | ast.IfExp, place: _Place) -> None:
    """Both sides; one that is only gone into where a local copy lacks something is marked as such."""
    body = [node.body] if isinstance(node, ast.IfExp) else node.body
    if not place.function and _asks_for_main(node.test):
        reader.push(list[ast.AST](body), replace(place, by_hand=True))
        return
    other = [node.orelse] if isinstance(node, ast.IfExp) else node.orelse
    missing, present = loops.sides(node.test)
    missed = place
    if place.loops and (missing or present):
        missed = replace(place, loops=tuple(replace(each, over="misses") for each in place.loops))
    reader.push(list[ast.AST](other), missed if present else place)
    reader.push(list[ast.AST](body), missed if missing else place)
    reader.push([node.test], place)


def _return(reader: _Reader, node: ast.Return | ast.Yield, place: _Place) -> None:
    if node.value is not None:
        reader.returns.setdefault(place.function, []).append(reader.convert(node.value))
        reader.push([node.value], _alone(place))


def _await(reader: _Reader, node: ast.Await, place: _Place) -> None:
    if isinstance(node.value, ast.Name | ast.Attribute):
        awaited = Expr("call", "await", (reader.convert(node.value),), (), node.lineno)
        reader.keep(node, awaited, node.value, replace(place, awaited=True))
    reader.push([node.value], replace(place, awaited=True))


def _expression(reader: _Reader, node: ast.Expr, place: _Place) -> None:
    if not isinstance(node.value, ast.Constant):
        reader.push([node.value], place)


_VISITORS: Final[dict[type[ast.AST], Callable[[_Reader, Any, _Place], None]]] = {
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.ClassDef: _class,
    ast.Import: _import,
    ast.ImportFrom: _import_from,
    ast.Call: _call,
    ast.Assign: _assign,
    ast.AnnAssign: _assign,
    ast.NamedExpr: _assign,
    ast.With: _with,
    ast.AsyncWith: _with,
    ast.For: _for,
    ast.AsyncFor: _for,
    ast.While: _while,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.DictComp: _comprehension,
    ast.If: _branch,
    ast.IfExp: _branch,
    ast.Return: _return,
    ast.Yield: _return,
    ast.Await: _await,
    ast.Expr: _expression,
}
