"""Whether a call ends by itself: its own time-out, its client's, what stands around it, what the library does."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from skerry.architecture.code.calls.arguments import Arguments, Given, arguments
from skerry.architecture.code.calls.raw import Expr, RawCall
from skerry.architecture.code.calls.values import Is, Scope, Value
from skerry.architecture.code.calls.world import UNSEEN, World
from skerry.architecture.code.facts import Bound, Timeout
from skerry.architecture.source import Place

_AROUND: Final = {
    "asyncio.timeout": 0,
    "asyncio.timeout_at": 0,
    "asyncio.wait_for": 1,
    "async_timeout.timeout": 0,
    "anyio.fail_after": 0,
    "anyio.move_on_after": 0,
    "trio.fail_after": 0,
    "trio.move_on_after": 0,
    "skerry.resilience.within": 0,
    "skerry.resilience.timeout": 0,
}
"""Functions that end what an event loop waits for within them, and the position of the limit."""
_AROUND_ANY: Final = {"eventlet.Timeout": 0, "gevent.Timeout": 0, "nameko.timeout": 0, "func_timeout.func_timeout": 0}
"""The same for code that waits without `await`."""
_DECORATORS: Final = re.compile(r"(?i)(?:^|[._])(?:timeout|func_set_timeout|time_?limit|fail_after|with_timeout)$")
_MAX_HOPS: Final = 3
_MAX_FRAMES: Final = 8
_ORDER: Final = (Bound.BOUNDED, Bound.DEFAULT, Bound.UNKNOWN, Bound.UNBOUNDED)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Reads limits; `world` says what expressions stand for."""

    world: World

    def explicit(self, given: Given) -> Timeout:
        """The limit that an argument is."""
        expr, scope = given
        value = self.world.value(expr, scope)
        if value.kind is Is.UNKNOWN and scope.frame is not None:
            left_out = self._left_out(expr, scope)
            if left_out is not None:
                return left_out
        if value.kind in {Is.UNKNOWN, Is.NONE} and expr.op == "name" and scope.frame is None:
            asked = self._by_callers(expr.name, scope)
            if asked is not None:
                return asked
        return self.of(value, Place(scope.file, expr.line))

    def _left_out(self, expr: Expr, scope: Scope) -> Timeout | None:
        """No limit, where a function wants it by name and this call of it says none; None for all else.

        Only of what is sure: a plain function, an argument that can be given by name alone, and no `**` that may hold it.
        """
        for _ in range(_MAX_FRAMES):
            known = self.world.functions.get((scope.file, scope.function))
            if known is None or expr.op != "name" or scope.frame is None or UNSEEN in scope.frame:
                return None
            if expr.name in scope.frame:
                expr, scope = scope.frame[expr.name]
                continue
            wanted = any(each.name == expr.name and each.by_name and each.default is None for each in known.parameters)
            if not wanted or known.decorators:
                return None
            why = f"`{expr.name}`, the limit that {known.name} wants, is left out and has no default"
            return Timeout(Bound.UNBOUNDED, None, why, Place(scope.file, known.line))
        return None

    def of(self, value: Value, place: Place) -> Timeout:
        """The limit that a value is."""
        where = Place(value.scope.file, value.line) if value.kind is Is.MADE and value.scope and value.line else place
        match value.kind:
            case Is.NUMBER if value.seconds is None or math.isfinite(value.seconds):
                return Timeout(Bound.BOUNDED, value.seconds, "given", place)
            case Is.NUMBER | Is.NONE:
                return Timeout(Bound.UNBOUNDED, None, "the time-out is taken away", place)
            case Is.SEQUENCE if value.expr is not None and value.expr.args:
                last = value.expr.args[-1]
                return self.of(self.world.value(last, value.scope or Scope(place.file)), place)
            case Is.TEXT:
                return Timeout(Bound.BOUNDED, None, "from the environment", place)
            case Is.MADE:
                return self._made(value, where)
            case _:
                return Timeout(Bound.UNKNOWN, None, "the time-out is a value that reading does not tell", place)

    def _made(self, value: Value, place: Place) -> Timeout:
        args = arguments(self.world, value, value.scope or Scope(place.file))
        last = value.name.rpartition(".")[2]
        if last == "ClientTimeout":
            for name, index in (("total", 0), ("sock_read", 3)):
                given = args.given(name, index)
                found = self.explicit(given) if given else None
                if found is not None and found.bound is not Bound.UNBOUNDED:
                    return found
            return Timeout(Bound.UNBOUNDED, None, "ClientTimeout without a total", place)
        if last == "Timeout":
            reading = args.given("read", -1) or args.given("timeout", 0) or args.given("total")
            if reading is not None:
                return self.explicit(reading)
            return Timeout(Bound.UNKNOWN, None, "a time-out whose reading part is not seen", place)
        return Timeout(Bound.UNKNOWN, None, "the time-out is a value that reading does not tell", place)

    def _by_callers(self, name: str, scope: Scope) -> Timeout | None:
        """The worst that the callers of a function pass for a parameter; None where it is no parameter."""
        known = self.world.functions.get((scope.file, scope.function))
        parameter = next((each for each in known.parameters if each.name == name), None) if known else None
        if known is None or parameter is None:
            return None
        default = (parameter.default, Scope(scope.file)) if parameter.default is not None else None
        found = []
        for where, call in self.world.callers(scope.file, known.name):
            given = self.world.frame(known, call.expr, where).get(name, default)
            if given is not None:
                found.append(self.of(self.world.value(*given), Place(where.file, call.line)))
        if found:
            return worst(found)
        return self.of(self.world.value(*default), Place(scope.file, known.line)) if default is not None else None

    def around(self, call: RawCall, scope: Scope, *, hops: int = 0) -> Timeout | None:
        """The limit of what stands around a call, in its function or in all functions that call it."""
        for each in reversed(call.within):
            found = self._limits(each, scope, waits=call.awaited or hops > 0)
            if found is not None:
                return found
        known = self.world.functions.get((scope.file, call.function))
        if known is None:
            return None
        for decorator in known.decorators:
            found = self._decorated(decorator, scope.file)
            if found is not None:
                return found
        if hops >= _MAX_HOPS:
            return None
        limits = [
            self.around(outer, where, hops=hops + 1) if outer.awaited or outer.within or not known.is_async else None
            for where, outer in self.world.callers(scope.file, known.name)
        ]
        sure = [each for each in limits if each is not None]
        return worst(sure) if sure and len(sure) == len(limits) else None

    def _limits(self, expr: Expr, scope: Scope, *, waits: bool) -> Timeout | None:
        if expr.op != "call":
            return None
        callee = self.world.value(expr.args[0], scope)
        position = _AROUND.get(callee.name) if waits or callee.name == "asyncio.wait_for" else None
        position = _AROUND_ANY.get(callee.name) if position is None else position
        if callee.kind is not Is.EXTERNAL or position is None:
            return None
        given = Arguments(self.world, expr, scope).given("timeout", position) or Arguments(
            self.world, expr, scope
        ).given("delay")
        found = self.explicit(given) if given is not None else None
        return found if found is not None and found.bound is not Bound.UNBOUNDED else None

    def _decorated(self, expr: Expr, file: str) -> Timeout | None:
        if expr.op != "call":
            return None
        value = self.world.value(expr, Scope(file))
        name = value.name if value.kind is Is.MADE else expr.args[0].name
        given = expr.positional(0) or expr.keyword("seconds") or expr.keyword("timeout")
        if not _DECORATORS.search(name) or given is None:
            return None
        found = self.explicit((given, Scope(file)))
        return found if found.bound is not Bound.UNBOUNDED else None


def worst(limits: Iterable[Timeout]) -> Timeout:
    """The limit that says least."""
    return max(limits, key=lambda each: (_ORDER.index(each.bound), each.seconds or 0.0))
