"""What a call is repeated by: items that each need a call of their own, or pages, attempts, polls, a fixed few."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from skerry.architecture.code.calls.expressions import convert, dotted
from skerry.architecture.code.calls.raw import Expr, RawLoop

_ATTEMPTS: Final = re.compile(r"(?i)attempt|retr(?:y|ies)|tries|backoff|^_+$")
_PAGES: Final = re.compile(
    r"(?i)page|offset|cursor|chunk|batch|start|skip|window|group(?:er|s_of)|count$|month|year|day"
)
_NUMBER_OF_PAGES: Final = re.compile(r"(?:^|[_.])(?:PAGES?|[Pp]ages?)(?:$|_)|[a-z]Pages?(?:$|[A-Z])")
_TIMES: Final = re.compile(
    r"(?i)(?:date|time|span)_?(?:range|windows?|slices?)|rrule|(?:hour|day|week|month|year)s_(?:between|from|in|until)"
)
"""Calls that give days or other windows of time."""
_UNITS: Final = frozenset(("hours", "days", "weeks", "months", "years"))
_FIRST: Final = re.compile(r"(?i)(?:^|_)(?:start|begin|from|since|lower)(?:$|_)")
_LAST: Final = re.compile(r"(?i)(?:^|_)(?:end|finish|stop|to|until|till|upper)(?:$|_)")
_TAKES: Final = frozenset(("pop", "popleft"))
_ADDS: Final = frozenset(("append", "appendleft", "extend", "insert", "add", "update"))
_STREAMS: Final = re.compile(
    r"(?i)consumer|subscri|listen|pubsub|websocket|^ws$|stream|iterator$|messages?$|queue|events?$|feed"
)
_MAX_NODES: Final = 4_000
"""Nodes of a loop's body that are looked at for names that depend on its variable."""


@dataclass(frozen=True, slots=True)
class Around:
    """A loop, with the names that depend on what it goes through."""

    line: int
    over: str
    names: frozenset[str] = frozenset()
    iterated: Expr | None = None


def of_for(node: ast.For | ast.AsyncFor) -> Around:
    """The loop that a `for` is."""
    names = _names(node.target)
    body = _bounded(node.body)
    over = _over(node.iter, names, leaves=any(isinstance(each, ast.Break | ast.Return) for each in body))
    if over == "items" and _until_one_answers(node.body):
        over = "attempts"
    return Around(node.lineno, over, _dependent(names, body), _gone_through(node.iter))


def _until_one_answers(body: list[ast.stmt]) -> bool:
    """Whether each turn tries one, leaves with what it says, and goes on when it fails: other addresses of one thing."""
    tries = body[-1] if body else None
    return isinstance(tries, ast.Try) and bool(tries.handlers) and isinstance(tries.body[-1], ast.Return | ast.Break)


def of_comprehension(generator: ast.comprehension, whole: ast.expr) -> Around:
    """The loop of one `for` of a comprehension."""
    names = _names(generator.target)
    return Around(whole.lineno, _over(generator.iter, names, leaves=False), names, _gone_through(generator.iter))


def of_map(function: ast.Lambda, line: int) -> Around:
    """The loop that `map` is with a function that is written there."""
    return Around(line, "items", frozenset(each.arg for each in function.args.args))


def of_while(node: ast.While) -> Around:
    """A `while`: it polls when it waits in between, takes one item after the other from a list, else it goes through pages."""
    body = _bounded(node.body)
    for each in body:
        if isinstance(each, ast.Call) and re.search(r"(?:^|\.)(?:sleep|wait)$", _dotted(each.func)):
            return Around(node.lineno, "polls")
    taken = _taken(node.test, body)
    return Around(node.lineno, "items", _dependent(taken, body)) if taken else Around(node.lineno, "pages")


def _taken(test: ast.expr, body: list[ast.AST]) -> frozenset[str]:
    """Names for what is taken from the list that is asked for; none where answers add to it, which only then can be asked for."""
    those = test.id if isinstance(test, ast.Name) else ""
    methods = {_dotted(each.func) for each in body if isinstance(each, ast.Call)} if those else set[str]()
    if any(f"{those}.{name}" in methods for name in _ADDS):
        return frozenset()
    return frozenset(
        name
        for each in body
        if isinstance(each, ast.Assign) and isinstance(each.value, ast.Call)
        if those and _dotted(each.value.func) in {f"{those}.{name}" for name in _TAKES}
        for name in _names(each.targets[0])
    )


def around(node: ast.expr, loops: tuple[Around, ...]) -> RawLoop | None:
    """The loop that says most of a call: one through items that the call depends on, else the innermost."""
    if not loops:
        return None
    used = {each.id for each in _bounded([node]) if isinstance(each, ast.Name)}
    for each in reversed(loops):
        if each.over == "items" and used & each.names:
            return RawLoop(each.line, each.over, True, each.iterated)
    last = loops[-1]
    return RawLoop(last.line, last.over, bool(used & last.names), last.iterated)


