"""What a function does to state, in order, with what stands around each step: the stuff that workflows are made of."""

from __future__ import annotations

import ast
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from skerry.architecture.code.facts import Message, TableUse
from skerry.architecture.code.structure.graph import target
from skerry.architecture.code.structure.raw import Step
from skerry.architecture.code.structure.walk import FunctionNode, Walk

UNDO: Final = re.compile(
    r"(?:^|[_./:\s-])(?:un|de)?(?:cancel|compensat\w*|rollback|roll_back|refund|release|revert|undo|restore|void|unreserve|"
    r"reverse|abort|compensation|withdraw_event|unwind|cleanup|clean_up|delete|remove|destroy)",
    re.IGNORECASE,
)
_OWNERS: Final = re.compile(
    r"(?:session|conn|connection|db|database|tx|transaction|uow|unit_of_work|engine|cursor|cnx|s)$",
    re.IGNORECASE,
)
_BLOCKS: Final = re.compile(r"(?:^|\.)(?:atomic|begin|transaction|begin_nested|unit_of_work|UnitOfWork|uow)$")
_IMMEDIATE: Final = re.compile(r"\.objects\.|(?:_one|_many|_and_update|_and_replace|_and_delete|\.bulk_write)$")
"""Writes that stand by themselves, as with Django outside of `atomic` and with MongoDB."""
_EXITS: Final = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_MAX_STEPS: Final = 400
"""Steps of one function."""


@dataclass(slots=True)
class _Around:
    tries: tuple[int, ...] = ()
    handler: int = 0
    branches: tuple[str, ...] = ()
    block: int = 0
    """Last line of the transaction that it stands in."""

    def within(self, **changed: object) -> _Around:
        kept = {"tries": self.tries, "handler": self.handler, "branches": self.branches, "block": self.block}
        return _Around(**{**kept, **changed})  # type: ignore[arg-type]


@dataclass(slots=True)
class _Reader:
    found: Walk
    function: str
    sends: dict[int, Message]
    writes: dict[int, TableUse]
    calls: list[tuple[tuple[int, int], ast.Call]]
    """The calls of the function by where they end, so that what is given to a call comes before it."""
    steps: list[Step] = field(default_factory=list)

    def body(self, body: Iterable[ast.stmt], around: _Around) -> None:
        for each in body:
            self.statement(each, around)

    def statement(self, node: ast.stmt, around: _Around) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            return
        if isinstance(node, (ast.Try, ast.TryStar)):
            self.body(node.body, around.within(tries=(*around.tries, node.lineno)))
            self.body(node.orelse, around)
            for handler in node.handlers:
                self.body(handler.body, around.within(handler=node.lineno))
            self.body(node.finalbody, around.within(handler=node.lineno))
        elif isinstance(node, ast.If):
            self.expressions(node.test, around)
            for side, body in enumerate((node.body, node.orelse)):
                ends = "!" if body and isinstance(body[-1], _EXITS) else ""
                self.body(body, around.within(branches=(*around.branches, f"{node.lineno}:{side}{ends}")))
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            self.context(node, around)
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.While)):
            self.expressions(node.iter if not isinstance(node, ast.While) else node.test, around)
            self.body([*node.body, *node.orelse], around)
        elif isinstance(node, ast.Match):
            for side, case in enumerate(node.cases):
                self.body(case.body, around.within(branches=(*around.branches, f"{node.lineno}:{side}")))
        else:
            self.expressions(node, around)

    def context(self, node: ast.With | ast.AsyncWith, around: _Around) -> None:
        last = node.end_lineno or node.lineno
        opens = False
        for item in node.items:
            self.expressions(item.context_expr, around)
            each = item.context_expr
            name = self.found.dotted(each.func if isinstance(each, ast.Call) else each)
            opens = opens or bool(_BLOCKS.search(name))
        inner = around.within(block=last) if opens else around
        self.body(node.body, inner)
        if opens and not around.block and any(node.lineno <= line <= last for line in self.writes):
            self.add("commit", last, "transaction", around)

    def expressions(self, node: ast.AST, around: _Around) -> None:
        first = (getattr(node, "lineno", 0), getattr(node, "col_offset", 0))
        last = (getattr(node, "end_lineno", 0) or 0, getattr(node, "end_col_offset", 0) or 0)
        for end, call in self.calls[
            bisect_left(self.calls, first, key=_end) : bisect_right(self.calls, last, key=_end)
        ]:
            if (call.lineno, call.col_offset) >= first and end <= last:
                self.call(call, around)

    def call(self, call: ast.Call, around: _Around) -> None:
        full = self.found.dotted(call.func)
        owner, _, last = full.rpartition(".")
        message = self.sends.get(call.lineno)
        if message is not None and message.library == "skerry":
            self.add("outbox", call.lineno, message.topic, around)
        elif message is not None and last not in {"delay", "apply_async"}:
            self.sends.pop(call.lineno)
            self.add("publish", call.lineno, message.topic, around)
        elif last == "commit" and (not owner or _OWNERS.search(owner)):
            self.add("commit", call.lineno, full, around)
        elif last == "rollback":
            self.add("undo", call.lineno, full, around)
        elif "outbox" in full.lower():
            self.add("outbox", call.lineno, full, around)
        elif call.lineno in self.writes and _IMMEDIATE.search(full):
            self.add("commit", call.lineno, self.writes[call.lineno].table.lstrip("@"), around)
        else:
            name = target(self.found, self.function, call.func)
            self.add("call", call.lineno, name or full, around)

    def add(self, what: str, line: int, name: str, around: _Around) -> None:
        if what == "commit" and around.block and line < around.block:
            return
        if len(self.steps) < _MAX_STEPS:
            step = Step(self.function, what, line, name, around.tries, around.handler, around.branches)
            self.steps.append(step)


def read(found: Walk, messages: Iterable[Message], uses: Iterable[TableUse]) -> tuple[Step, ...]:
    """The steps of every function, in order. Only calls that some other function or library answers are kept."""
    sends = {
        each.place.line: each for each in messages if each.sends and (each.library != "celery" or "." in each.topic)
    }
    writes = {each.place.line: each for each in uses if each.writes}
    steps: list[Step] = []
    calls: dict[str, list[tuple[tuple[int, int], ast.Call]]] = {}
    for name, call in found.calls:
        calls.setdefault(name, []).append(((call.end_lineno or 0, call.end_col_offset or 0), call))
    for name, node in found.functions.items():
        if name not in calls:
            continue
        reader = _Reader(found, name, dict(sends), writes, sorted(calls[name], key=_end))
        with suppress(RecursionError):  # thousands of `elif`: what was read up to there stays
            reader.body(node.body, _Around())
        steps += reader.steps
    return tuple(steps)


def _end(each: tuple[tuple[int, int], ast.Call]) -> tuple[int, int]:
    return each[0]


def span(node: FunctionNode) -> tuple[int, int]:
    """First and last line of a function."""
    return node.lineno, node.end_lineno or node.lineno
