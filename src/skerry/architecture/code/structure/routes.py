"""What a file answers: HTTP routes, RPC and gRPC methods, handlers of messages, jobs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from skerry.architecture.code.facts import Kind, Route
from skerry.architecture.code.structure.graph import target
from skerry.architecture.code.structure.mounts import PATTERNS
from skerry.architecture.code.structure.walk import Walk, argument, text_of
from skerry.architecture.source import Place

VERBS: Final = frozenset(("get", "post", "put", "patch", "delete", "head", "options"))
_PLAIN: Final = frozenset(("route", "api_route", "websocket", "websocket_route", "action"))
_JOBS: Final = frozenset(("task", "shared_task", "periodic_task", "job", "actor", "scheduled_job", "timer"))
_HANDLERS: Final = frozenset(("event_handler", "consume", "subscriber", "agent", "on", "on_event"))
_NO_HANDLERS: Final = frozenset(("startup", "shutdown"))
_PARAMETER: Final = re.compile(r"<[^<>]*>|\{[^{}]*\}|:\w+(?=/|$)|\(\?P<[^()]*(?:\([^()]*\)[^()]*)*\)|\((?!\?)[^()]*\)")
_VIEW_BASES: Final = re.compile(
    r"(?:^|\.)(?:\w*View(?:Set)?|\w*APIView|\w*ViewSet|Resource|MethodView|HTTPEndpoint|RequestHandler|\w*Handler)$"
)
_URLS: Final = re.compile(r"(?:^|\.)(?:path|re_path|url)$")


def read(found: Walk) -> tuple[Route, ...]:
    """Every route, in the order of the file."""
    prefixes = _prefixes(found)
    routes = [
        *_decorated(found, prefixes),
        *_registered(found, prefixes),
        *_servicers(found),
        *_views(found),
    ]
    return tuple(sorted(routes, key=lambda each: each.place))


def plain(path: str) -> str:
    """A path with `{}` for each parameter, one slash at its beginning and none at its end."""
    bare = _PARAMETER.sub("{}", path.strip()).replace("\\", "").lstrip("^").rstrip("$")
    return "/" + re.sub(r"/{2,}", "/", bare).strip("/")


def _prefixes(found: Walk) -> dict[str, str]:
    """What `Blueprint(url_prefix=)`, `APIRouter(prefix=)` and registering them in the same file put before their paths."""
    prefixes: dict[str, str] = {}
    for _, node in found.assigns:
        value = node.value
        if isinstance(value, ast.Call) and isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            given = text_of(argument(value, -1, "url_prefix", "prefix"))
            if given:
                prefixes[node.targets[0].id] = given
    for _, call in found.calls:
        if isinstance(call.func, ast.Attribute) and call.func.attr in {"register_blueprint", "include_router", "mount"}:
            each = call.args[0] if call.args else None
            if isinstance(each, ast.Name):
                given = text_of(argument(call, -1, "url_prefix", "prefix"))
                if given and call.func.attr == "register_blueprint":
                    prefixes[each.id] = given
                elif given:
                    prefixes[each.id] = given + prefixes.get(each.id, "")
    return prefixes


def _decorated(found: Walk, prefixes: dict[str, str]) -> Iterator[Route]:
    for function, node in found.functions.items():
        for decorator in node.decorator_list:
            yield from _of_decorator(found, prefixes, function, decorator)


def _of_decorator(found: Walk, prefixes: dict[str, str], function: str, decorator: ast.expr) -> Iterator[Route]:
    call = decorator if isinstance(decorator, ast.Call) else None
    func = call.func if call else decorator
    name = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
    full = found.dotted(func)
    place = Place(found.path, found.functions[function].lineno)
    on = isinstance(func, ast.Attribute)
    path = text_of(argument(call, 0, "path", "rule")) if call else None
    if on and call and name in VERBS and path is not None:
        router = full.rpartition(".")[0]
        yield _below(
            prefixes, router, Route(place=place, function=function, kind=Kind.HTTP, method=name.upper(), path=path)
        )
    elif on and call and name in _PLAIN and path is not None:
        router = full.rpartition(".")[0]
        for method in _methods(call) or ("GET",):
            yield _below(
                prefixes, router, Route(place=place, function=function, kind=Kind.HTTP, method=method, path=path)
            )
    elif name == "http" and not on and call and len(call.args) > 1:
        for method in (text_of(call.args[0]) or "").split(","):
            where = plain(text_of(call.args[1]) or "")
            yield Route(place=place, function=function, kind=Kind.HTTP, method=method.strip(), path=where)
    elif full.startswith("nameko.") and name == "rpc":
        yield Route(place=place, function=function, kind=Kind.RPC, method=function.rpartition(".")[2])
    elif name in _JOBS and (on or full.partition(".")[0] in {"celery", "nameko", "dramatiq"}):
        yield Route(place=place, function=function, kind=Kind.BROKER, method="task", path=_task(found, call, function))
    elif name in _HANDLERS and call and call.args and (on or full.startswith("nameko.")):
        topic = topic_of(found, full, call)
        if topic and topic not in _NO_HANDLERS:
            yield Route(place=place, function=function, kind=Kind.BROKER, method="on", path=topic)


def _below(prefixes: dict[str, str], router: str, route: Route) -> Route:
    """A route below its router's own prefix."""
    prefix = prefixes.get(router, "")
    return replace(route, path=plain(prefix + route.path), router=router, prefix=prefix)


