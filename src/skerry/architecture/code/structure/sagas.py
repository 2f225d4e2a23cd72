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
_ACTION_NAMES: Final = ("action", "run", "execute", "step", "forward", "do", "transaction")
_CALLABLE: Final = (ast.Name, ast.Attribute, ast.Lambda, ast.Call)
MAX_STEPS: Final = 100
_TAKES_BACK: Final = re.compile(
    r"^_?(?:undo|cancel|compensat|roll_?back|refund|release|revert|unreserve|void|restore|reverse|unbook|give_back)",
    re.IGNORECASE,
)
"""Plain words of undoing: pairs of create and delete are found in many tables of functions that are no saga."""
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
    return (*_decorated(found), *_listed(found), *_paired(found))


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
        action = argument(call, shift, *_ACTION_NAMES)
        undo = argument(call, shift + 1, *_UNDO_NAMES)
        if action is None or (undo is None and "saga" not in found.path.lower() + function.lower() + full):
            continue
        missing = undo is None or (isinstance(undo, ast.Constant) and undo.value is None)
        compensation = "" if missing else _named(found, undo)
        key = function or f"steps at line {call.lineno}"
        yield SagaStep(
            key if function else "saga", _named(found, action), "step", call.lineno, compensation, call.lineno
        )


def _paired(found: Walk) -> Iterator[SagaStep]:
    """`[(reserve, release), (charge, refund), (ship, None)]`, with or without a name first, and the same as dictionaries."""
    for scope, node in found.assigns:
        value = node.value
        if not isinstance(value, (ast.List, ast.Tuple)) or not 2 <= len(value.elts) <= MAX_STEPS:
            continue
        pairs = [_pair(each) for each in value.elts]
        known = [pair for pair in pairs if pair is not None]
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        name = found.dotted(target).rpartition(".")[2] or "steps"
        undone = [undo for _, undo in known if undo is not None]
        telling = "saga" in f"{found.path}.{scope}.{name}".lower()
        undoing = sum(1 for undo in undone if _TAKES_BACK.search(_named(found, undo).rpartition(".")[2]))
        if len(known) != len(pairs) or not undone or not (telling or undoing * 2 >= len(undone)):
            continue
        for each, (action, undo) in zip(value.elts, known, strict=True):
            compensation = _named(found, undo) if undo is not None else ""
            yield SagaStep(
                f"{scope}.{name}".lstrip("."), _named(found, action), "step", each.lineno, compensation, node.lineno
            )


def _pair(node: ast.expr) -> tuple[ast.expr, ast.expr | None] | None:
    """An action and what undoes it, each something that can be called; None for any other pair."""
    if isinstance(node, ast.Dict):
        given = {text_of(key): value for key, value in zip(node.keys, node.values, strict=True) if key is not None}
        action = next((given[key] for key in _ACTION_NAMES if key in given), None)
        undo = next((given[key] for key in _UNDO_NAMES if key in given), None)
    elif isinstance(node, (ast.Tuple, ast.List)) and 2 <= len(node.elts) <= 3:
        parts = node.elts[1:] if text_of(node.elts[0]) is not None else node.elts
        if len(parts) != 2:
            return None
        action, undo = parts
    else:
        return None
    if isinstance(undo, ast.Constant) and undo.value is None:
        undo = None
    if not isinstance(action, _CALLABLE) or not (undo is None or isinstance(undo, _CALLABLE)):
        return None
    return action, undo


def _named(found: Walk, node: ast.expr | None) -> str:
    if isinstance(node, ast.Lambda):
        node = node.body
    if isinstance(node, ast.Call):
        node = node.args[0] if found.dotted(node.func).endswith("partial") and node.args else node.func
    return found.dotted(node) or "?"