def sides(test: ast.expr) -> tuple[bool, bool]:
    """Whether the first, and whether the other side of an `if` is where something was looked for and not found."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = sides(test.operand)
        return inner[1] or isinstance(test.operand, ast.Name | ast.Call), inner[0]
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        none = isinstance(test.comparators[0], ast.Constant) and test.comparators[0].value is None
        if isinstance(test.ops[0], ast.NotIn) or (none and isinstance(test.ops[0], ast.Is)):
            return True, False
        if isinstance(test.ops[0], ast.In) or (none and isinstance(test.ops[0], ast.IsNot)):
            return False, True
    if isinstance(test, ast.Name):
        return False, True
    return False, False


def _over(iterated: ast.expr, names: frozenset[str], *, leaves: bool) -> str:
    if isinstance(iterated, ast.Tuple | ast.List | ast.Set | ast.Dict):
        return "fixed"
    called = _dotted(iterated)
    last = called.rpartition(".")[2]
    if isinstance(iterated, ast.Call) and last == "enumerate" and iterated.args:
        return _over(iterated.args[0], names, leaves=leaves)
    if re.search(r"(?i)attempt|retry", called) or any(_ATTEMPTS.search(name) for name in names):
        return "attempts"
    if isinstance(iterated, ast.Call) and last in {"range", "count"}:
        return _over_numbers(iterated, names, leaves=leaves)
    if re.search(r"(?i)batch|chunk|pages|paginat|grouper", last) or _times(iterated, last, names):
        return "pages"
    return "polls" if _STREAMS.search(last) else "items"


def _times(iterated: ast.expr, last: str, names: frozenset[str]) -> bool:
    """Whether windows of time are gone through: a call that is named so, or that makes of a first and a last those of each."""
    if not isinstance(iterated, ast.Call):
        return False
    given = [*iterated.args, *(each.value for each in iterated.keywords)]
    return bool(_TIMES.search(last)) or all(map(_bounds, (names, {_dotted(each).rpartition(".")[2] for each in given})))


def _bounds(names: Iterable[str]) -> bool:
    """Whether names tell of a first and a last."""
    return all(any(map(bound.search, names)) for bound in (_FIRST, _LAST))


def _over_numbers(iterated: ast.Call, names: frozenset[str], *, leaves: bool) -> str:
    """`range` and `count`: pages and chunks, attempts that end with the first success, or the indexes of items."""
    if len(iterated.args) > 2 or _dotted(iterated).endswith("count") or any(_PAGES.search(name) for name in names):
        return "pages"
    parts = _bounded(iterated.args)
    if any(isinstance(each, ast.Attribute) and each.attr in _UNITS for each in parts):  # `(end - start).days`
        return "pages"
    if any(isinstance(each, ast.Name | ast.Attribute) and _NUMBER_OF_PAGES.search(_dotted(each)) for each in parts):
        return "pages"
    sized = any(isinstance(each, ast.Call) and _dotted(each.func) == "len" for each in iterated.args)
    return "attempts" if leaves and not sized else "items"


def _gone_through(iterated: ast.expr) -> Expr | None:
    """What is gone through, where it is a name, or the items of one."""
    method = iterated.func if isinstance(iterated, ast.Call) and not iterated.args else None
    if isinstance(method, ast.Attribute) and method.attr in {"items", "values", "keys"}:
        return _gone_through(method.value)
    if (
        isinstance(iterated, ast.Call)
        and _dotted(iterated.func) in {"enumerate", "sorted", "list", "zip"}
        and iterated.args
    ):
        return _gone_through(iterated.args[0])
    return convert(iterated) if isinstance(iterated, ast.Name | ast.Attribute) else None


def _dependent(names: frozenset[str], body: list[ast.AST]) -> frozenset[str]:
    """`names`, and what is made of them in the body."""
    found = set(names)
    for each in body:
        if not isinstance(each, ast.Assign | ast.AnnAssign | ast.NamedExpr | ast.AugAssign) or each.value is None:
            continue
        if any(isinstance(part, ast.Name) and part.id in found for part in _bounded([each.value])):
            for target in each.targets if isinstance(each, ast.Assign) else [each.target]:
                found |= _names(target)
    return frozenset(found)


def _names(target: ast.expr) -> frozenset[str]:
    """Names that a target gives a value to; an attribute or item of something else gives none."""
    if isinstance(target, ast.Name):
        return frozenset((target.id,))
    if isinstance(target, ast.Tuple | ast.List):
        return frozenset(name for each in target.elts[:50] for name in _names(each))
    return _names(target.value) if isinstance(target, ast.Starred) else frozenset()


def _bounded(nodes: list[ast.stmt] | list[ast.expr]) -> list[ast.AST]:
    """The nodes and all below them in the order of the code, functions within left out, up to a bound."""
    found: list[ast.AST] = []
    pending: list[ast.AST] = list(reversed(nodes))
    while pending and len(found) < _MAX_NODES:
        node = pending.pop()
        found.append(node)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            pending += reversed(list(ast.iter_child_nodes(node)))
    return found


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return _dotted(node.func)
    if isinstance(node, ast.Attribute):
        return dotted(node) or f"?.{node.attr}"
    return dotted(node)