def _task(found: Walk, call: ast.Call | None, function: str) -> str:
    given = text_of(argument(call, -1, "name")) if call else None
    return given or f"{found.path.removesuffix('.py').replace('/', '.')}.{function}"


def topic_of(found: Walk, full: str, call: ast.Call) -> str:
    """What a handler is for: a text, a class of events, for nameko `service.event`."""
    if full.startswith("nameko.") and len(call.args) > 1:
        return ".".join(filter(None, (text_of(each) for each in call.args[:2])))
    first = call.args[0]
    if isinstance(first, ast.Name) and first.id[:1].isupper():
        return found.aliases.get(first.id, first.id).rpartition(".")[2]
    return text_of(first) or ""


def _methods(call: ast.Call) -> tuple[str, ...]:
    given = argument(call, -1, "methods")
    if isinstance(given, (ast.List, ast.Tuple, ast.Set)):
        return tuple(text.upper() for each in given.elts if (text := text_of(each)))
    return ()


def _registered(found: Walk, prefixes: dict[str, str]) -> Iterator[Route]:
    """Routes that are named in a call: Django, aiohttp, Starlette, Tornado, `add_url_rule`, `add_api_route`."""
    for function, call in found.calls:
        full = found.dotted(call.func)
        name = call.func.attr if isinstance(call.func, ast.Attribute) else full
        if name in {"add_url_rule", "add_api_route", "add_route", "add_resource"}:
            yield from _added(found, prefixes, function, call, name)
        elif full.startswith("tornado.") and full.endswith(".Application") and call.args:
            for each in call.args[0].elts if isinstance(call.args[0], ast.List) else ():
                if isinstance(each, ast.Tuple) and len(each.elts) > 1:
                    yield from _one(found, function, call, "", each.elts[0], each.elts[1])
        elif len(call.args) > 1:
            for method in _called(found, call, full, name):
                router = PATTERNS if full.startswith("django.") else ""
                for route in _one(found, function, call, method, call.args[0], call.args[1]):
                    yield replace(route, router=router)


def _called(found: Walk, call: ast.Call, full: str, name: str) -> tuple[str, ...]:
    """The methods of a route that is given as path and handler; nothing for any other call."""
    last = full.rpartition(".")[2]
    if name.startswith("add_") and name[4:] in VERBS:
        return (name[4:].upper(),)
    if full.startswith("aiohttp.web") and last in VERBS:
        return (last.upper(),)
    if full.startswith("django.") and _URLS.search(full):
        inner = call.args[1]
        return () if isinstance(inner, ast.Call) and found.dotted(inner.func).endswith("include") else ("",)
    return (_methods(call) or ("GET",)) if full.endswith("routing.Route") else ()


def _added(found: Walk, prefixes: dict[str, str], function: str, call: ast.Call, name: str) -> Iterator[Route]:
    handler = argument(call, 1, "view_func", "endpoint", "handler")
    where = argument(call, 0, "rule", "path")
    if name == "add_url_rule":
        handler = argument(call, 2, "view_func")
    elif name == "add_resource":
        handler, where = argument(call, 0), argument(call, 1)
    elif name == "add_route" and call.args and (text_of(call.args[0]) or "").lower() in {*VERBS, "*"}:
        where, handler = argument(call, 1), argument(call, 2)
    if where is not None and handler is not None:
        router = found.dotted(call.func).rpartition(".")[0]
        for method in _methods(call) or ("",):
            for route in _one(found, function, call, method, where, handler):
                yield _below(prefixes, router, route)


def _one(
    found: Walk, function: str, call: ast.Call, method: str, where: ast.expr, handler: ast.expr
) -> Iterator[Route]:
    path = text_of(where)
    if path is None:
        return
    if isinstance(handler, ast.Call):
        inner = handler.func
        if isinstance(inner, ast.Attribute) and inner.attr in {"as_view", "as_asgi"}:
            handler = inner.value
        elif handler.args:
            handler = handler.args[0]
    name = target(found, function, handler) or found.dotted(handler)
    name = name.removesuffix(".__init__")
    yield Route(place=Place(found.path, call.lineno), function=name, kind=Kind.HTTP, method=method, path=plain(path))


def _servicers(found: Walk) -> Iterator[Route]:
    """Methods of a class that is made from a gRPC servicer."""
    for owner, node in found.classes.items():
        bases = [found.dotted(base) for base in node.bases]
        service = next((base.rpartition(".")[2] for base in bases if base.endswith("Servicer")), None)
        if service is None:
            continue
        for each in node.body:
            if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)) and not each.name.startswith("_"):
                yield Route(
                    place=Place(found.path, each.lineno),
                    function=f"{owner}.{each.name}",
                    kind=Kind.GRPC,
                    method=each.name,
                    path=f"/{service.removesuffix('Servicer')}/{each.name}",
                )


def _views(found: Walk) -> Iterator[Route]:
    """`get`, `post` and so on of classes that look like views; their path is said elsewhere, or not in Python."""
    for owner, node in found.classes.items():
        if not any(_VIEW_BASES.search(found.dotted(base)) for base in node.bases):
            continue
        for each in node.body:
            if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)) and each.name in VERBS:
                yield Route(
                    place=Place(found.path, each.lineno),
                    function=f"{owner}.{each.name}",
                    kind=Kind.HTTP,
                    method=each.name.upper(),
                )
