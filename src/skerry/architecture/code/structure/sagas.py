"""Sagas that are written as such: skerry's decorators, and lists of steps with what undoes each."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

from skerry.architecture.code.structure.raw import SagaStep
from skerry.architecture.code.structure.walk import Walk, argument, text_of

_KINDS: Final = frozenset(("step", "pivot", "retriable"))
_ADDERS: Final = frozenset(("add_step", "addstep", "sagastep", "saga_step", "with_step"))
_UNDO_NAMES: Final = (
    "compensation",
    "compensate",
    "compensating_action",
    "rollback",
    "undo",
    "on_failure",
    "compensator",
)


def read(found: Walk) -> tuple[SagaStep, ...]:
    """The steps of every saga, each saga's in its own order."""
    return (*_decorated(found), *_listed(found))


def _decorated(found: Walk) -> Iterator[SagaStep]:
    sagas = {
        name: made for (scope, name), made in found.instances.items() if not scope and re.search(r"(?:^|\.)Saga$", made)
    }
    lines = {
        target.id: node.lineno
        for scope, node in found.assigns
        if not scope and isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    undone = {
        owner: function
        for function, node in found.functions.items()
        for decorator in node.decorator_list
        for owner, name in [_split(found, decorator)]
        if name == "compensate"
    }
    for function, node in found.functions.items():
        for decorator in node.decorator_list:
            owner, name = _split(found, decorator)
            if owner in sagas and name in _KINDS:
                short = function.rpartition(".")[2]
                yield SagaStep(owner, function, name, node.lineno, undone.get(short, ""), lines.get(owner, node.lineno))


def _split(found: Walk, decorator: ast.expr) -> tuple[str, str]:
    full = found.dotted(decorator.func if isinstance(decorator, ast.Call) else decorator)
    owner, _, name = full.rpartition(".")
    return owner, name


def _listed(found: Walk) -> Iterator[SagaStep]:
    """`saga.add_step(reserve, release)`, `SagaStep(action=reserve, compensation=release)`."""
    for function, call in found.calls:
        full = found.dotted(call.func).lower()
        name = full.rpartition(".")[2]
        if name not in _ADDERS and not (name == "step" and any(word.arg in _UNDO_NAMES for word in call.keywords)):
            continue
        shift = 1 if call.args and text_of(call.args[0]) is not None else 0
        action = argument(call, shift, "action", "run", "execute", "step", "forward", "do", "transaction")
        undo = argument(call, shift + 1, *_UNDO_NAMES)
        if action is None or (undo is None and "saga" not in found.path.lower() + function.lower() + full):
            continue
        missing = undo is None or (isinstance(undo, ast.Constant) and undo.value is None)
        compensation = "" if missing else _named(found, undo)
        key = function or f"steps at line {call.lineno}"
        yield SagaStep(
            key if function else "saga", _named(found, action), "step", call.lineno, compensation, call.lineno
        )


def _named(found: Walk, node: ast.expr | None) -> str:
    if isinstance(node, ast.Lambda):
        node = node.body
    if isinstance(node, ast.Call):
        node = node.args[0] if found.dotted(node.func).endswith("partial") and node.args else node.func
    return found.dotted(node) or "?"
