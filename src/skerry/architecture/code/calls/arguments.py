"""The arguments of a call: its own, those that a partial was given before, and what is passed as `**`."""

from __future__ import annotations

from dataclasses import dataclass

from skerry.architecture.code.calls.raw import Expr
from skerry.architecture.code.calls.values import UNKNOWN, Is, Scope, Value
from skerry.architecture.code.calls.world import World

Given = tuple[Expr, Scope]


@dataclass(frozen=True, slots=True)
class Arguments:
    """Arguments by name or position, each with the scope that it has to be read in."""

    world: World
    expr: Expr | None
    scope: Scope
    before: tuple[Given, ...] = ()
    """Calls of `functools.partial` that it goes through, the nearest first."""

    def given(self, name: str, index: int = -1) -> Given | None:
        """The argument by its name, else by its position; None where none can be seen."""
        if self.expr is None:
            return None
        shift = sum(len(expr.args) - 2 for expr, _ in self.before)
        own = self.expr.given(name, index - shift if index >= shift else -1)
        if own is not None:
            return own, self.scope
        for expr, scope in self.before:
            found = expr.keyword(name) or (expr.positional(index + 1) if index >= 0 else None)
            if found is not None:
                return found, scope
        for spread in self.expr.spread:
            found_in = self._in(spread, name)
            if found_in is not None:
                return found_in
        return None

    def value(self, name: str, index: int = -1) -> Value:
        """What the argument stands for."""
        found = self.given(name, index)
        return self.world.value(*found) if found is not None else UNKNOWN

    def open_ended(self) -> bool:
        """Whether more may be passed than can be seen."""
        return self.expr is not None and any(
            self.world.value(each, self.scope).kind is not Is.MAPPING and not self._is_rest(each)
            for each in self.expr.spread
        )

    def passed_on(self) -> bool:
        """Whether the function's own `**kwargs` are passed on."""
        return self.expr is not None and any(map(self._is_rest, self.expr.spread))

    def _in(self, spread: Expr, name: str) -> Given | None:
        if self._is_rest(spread):
            known = self.world.functions[self.scope.file, self.scope.function]
            if self.scope.frame is not None and name in self.scope.frame:
                return self.scope.frame[name]
            return (known.sets[-1], self.scope) if name == "timeout" and known.sets else None
        found = self.world.value(spread, self.scope)
        if found.kind is not Is.MAPPING or found.expr is None:
            return None
        value = found.expr.keyword(name)
        return (value, found.scope or self.scope) if value is not None else None

    def _is_rest(self, spread: Expr) -> bool:
        known = self.world.functions.get((self.scope.file, self.scope.function))
        return known is not None and spread.op == "name" and spread.name == known.rest != ""


def arguments(world: World, made: Value, scope: Scope) -> Arguments:
    """The arguments that something was made with; none where only its type is known."""
    return Arguments(world, made.expr, made.scope or scope)
