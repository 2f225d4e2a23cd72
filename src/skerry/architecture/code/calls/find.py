"""All calls of a repository that wait for somebody else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from skerry.architecture.code.calls.arguments import Arguments, Given
from skerry.architecture.code.calls.bounds import Bounds
from skerry.architecture.code.calls.guards import Guards
from skerry.architecture.code.calls.libraries import Libraries
from skerry.architecture.code.calls.likely import handed_on
from skerry.architecture.code.calls.raw import Expr, RawCall, RawCalls, RawLoop
from skerry.architecture.code.calls.seen import Seen
from skerry.architecture.code.calls.values import UNKNOWN, Is, Scope, Value
from skerry.architecture.code.calls.world import World
from skerry.architecture.code.facts import Bound, Call, Guard, Kind, Loop, Role, Target, Timeout
from skerry.architecture.code.structure import Resolved
from skerry.architecture.source import Place

_QUEUES: Final = frozenset(("aio_pika", "aiormq", "aiokafka", "nats", "pika", "kombu"))
_READING: Final = frozenset(("GET", "HEAD", "OPTIONS", "REQUEST", "STREAM"))
"""Methods that change nothing, and those of calls whose method is not known."""
_HEALTH: Final = re.compile(r"(?i)/(?:health|ready|readiness|live|liveness|ping|status|version)(?:z|/|$)")
_JOBS: Final = re.compile(
    r"(?:^|\.)(?:task|shared_task|periodic_task|scheduled_job|on_after_configure|actor|job|cron)$"
)
_COMMANDS: Final = re.compile(r"(?:^|\.)(?:command|callback)$")
_MAX_LOOPS: Final = 20
_MAX_TARGETS: Final = 24
_MAX_HOPS: Final = 2
_MAX_PARTIALS: Final = 4


def calls(raw: Mapping[str, RawCalls], known: Resolved) -> tuple[Call, ...]:
    """Every call that leaves the process, with what bounds, guards and repeats it."""
    world = World(raw, known)
    finder = _Finder(world, known)
    found = [each for path in raw for each in finder.of_file(path, raw[path])]
    found = [_repeated(world, each) for each in found]
    return tuple(sorted(found, key=lambda each: (each.place.file, each.place.line, each.operation)))


class _Finder:
    def __init__(self, world: World, known: Resolved) -> None:
        self._world = world
        self._known = known
        self._bounds = Bounds(world)
        self._guards = Guards(world)
        sockets = frozenset(path.split("/")[0] for path, _ in world.bodies.named("setdefaulttimeout"))
        self._libraries = Libraries(world, self._bounds, sockets)
        self._imported = frozenset(other for those in known.imports.values() for other in those)

    def of_file(self, path: str, raw: RawCalls) -> Iterator[Call]:
        """The calls of one file, each place once."""
        if not raw.likely:
            return
        tops = frozenset(name.lstrip(".").split(".")[0] for _, name in raw.imports)
        seen: set[tuple[int, str]] = set()
        for raw_call in self._world.bodies.of(path).calls:
            scope = self._world.scope(path, raw_call)
            for call, found in self._seen(raw_call, scope, tops) if raw_call.likely else ():
                if (call.line, call.text) not in seen:
                    seen.add((call.line, call.text))
                    yield from self._by_target(self._made(call, scope, found), call, found, tops)

    def _seen(self, call: RawCall, scope: Scope, tops: frozenset[str]) -> Iterator[tuple[RawCall, Seen]]:
        """What a call is to its library, with the call itself or what it comes to; nothing for what stays in the process."""
        if call.expr.name == "await":
            yield from self._answer(call, scope, tops)
            return
        found = self._of_library(call.expr, scope)
        if found is not None:
            yield call, found
            return
        as_if = handed_on(call)
        inner = self._of_library(as_if.expr, scope) if as_if is not None else None
        if as_if is not None and inner is not None:
            yield as_if, inner

    def _of_library(self, expr: Expr, scope: Scope) -> Seen | None:
        callee = self._world.value(expr.args[0], scope)
        before: tuple[Given, ...] = ()
        while (
            callee.kind is Is.PARTIAL and callee.base and callee.expr and callee.scope and len(before) < _MAX_PARTIALS
        ):
            before = (*before, (callee.expr, callee.scope))
            callee = callee.base
        return self._libraries.seen(callee, Arguments(self._world, expr, scope, before))

    def _by_target(self, made: Call, call: RawCall, seen: Seen, tops: frozenset[str]) -> Iterator[Call]:
        """A call of a wrapper goes where each of its callers says: one call for each address."""
        targets = {made.target: made.path}
        if seen.kind in {Kind.HTTP, Kind.GRPC} and call.expr.name != "await":
            for scope in self._scopes(made.place.file, call.function):
                for _, other in self._seen(call, scope, tops):
                    target, path = _target(other)
                    if target.variables or target.service or "://" in target.url:
                        targets.setdefault(target, path)
        if len(targets) > 1 and not (made.target.variables or made.target.service or "://" in made.target.url):
            del targets[made.target]
        yield from (replace(made, target=target, path=path) for target, path in targets.items())

    def _scopes(self, file: str, function: str, hops: int = 0) -> list[Scope]:
        """A function as each of its callers calls it; a bounded number."""
        known = self._world.functions.get((file, function))
        found: list[Scope] = []
        if known is None:
            return found
        for where, outer in self._world.callers(file, function):
            above = self._scopes(where.file, outer.function, hops + 1) if hops < _MAX_HOPS and outer.function else []
            for scope in above or [where]:
                base = self._world.value(outer.expr.args[0], scope).base
                this = base if base is not None and base.kind is Is.INSTANCE else None
                frame = self._world.frame(known, outer.expr, scope)
                found.append(Scope(file, function, known.cls, frame, this))
        if known.cls and not found:
            for where, outer in self._world.callers(file, f"{known.cls}.__init__"):
                this = Value(Is.INSTANCE, known.cls, file, expr=outer.expr, scope=where)
                found.append(Scope(file, function, known.cls, None, this))
        return found[:_MAX_TARGETS]

    def _answer(self, call: RawCall, scope: Scope, tops: frozenset[str]) -> Iterator[tuple[RawCall, Seen]]:
        """A future that somebody else's message fulfils."""
        value = self._world.value(call.expr.args[0], scope) if tops & _QUEUES else UNKNOWN
        if value.kind is Is.MADE and value.name.rpartition(".")[2] in {"create_future", "Future"}:
            library = min(tops & _QUEUES)
            limit = Timeout(Bound.UNBOUNDED, None, "an answer that does not come is waited for for ever")
            yield call, Seen(library=library, kind=Kind.RPC, operation="answer", limit=limit, writes=True)

    def _made(self, call: RawCall, scope: Scope, seen: Seen) -> Call:
        place = Place(scope.file, call.line)
        limit = seen.limit
        if limit.bound is not Bound.BOUNDED:
            limit = self._bounds.around(call, scope) or limit
        target, path = _target(seen)
        writes = seen.writes if seen.writes is not None else seen.operation.upper() not in _READING
        return Call(
            place=place,
            function=call.function if call.function != call.cls else "",
            library=seen.library,
            kind=seen.kind,
            operation=seen.operation,
            target=target,
            path=path,
            timeout=limit if limit.place is not None else replace(limit, place=place),
            breaker=seen.breaker or self._breaker(call, scope, seen),
            retry=self._guards.retry(call, scope),
            loop=self._loop(call, scope, path),
            writes=writes and seen.kind is not Kind.DATABASE,
            role=self._role(call, scope),
            text=call.text,
        )

    def _breaker(self, call: RawCall, scope: Scope, seen: Seen) -> Guard | None:
        return self._guards.breaker(call, scope, seen.client) if seen.kind in {Kind.HTTP, Kind.GRPC, Kind.RPC} else None

    def _loop(self, call: RawCall, scope: Scope, path: str) -> Loop | None:
        if call.loop is None:
            return None
        return _loop_of(self._world, call.loop, scope, Place(scope.file, call.line), path)

    def _role(self, call: RawCall, scope: Scope) -> Role:
        role = self._known.roles.get(scope.file, Role.REQUEST)
        known = self._world.functions.get((scope.file, call.function))
        names = [each.name or (each.args[0].name if each.args else "") for each in known.decorators] if known else []
        if role is Role.REQUEST and (call.by_hand or self._by_hand(scope.file)):
            return Role.SCRIPT
        if role is Role.REQUEST and any(map(_JOBS.search, names)):
            return Role.JOB
        return Role.SCRIPT if role is Role.REQUEST and any(map(_COMMANDS.search, names)) else role

    def _by_hand(self, file: str) -> bool:
        """Whether a file is run by itself, imported by nobody, and answers nobody."""
        structure = self._known.files[file]
        answers = structure.routes or any(not each.sends for each in structure.messages)
        return self._world.raw[file].is_command and file not in self._imported and not answers


