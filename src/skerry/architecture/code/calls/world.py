"""What names and expressions mean across the files of a repository, followed as far as reading tells.

Nothing is run: assignments, parameters with what callers pass, returned values, instances with their constructor's arguments.
Every question has a bounded number of steps; beyond it the answer is that it is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from skerry.architecture.code.calls import likely, settings, texts
from skerry.architecture.code.calls.bodies import Bodies
from skerry.architecture.code.calls.raw import Expr, RawBind, RawCall, RawCalls, RawFunction
from skerry.architecture.code.calls.values import NONE, UNKNOWN, Is, Scope, Value, chain
from skerry.architecture.code.structure import Resolved

_MAX_DEPTH: Final = 40
_MAX_STEPS: Final = 600
_MAX_CALLERS: Final = 12
_MAX_PLACES: Final = 30
_MAX_NAMED: Final = 200
_CALLED: Final = ("property", "cached_property", "functools.cached_property", "reify")
_APPLICATIONS: Final = ("FastAPI", "Flask", "Starlette", "Application")
_REQUESTS: Final = (".Request", ".WebSocket", ".HTTPConnection")
_PLAIN_BASES: Final = frozenset(("BaseModel", "object", "ABC", "Protocol", "Generic", "NamedTuple"))
_SAME: Final = frozenset(
    ("float", "int", "str", "bytes", "decimal.Decimal", "contextlib.closing", "typing.cast", "yarl.URL")
)
UNSEEN: Final = "**"
"""In a frame: what is passed as `**` and may give any parameter."""
_LOOKED_FOR: Final[list[tuple[Scope, RawCall]]] = []
"""The callers of a function while they are looked for: functions may call each other in circles."""


class World:
    """All files beside each other."""

    def __init__(self, raw: Mapping[str, RawCalls], known: Resolved) -> None:
        self.raw = raw
        self.bodies: Bodies = Bodies(raw, known)
        self.functions: dict[tuple[str, str], RawFunction] = self.bodies.functions
        self._modules = known.modules
        self._settings_files = [path for path in raw if settings.is_settings_file(path)]
        self._memo: dict[tuple[int, str, str, str], tuple[Expr, Value]] = {}
        """With the expression itself: an identity is only one as long as what it belongs to is there."""
        self._said: dict[tuple[str, str], Value] = {}
        """What `_starred` found, by name and tree."""
        self._callers: dict[tuple[str, str], list[tuple[Scope, RawCall]]] = {}
        self._open: set[int] = set()
        self._depth = self._steps = self._cuts = 0
        # `_cuts`: how often an answer was cut short; what came of one is only kept where the question began
        self._follow: dict[str, Callable[[Expr, Scope], Value]] = {
            "name": lambda expr, scope: self._dotted(expr.name, scope, expr.line),
            "attr": lambda expr, scope: self.attribute(self.value(expr.args[0], scope), expr.name, scope),
            "call": self._called,
            "text": self._text,
            "item": self._item,
            "or": self._either,
            "each": self._each,
            "arith": self._sum,
        }

    def value(self, expr: Expr | None, scope: Scope) -> Value:
        """What `expr` stands for in `scope`."""
        if not self._depth:
            self._steps = 0
        if expr is None:
            return UNKNOWN
        if self._depth >= _MAX_DEPTH or self._steps > _MAX_STEPS:
            self._cuts += 1
            return UNKNOWN
        plain = scope.frame is None and scope.this is None
        key = (id(expr), scope.file, scope.function, scope.cls)
        if plain and key in self._memo:
            return self._memo[key][1]
        self._depth += 1
        self._steps += 1
        cuts = self._cuts
        try:
            found = self._value(expr, scope)
        finally:
            self._depth -= 1
        if plain and (cuts == self._cuts or not self._depth):
            self._memo[key] = expr, found
        return found

    def _value(self, expr: Expr, scope: Scope) -> Value:
        match expr.op:
            case "none":
                return NONE
            case "num":
                return Value(Is.NUMBER, seconds=float(expr.name))
            case "dict" | "list":
                return Value(Is.MAPPING if expr.op == "dict" else Is.SEQUENCE, expr=expr, scope=scope)
            case _:
                follow = self._follow.get(expr.op)
                return follow(expr, scope) if follow is not None else UNKNOWN

    def _each(self, expr: Expr, scope: Scope) -> Value:
        """An element of what is gone through: the first, where the code lists them."""
        every = self.value(expr.args[0], scope)
        one = every.expr.args[0] if every.kind is Is.SEQUENCE and every.expr and every.expr.args else None
        return self.value(one, every.scope or scope)

    def _sum(self, expr: Expr, scope: Scope) -> Value:
        """Arithmetic: a text that is put together, or a number that is not worked out."""
        parts = [self.value(each, scope) for each in expr.args]
        if expr.name in {"Add", "Div"} and any(each.kind is Is.TEXT for each in parts):
            joint = "/" if expr.name == "Div" else ""
            text = joint.join(each.name if each.kind is Is.TEXT else "{}" for each in parts)
            return Value(Is.TEXT, text[:500], variables=tuple(name for each in parts for name in each.variables))
        return Value(Is.NUMBER) if any(each.kind is Is.NUMBER for each in parts) else UNKNOWN

    # --- names

    def _dotted(self, name: str, scope: Scope, line: int) -> Value:
        first, *rest = name.split(".")
        found = self._plain(first, scope, line)
        for part in rest:
            found = self.attribute(found, part, scope)
        return found

    def _plain(self, name: str, scope: Scope, line: int) -> Value:
        if name in {"self", "cls"} and scope.cls:
            return scope.this or Value(Is.INSTANCE, scope.cls, scope.file)
        function = scope.function
        while function and function != scope.cls:
            found = self._bound(scope.file, function, name, scope, line if function == scope.function else 0)
            found = self._parameter(scope.file, function, name, scope) if found is None else found
            if found is None and (scope.file, f"{function}.{name}") in self.functions:
                return Value(Is.FUNCTION, f"{function}.{name}", scope.file)
            if found is not None:
                return found
            function = function.rpartition(".")[0]
        found = self._bound(scope.file, scope.cls, name, scope) if scope.cls and not scope.function else None
        return found if found is not None else self.in_module(scope.file, name)

    def in_module(self, file: str, name: str, hops: int = 0) -> Value:
        """What `name` is at the top of a module."""
        self.bodies.of(file)
        if (file, name) in self.functions:
            return Value(Is.FUNCTION, name, file)
        if (file, name) in self.bodies.bases:
            return Value(Is.CLASS, name, file)
        found = self._bound(file, "", name, Scope(file))
        if found is None or found.kind in {Is.NONE, Is.UNKNOWN}:
            for bind in self.bodies.globals.get((file, name), ())[:4] if found is not None else ():
                later = self._of_bind(bind, Scope(file, bind.function))
                found = later if later.kind not in {Is.NONE, Is.UNKNOWN} else found
        if found is not None:
            return found
        target = self.bodies.imports.get(file, {}).get(name)
        return self._imported(file, target, hops) if target else Value(Is.EXTERNAL, name)

    def _imported(self, file: str, target: str, hops: int) -> Value:
        bare = target.lstrip(".")
        level = len(target) - len(bare)
        parts = bare.split(".") if bare else []
        for length in range(min(len(parts), 12), -1 if level else 0, -1):
            other = self._modules.find(".".join(parts[:length]), file, level=level)
            if other is None:
                continue
            rest = parts[length:]
            if not rest:
                return Value(Is.MODULE, bare, other)
            if other == file or other not in self.raw or hops > 6:
                break
            found = self.in_module(other, rest[0], hops + 1)
            for part in rest[1:]:
                found = self.attribute(found, part, Scope(other))
            return found if found.kind is not Is.EXTERNAL or "." in found.name else Value(Is.EXTERNAL, bare)
        return Value(Is.EXTERNAL, bare)

    def _bound(self, file: str, place: str, name: str, scope: Scope, line: int = 0) -> Value | None:
        """What a name was given last in one place, before `line` where that is given; None where it was given nothing."""
        found: Value | None = None
        binds = self.bodies.binds.get((file, place, name), [])
        before = [bind for bind in binds if bind.line <= line] if line else binds
        for bind in reversed((before or binds)[-6:]):
            if id(bind) in self._open:
                self._cuts += 1
                continue
            value = self._of_bind(bind, scope if place else Scope(file, bind.function))
            if found is None or found.kind in {Is.NONE, Is.UNKNOWN}:
                found = value if value.kind is not Is.UNKNOWN or found is None else found
        return found

    def _of_bind(self, bind: RawBind, scope: Scope) -> Value:
        if id(bind) in self._open:
            self._cuts += 1
            return UNKNOWN
        self._open.add(id(bind))
        try:
            return self.value(bind.value, scope)
        finally:
            self._open.discard(id(bind))

    def _parameter(self, file: str, function: str, name: str, scope: Scope) -> Value | None:
        known = self.functions.get((file, function))
        each = next((p for p in known.parameters if p.name == name), None) if known else None
        if known is None or each is None:
            return None
        if scope.frame is not None and function == scope.function:
            expr, where = scope.frame.get(name, (each.default, Scope(file, "", known.cls)))
            return self.value(expr, where)
        default = self.value(each.default, Scope(file)) if each.default is not None else UNKNOWN
        if default.kind not in {Is.NONE, Is.UNKNOWN}:
            return default
        noted = self._annotated(each.annotation, Scope(file)) if each.annotation is not None else UNKNOWN
        if noted.kind is Is.MADE and noted.expr is not None:
            return noted
        passed = self._passed(file, known, name)
        if noted.kind is Is.INSTANCE and passed.kind is not Is.INSTANCE:
            return noted
        return next((value for value in (passed, noted) if value.kind is not Is.UNKNOWN), default)

    def _passed(self, file: str, known: RawFunction, name: str) -> Value:
        """What callers pass, when the first of them that can be understood says so."""
        for where, call in self.callers(file, known.name):
            found = self.frame(known, call.expr, where).get(name)
            value = self.value(*found) if found is not None else UNKNOWN
            if value.kind not in {Is.UNKNOWN, Is.NONE}:
                return value
        return UNKNOWN

    def _annotated(self, expr: Expr, scope: Scope) -> Value:
        if expr.op == "item":
            inner = expr.args[1]
            for each in inner.args[1:] if inner.op == "list" else ():
                found = self.value(each, scope)
                if each.op == "call" and found.kind is not Is.UNKNOWN:
                    return found
            first = inner.args[0] if inner.op == "list" and inner.args else inner
            return self._annotated(first, scope) if expr.args[0].name.endswith(("Annotated", "Optional")) else UNKNOWN
        if expr.op == "text":
            expr = Expr("name", expr.name, line=expr.line)
        found = self.value(expr, scope)
        if found.kind is Is.CLASS:
            return Value(Is.INSTANCE, found.name, found.file)
        return Value(Is.MADE, found.name) if found.kind is Is.EXTERNAL and "." in found.name else UNKNOWN

    # --- attributes

    def attribute(self, base: Value, name: str, scope: Scope) -> Value:
        """What the attribute `name` of a value is."""
        match base.kind:
            case Is.MODULE:
                return self._of_module(base, name)
            case Is.EXTERNAL:
                return self._of_library(base, name, scope)
            case Is.INSTANCE | Is.CLASS:
                return self._of_instance(base, name, scope)
            case Is.MADE if base.name.endswith(_APPLICATIONS):
                return self._starred(name, scope)
            case Is.MADE | Is.MEMBER:
                found = self._starred(name, scope) if chain(base)[0].name.endswith(_REQUESTS) else UNKNOWN
                return found if found.kind is not Is.UNKNOWN else Value(Is.MEMBER, name, base=base)
            case _:
                return self._of_other(base, name, scope)

    def _of_other(self, base: Value, name: str, scope: Scope) -> Value:
        if base.kind is Is.FUNCTION and name in {"delay", "apply_async", "s", "si"}:
            return Value(Is.MEMBER, name, base=Value(Is.MADE, "celery.Task"))
        if base.kind is Is.TEXT and name in texts.METHODS:
            return Value(Is.MEMBER, name, base=base)
        if base.kind is not Is.UNKNOWN:
            return UNKNOWN
        return self._setting(name, scope) if name.isupper() and len(name) > 2 else self._starred(name, scope)

    def _of_module(self, base: Value, name: str) -> Value:
        found = self.in_module(base.file, name)
        if found.kind is not Is.EXTERNAL:
            return found
        inner = self._imported(base.file, f".{name}" if base.file.endswith("__init__.py") else name, 1)
        return inner if inner.kind is Is.MODULE else found

    def _of_library(self, base: Value, name: str, scope: Scope) -> Value:
        if name.isupper() and base.name.rpartition(".")[2] in {"settings", "config", "conf", "g"}:
            return self._setting(name, scope)
        local = "." not in base.name and base.name[:1].islower()
        starred = self._starred(name, scope) if local else UNKNOWN
        return starred if starred.kind is not Is.UNKNOWN else Value(Is.EXTERNAL, f"{base.name}.{name}")

    def lineage(self, file: str, name: str) -> Iterator[Value]:
        """A class and what it is made from: classes of the repository, then what comes from libraries."""
        pending, seen = [(file, name)], set[tuple[str, str]]()
        outside: list[Value] = []
        while pending and len(seen) < 20:
            each = pending.pop(0)
            if each in seen:
                continue
            seen.add(each)
            yield Value(Is.CLASS, each[1], each[0])
            for base in self.bodies.bases.get(each, ()):
                found = self.value(base, Scope(each[0]))
                if found.kind is Is.CLASS:
                    pending.append((found.file, found.name))
                elif found.kind is Is.EXTERNAL:
                    outside.append(found)
        yield from outside

    def _of_instance(self, base: Value, name: str, scope: Scope) -> Value:
        for each in self.lineage(base.file, base.name):
            found = (
                self._inherited(base, each, name) if each.kind is Is.EXTERNAL else self._own(base, each, name, scope)
            )
            if found is not None:
                return found
        return UNKNOWN

    def _inherited(self, base: Value, outer: Value, name: str) -> Value | None:
        """What a class has from a library's."""
        if settings.is_settings(outer.name):
            return Value(Is.TEXT, "{}", variables=(name.upper(),))
        if outer.name.rpartition(".")[2] in _PLAIN_BASES:
            return None
        return Value(Is.MEMBER, name, base=self._made_by(base, outer))

    def _own(self, base: Value, each: Value, name: str, scope: Scope) -> Value | None:
        """What one class of the repository itself says of an attribute."""
        function = self.functions.get((each.file, f"{each.name}.{name}"))
        if function is not None:
            this = base if base.kind is Is.INSTANCE else None
            found = Value(Is.FUNCTION, function.name, each.file, base=this)
            called = any(one.name in _CALLED for one in function.decorators)
            return self.result(found, None, scope) if called else found
        given = self._field(base, each, name)
        if given is not None:
            return given
        binds = self.bodies.binds.get((each.file, each.name, name), ())
        values = [self._of_bind(bind, self._made_in(base, each, bind)) for bind in reversed(binds[-6:])]
        values.sort(key=lambda value: value.kind in {Is.NONE, Is.UNKNOWN})
        if values and values[0].kind is Is.TEXT and settings.is_settings_class(self, each):
            return Value(Is.TEXT, values[0].name or "{}", variables=(name.upper(), *values[0].variables))
        return values[0] if values else None

    def _field(self, base: Value, each: Value, name: str) -> Value | None:
        """What a class without a constructor of its own was given by name: a dataclass, a model."""
        if base.expr is None or base.scope is None or (each.file, f"{each.name}.__init__") in self.functions:
            return None
        given = base.expr.keyword(name)
        return self.value(given, base.scope) if given is not None else None

    def _made_in(self, base: Value, each: Value, bind: RawBind) -> Scope:
        """The scope of what a method gives to `self`; the constructor's with what the instance was made with."""
        known = self.functions.get((each.file, bind.function))
        this = base if base.kind is Is.INSTANCE else None
        if (
            known is not None
            and bind.function.endswith(".__init__")
            and base.expr is not None
            and base.scope is not None
        ):
            return Scope(each.file, bind.function, each.name, self.frame(known, base.expr, base.scope), this)
        return Scope(each.file, bind.function, each.name)

    def _made_by(self, base: Value, outer: Value) -> Value:
        """An instance of a class that is made from a library's, as the library sees it."""
        for each in self.lineage(base.file, base.name):
            known = self.functions.get((each.file, f"{each.name}.__init__"))
            for call in self.bodies.of(each.file).calls if known else ():
                head = call.expr.args[0] if call.expr.args else call.expr
                if known and call.function == known.name and head.op == "attr" and head.name == "__init__":
                    frame = self.frame(known, base.expr, base.scope) if base.expr and base.scope else None
                    return Value(
                        Is.MADE,
                        outer.name,
                        expr=call.expr,
                        scope=Scope(each.file, known.name, each.name, frame),
                        base=base,
                    )
        return Value(Is.MADE, outer.name, expr=base.expr, scope=base.scope, base=base)

    def _starred(self, name: str, scope: Scope) -> Value:
        """What an attribute or a named item of something unknown was given, where one place near by says it."""
        key = (name, scope.file.split("/", maxsplit=1)[0])
        known = self._said.get(key)
        if known is not None:
            return known
        cuts = self._cuts
        found: Value | None = None
        for file, bind in self.bodies.given(name, scope.file):
            cls = bind.scope if bind.scope != "*" else ""
            value = self._of_bind(bind, Scope(file, bind.function, cls))
            if value.kind in {Is.MADE, Is.INSTANCE, Is.MEMBER}:
                if found is not None and (found.name, found.line) != (value.name, value.line):
                    found = UNKNOWN
                    break
                found = found or value
        found = found or UNKNOWN
        if cuts == self._cuts:
            self._said[key] = found
        return found

    def _setting(self, name: str, scope: Scope) -> Value:
        """A setting by its name: from the settings of the same tree, else a variable without a value."""
        top = scope.file.split("/")[0]
        for file in self._settings_files:
            if file.split("/")[0] == top or "/" not in file:
                self.bodies.of(file)
                for bind in reversed(self.bodies.binds.get((file, "", name), ())):
                    value = self._of_bind(bind, Scope(file))
                    if value.kind in {Is.NUMBER, Is.NONE}:
                        return value
                    if value.kind is Is.TEXT:
                        return Value(Is.TEXT, value.name, variables=(*value.variables, name))
        for file, bind in reversed(self.bodies.given(name, scope.file)):
            value = self._of_bind(bind, Scope(file, bind.function, bind.scope if bind.scope != "*" else ""))
            if value.kind in {Is.TEXT, Is.NUMBER, Is.NONE}:
                return value
        return Value(Is.TEXT, "{}", variables=(name,))

    # --- calls

    def _called(self, expr: Expr, scope: Scope) -> Value:
        callee = self.value(expr.args[0], scope)
        found = self._special(callee, expr, scope) if callee.kind is Is.EXTERNAL else None
        if found is not None:
            return found
        if callee.kind is Is.MEMBER and callee.base is not None and callee.base.kind is Is.TEXT:
            return texts.changed(callee.base, callee.name, [self.value(each, scope) for each in expr.args[1:]])
        looks_up = callee.kind is Is.MEMBER and callee.name in {"get", "getfloat", "getint"}
        if looks_up and settings.is_mapping(callee.base):
            return settings.variable(self, expr, scope)
        return self.result(callee, expr, scope)

    def _special(self, callee: Value, expr: Expr, scope: Scope) -> Value | None:
        """What comes of functions whose meaning is known; None for all others."""
        last = callee.name.rpartition(".")[2]
        found: Value | None = None
        if callee.name == "super" and scope.cls:
            found = self._super(scope)
        elif settings.reads_variable(callee.name):
            found = settings.variable(self, expr, scope)
        elif callee.name in _SAME and len(expr.args) > 1:
            inner = self.value(expr.args[-1], scope)
            number = callee.name in {"float", "int"} and inner.kind is not Is.NUMBER
            found = Value(Is.NUMBER, seconds=settings.number(inner.name)) if number else inner
        elif callee.name in {"min", "max"}:
            found = Value(Is.NUMBER)
        elif last == "timedelta":
            found = Value(Is.NUMBER, seconds=settings.seconds(self, expr, scope))
        elif last in {"Depends", "Security", "Provide", "lru_cache"} and len(expr.args) > 1:
            found = self.result(self.value(expr.args[1], scope), None, scope)
        elif callee.name in {"functools.partial", "partial"}:
            found = Value(Is.PARTIAL, base=self.value(expr.positional(0), scope), expr=expr, scope=scope)
        return found

    def _super(self, scope: Scope) -> Value:
        """What `super()` stands for: the next class of the repository, or what the library's is made with."""
        this = Value(Is.INSTANCE, scope.cls, scope.file)
        for number, each in enumerate(self.lineage(scope.file, scope.cls)):
            if number and each.kind is Is.CLASS:
                return Value(Is.INSTANCE, each.name, each.file)
            if each.kind is Is.EXTERNAL and each.name != "object":
                return Value(Is.MADE, each.name, base=this)
        return UNKNOWN

    def result(self, callee: Value, expr: Expr | None, scope: Scope) -> Value:
        """What comes of calling `callee`; `expr` is the call, None for one without arguments."""
        match callee.kind:
            case Is.EXTERNAL:
                return Value(Is.MADE, callee.name, expr=expr, scope=scope)
            case Is.MEMBER:
                return Value(Is.MADE, callee.name, expr=expr, scope=scope, base=callee.base)
            case Is.CLASS:
                return Value(Is.INSTANCE, callee.name, callee.file, expr=expr, scope=scope)
            case Is.FUNCTION:
                return self._returned(callee, expr, scope)
            case Is.INSTANCE:
                method = self._of_instance(callee, "__call__", scope)
                return self._returned(method, expr, scope) if method.kind is Is.FUNCTION else UNKNOWN
            case _:
                return UNKNOWN

    def _returned(self, callee: Value, expr: Expr | None, scope: Scope) -> Value:
        known = self.functions[callee.file, callee.name]
        frame = self.frame(known, expr, scope) if expr is not None else {}
        inside = Scope(callee.file, known.name, known.cls, frame, callee.base)
        found = UNKNOWN
        for each in known.returns:
            value = self.value(each, inside)
            if value.kind not in {Is.UNKNOWN, Is.NONE}:
                return value
            found = value
        return found

    def frame(self, known: RawFunction, expr: Expr | None, scope: Scope) -> dict[str, tuple[Expr, Scope]]:
        """What a call gives to the parameters of a function."""
        given: dict[str, tuple[Expr, Scope]] = {}
        if expr is None:
            return given
        by_position = [each for each in known.parameters if not each.by_name]
        for number, each in enumerate(by_position):
            value = expr.positional(number)
            if value is None:
                break
            given[each.name] = (value, scope)
        for key, value in zip(expr.keys, expr.args[1:], strict=False):
            if key and key not in {"*", "**"}:
                given[key] = (value, scope)
        for spread in expr.spread:
            found = self.value(spread, scope)
            if found.kind is Is.MAPPING and found.expr is not None and found.scope is not None:
                given |= {
                    key: (value, found.scope)
                    for key, value in zip(found.expr.keys, found.expr.args, strict=False)
                    if key and key != "**"
                }
            else:
                given[UNSEEN] = spread, scope
        return given

    def callers(self, file: str, function: str) -> list[tuple[Scope, RawCall]]:
        """The places that call a function of the repository, as far as names tell; a bounded number."""
        key = (file, function)
        known = self._callers.get(key)
        if known is not None:
            self._cuts += known is _LOOKED_FOR
            return known
        self._callers[key] = _LOOKED_FOR
        cuts = self._cuts
        found = self._called_by(file, function)
        if cuts == self._cuts or not self._depth:
            self._callers[key] = found
        else:
            del self._callers[key]
        return found

    def _called_by(self, file: str, function: str) -> list[tuple[Scope, RawCall]]:
        name = function.rpartition(".")[2]
        wanted = function.rpartition(".")[0].rpartition(".")[2] if name == "__init__" else name
        found: list[tuple[Scope, RawCall]] = []
        for where, written in self.bodies.named(wanted, file)[:_MAX_NAMED]:
            call = written if likely.last(written) == wanted else likely.handed_on(written)
            if call is None or (where, call.function) == (file, function):
                continue
            callee = self.value(call.expr.args[0], self.scope(where, call))
            called = f"{callee.name}.__init__" if callee.kind is Is.CLASS else callee.name
            if callee.kind in {Is.CLASS, Is.FUNCTION} and (callee.file, called) == (file, function):
                found.append((self.scope(where, call), call))
                if len(found) >= _MAX_CALLERS:
                    break
        return found

    def scope(self, file: str, call: RawCall) -> Scope:
        """Where a call stands."""
        return Scope(file, call.function if call.function != call.cls else "", call.cls)

    # --- texts

    def _text(self, expr: Expr, scope: Scope) -> Value:
        if not expr.args:
            return Value(Is.TEXT, expr.name)
        pieces = expr.name.split("{}")
        text, variables = pieces[0], list[str]()
        for number, piece in enumerate(pieces[1:]):
            hole = self.value(expr.args[number], scope) if number < len(expr.args) else UNKNOWN
            if hole.kind is Is.NUMBER and hole.seconds is not None:
                text += f"{hole.seconds:g}"
            else:
                text += hole.name if hole.kind is Is.TEXT else "{}"
            variables += hole.variables
            text += piece
        return Value(Is.TEXT, text[:500], variables=tuple(dict.fromkeys(variables))[:8])

    def _item(self, expr: Expr, scope: Scope) -> Value:
        base, key = self.value(expr.args[0], scope), expr.args[1]
        if base.kind is Is.MAPPING and base.expr is not None and key.op == "text":
            given = base.expr.keyword(key.name)
            return self.value(given, base.scope or scope) if given is not None else UNKNOWN
        if base.kind is Is.EXTERNAL and base.name.endswith("environ") and key.op == "text":
            return Value(Is.TEXT, "{}", variables=(key.name,))
        if key.op == "text" and key.name.isupper() and len(key.name) > 2:
            return self._setting(key.name, scope)
        name = key.name.rpartition(".")[2] if key.op in {"text", "name"} else ""
        found = self._starred(name, scope) if name else UNKNOWN
        return Value(Is.MEMBER, name, base=base) if found.kind is Is.UNKNOWN and base.kind is Is.MADE else found

    def _either(self, expr: Expr, scope: Scope) -> Value:
        values = [self.value(each, scope) for each in expr.args]
        known = [each for each in values if each.kind not in {Is.UNKNOWN, Is.NONE}]
        if not known:
            return values[-1] if values else UNKNOWN
        if expr.name != "or" and any(each.kind is Is.NONE for each in values):
            return UNKNOWN if known[0].kind is Is.NUMBER else known[0]
        if known[0].kind is Is.TEXT:
            variables = tuple(dict.fromkeys(name for each in known for name in each.variables))
            text = next((each.name for each in known if each.name != "{}"), "{}")
            return Value(Is.TEXT, text, variables=variables)
        return known[0] if values[0] is known[0] or known[0].kind is not Is.NUMBER else Value(Is.NUMBER)
