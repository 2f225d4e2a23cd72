"""Breakers and retries around a call: decorators, contexts, what calls it, what the client was made with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from skerry.architecture.code.calls.raw import Expr, RawCall
from skerry.architecture.code.calls.values import Is, Scope, Value, steps
from skerry.architecture.code.calls.world import World
from skerry.architecture.code.facts import Guard
from skerry.architecture.source import Place

BREAKER: Final = re.compile(r"(?i)breaker|circuit|purgatory|failsafe|outlier")
RETRY: Final = re.compile(
    r"(?i)(?:^|[._])(?:tenacity|backoff|stamina|a?retry(?:ing)?|retryable|retries|asyncretrying)(?:[._(]|$)"
)
_MAX_HOPS: Final = 3


@dataclass(frozen=True, slots=True)
class Guards:
    """Finds what guards a call; `world` says what expressions stand for."""

    world: World

    def breaker(self, call: RawCall, scope: Scope, client: Value | None) -> Guard | None:
        """The breaker of a call: around it, on its function, on everything that calls it, or in its client."""
        return self._of_client(client) or self._around(call, scope, BREAKER, hops=0)

    def retry(self, call: RawCall, scope: Scope) -> Guard | None:
        """The retry around a call or on its function."""
        return self._around(call, scope, RETRY, hops=_MAX_HOPS)

    def _around(self, call: RawCall, scope: Scope, wanted: re.Pattern[str], *, hops: int) -> Guard | None:
        for expr in reversed(call.within):
            found = self._is(expr, scope, wanted)
            if found:
                return Guard(found, Place(scope.file, expr.line))
        known = self.world.functions.get((scope.file, call.function))
        if known is None:
            return None
        for expr in known.decorators:
            found = self._is(expr, Scope(scope.file, "", known.cls), wanted)
            if found:
                return Guard(found, Place(scope.file, expr.line or known.line))
        if hops >= _MAX_HOPS:
            return None
        guards = [
            self._around(outer, where, wanted, hops=hops + 1)
            for where, outer in self.world.callers(scope.file, known.name)
        ]
        sure = [each for each in guards if each is not None]
        return sure[0] if sure and len(sure) == len(guards) else None

    def _is(self, expr: Expr, scope: Scope, wanted: re.Pattern[str]) -> str:
        """The name of the guard that an expression is; `` for what is none."""
        target = expr.args[0] if expr.op == "call" and expr.args else expr
        value = self.world.value(target, scope)
        for each in (*steps(value), *steps(self.world.value(expr, scope))):
            if each.kind not in {Is.UNKNOWN, Is.NUMBER, Is.TEXT, Is.NONE} and wanted.search(each.name):
                return each.name
        written = target.name or (target.args[0].name if target.args else "")
        known = value.kind in {Is.UNKNOWN, Is.FUNCTION, Is.INSTANCE}
        return written if known and wanted.search(written) else ""

    def _of_client(self, client: Value | None) -> Guard | None:
        """A breaker that a client was made with, such as a transport of its own."""
        if client is None or client.expr is None or client.scope is None:
            return None
        for key in ("breaker", "circuit_breaker", "transport", "interceptors", "middleware"):
            given = client.expr.keyword(key)
            found = self._is(given, client.scope, BREAKER) if given is not None else ""
            if found:
                return Guard(found, Place(client.scope.file, client.line))
        return None