def _target(seen: Seen) -> tuple[Target, str]:
    """Whom a call goes to, and the path that it asks for."""
    parts = [each for each in (seen.base, seen.url) if each is not None and each.kind is Is.TEXT]
    variables = tuple(dict.fromkeys(name for each in parts for name in each.variables))
    if seen.kind is not Kind.HTTP:
        url = parts[0].name if parts else ""
        return Target(url, variables, seen.service), seen.path
    own = seen.url.name if seen.url is not None and seen.url.kind is Is.TEXT else ""
    base = seen.base.name if seen.base is not None and seen.base.kind is Is.TEXT else ""
    whole = own if "://" in own or not base else f"{base.rstrip('/')}/{own.lstrip('/')}"
    path = own
    if "://" in own:
        path = "/" + own.partition("://")[2].partition("/")[2]
    elif own.startswith("{}"):
        path = own[2:].lstrip(":").lstrip("{}") if own[2:3] == ":" else own[2:]
    path = path.partition("?")[0]
    return Target(whole, variables, seen.service), path or seen.path


def _loop_of(world: World, loop: RawLoop, scope: Scope, place: Place, path: str) -> Loop:
    over = loop.over
    if over == "items" and loop.iterated is not None:
        through = world.value(loop.iterated, scope)
        if through.kind in {Is.SEQUENCE, Is.MAPPING} and through.expr is not None and through.expr.args:
            over = "fixed"
    if over == "items" and _HEALTH.search(path):
        over = "fixed"
    return Loop(place, over, loop.varies)


def _repeated(world: World, call: Call) -> Call:
    """With the loops around the calls of its function, as far as two functions up."""
    if call.kind not in {Kind.HTTP, Kind.GRPC, Kind.RPC} or not call.function:
        return call
    found: dict[tuple[str, int], Loop] = {}
    pending, done = [((call.place.file, call.function), 0)], set[tuple[str, str]]()
    while pending and len(found) < _MAX_LOOPS:
        (file, function), hops = pending.pop()
        if (file, function) in done:
            continue
        done.add((file, function))
        for where, outer in world.callers(file, function):
            if outer.loop is not None and outer.loop.over == "items" and outer.loop.varies:
                loop = _loop_of(world, outer.loop, where, Place(where.file, outer.line), call.path)
                if loop.over == "items":
                    found[where.file, outer.line] = loop
            elif hops < 1 and outer.loop is None and outer.function:
                pending.append(((where.file, outer.function), hops + 1))
    return replace(call, repeated=tuple(found[key] for key in sorted(found))) if found else call
