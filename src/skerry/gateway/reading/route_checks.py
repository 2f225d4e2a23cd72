"""What contradicts itself in a route, and between routes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from skerry.gateway.model import (
    RESERVED,
    Aggregate,
    Backend,
    Forward,
    GatewaySpec,
    HeaderEdit,
    Match,
    Part,
    PathMatch,
    Redirect,
    Respond,
    Route,
    ValueMatch,
)
from skerry.gateway.reading import strangling
from skerry.gateway.reading.document import Steps
from skerry.gateway.reading.ranges import Mistake, hosts, policy
from skerry.gateway.reading.route_tables import MAX_PARTS, MAX_WEIGHT
from skerry.gateway.reading.syntax import (
    HEADER_NAME,
    PARAMETER,
    PARAMETER_HINT,
    PART_HINT,
    PART_NAME,
    PART_PATH,
    TEMPLATE,
    TEMPLATE_HINT,
    VALUE,
    VALUE_HINT,
    meets,
    shape,
    variables,
    wrong_edit,
    wrong_path,
    wrong_pattern,
)

MISSING: Final = "missing"
"""What the list of an aggregate's missing parts is called."""


def route(spec: GatewaySpec, value: Route, at: Steps) -> Iterator[Mistake]:
    """What is wrong with one route, but for its policy and who may use it."""
    yield from hosts(value.hostnames, at)
    yield from _place(spec, value, at)
    if not value.matches:
        yield (*at, "match"), "there must be one at least"
    for index, match in enumerate(value.matches):
        yield from _match(match, (*at, "match", index))
    yield from _edits(value.request_headers, (*at, "request_headers"))
    yield from _edits(value.response_headers, (*at, "response_headers"))
    if value.body is not None and value.body < 0:
        yield (*at, "body"), "must not be negative"
    match value.action:
        case Forward():
            yield from _forward(value.action, value, at)
        case Redirect():
            yield from _redirect(value.action, value, (*at, "redirect"))
        case Aggregate():
            yield from _aggregate(value.action, value, (*at, "aggregate"))
        case Respond():
            if not 200 <= value.action.status <= 599:
                yield (*at, "respond", "status"), "must be from 200 to 599"
            if value.action.body and value.action.status in {204, 304}:
                yield (*at, "respond", "body"), f"an answer with {value.action.status} has no body"


def _place(spec: GatewaySpec, value: Route, at: Steps) -> Iterator[Mistake]:
    """Listeners that are not there, and hosts that none of them takes."""
    known = {listener.name: listener for listener in spec.listeners}
    for index, name in enumerate(value.listeners):
        if name not in known:
            yield (*at, "listeners", index), f"there is no listener {name!r}"
    own = [known[name] for name in value.listeners if name in known] or list(known.values())
    bounds = {name for listener in own for name in listener.hostnames}
    if value.hostnames and own and all(listener.hostnames for listener in own):
        for index, host in enumerate(value.hostnames):
            if not any(meets(host, bound) for bound in bounds):
                yield (*at, "hostnames", index), f"no listener of this route takes {host!r}"


def _match(match: Match, at: Steps) -> Iterator[Mistake]:
    yield from _path(match.path, (*at, "path"))
    if match.methods is not None and not match.methods:
        yield (*at, "methods"), "there must be one at least"
    for key, wanted in (("headers", match.headers), ("query", match.query), ("cookies", match.cookies)):
        names: set[str] = set()
        for each in wanted:
            yield from _wanted(each, key, (*at, key, each.name))
            name = each.name.lower() if key == "headers" else each.name
            if name in names:
                yield (*at, key, each.name), "is there twice"
            names.add(name)


def _path(path: PathMatch, at: Steps) -> Iterator[Mistake]:
    why: str | None
    if path.kind == "regex":
        why = wrong_pattern(path.value)
    elif path.kind == "template":
        why = wrong_path(path.value, TEMPLATE, TEMPLATE_HINT)
        names = variables(path.value)
        if why is None and len(names) != len(set(names)):
            why = f"{path.value!r} has a variable twice"
    else:
        why = wrong_path(path.value)
        if why is not None and variables(path.value):
            why = f"{path.value!r} has variables: write it as {{template: ...}}"
    if why is not None:
        yield at, why
    elif path.kind != "regex" and (path.value == RESERVED or path.value.startswith(RESERVED + "/")):
        yield at, f"{RESERVED} is the gateway's own"


def _wanted(wanted: ValueMatch, key: str, at: Steps) -> Iterator[Mistake]:
    if key != "query" and not re.fullmatch(HEADER_NAME, wanted.name):
        yield at, f"{wanted.name[:80]!r} is not a name that a {key.removesuffix('s')} may have"
    if wanted.regex:
        why = wrong_pattern(wanted.value)
        if why is not None:
            yield at, why
    elif not re.fullmatch(VALUE, wanted.value):
        yield at, f"{wanted.value[:80]!r} is not {VALUE_HINT}"


def _edits(edit: HeaderEdit, at: Steps) -> Iterator[Mistake]:
    for key in ("set", "add"):
        names: set[str] = set()
        for name, value in edit.set if key == "set" else edit.add:
            why = wrong_edit(name)
            if why is None and key == "set" and name.lower() in names:
                why = f"{name} is there twice"
            if why is None and not re.fullmatch(VALUE, value):
                why = f"{value[:80]!r} is not {VALUE_HINT}"
            if why is not None:
                yield (*at, key, name), why
            names.add(name.lower())
    for index, name in enumerate(edit.remove):
        why = wrong_edit(name)
        if why is not None:
            yield (*at, "remove", index), why


def _forward(action: Forward, value: Route, at: Steps) -> Iterator[Mistake]:
    if action.strangle is not None:
        yield from strangling.mistakes(action, value, (*at, "strangle"))
    if action.backends and not any(backend.weight for backend in action.backends):
        yield (*at, "services"), "all weights are 0: nobody would answer"
    for backend in action.backends:
        yield from _backend(backend, (*at, "services", backend.service or ""))
    for index, mirror in enumerate(action.mirrors):
        if not 0 < mirror.percent <= 100:
            yield (*at, "mirrors", index, "percent"), "must be above 0 and at most 100"
    if action.sticky is not None and not re.fullmatch(HEADER_NAME, action.sticky.name):
        yield (*at, "sticky"), f"{action.sticky.name[:80]!r} is not a name that a {action.sticky.source} may have"
    rewrite = action.rewrite
    yield from _new_path(rewrite.prefix, rewrite.full, value, (*at, "rewrite"))


def _backend(backend: Backend, at: Steps) -> Iterator[Mistake]:
    if not 0 <= backend.weight <= MAX_WEIGHT:
        yield (*at, "weight"), f"must be a whole number from 0 to {MAX_WEIGHT}"
    yield from _edits(backend.request_headers, (*at, "request_headers"))
    yield from _edits(backend.response_headers, (*at, "response_headers"))


def _new_path(prefix: str | None, full: str | None, value: Route, at: Steps) -> Iterator[Mistake]:
    if prefix is not None and full is not None:
        yield at, "'prefix' and 'full' contradict each other"
    for key, path in (("prefix", prefix), ("full", full)):
        why = None if path is None else wrong_path(path)
        if why is not None:
            yield (*at, key), why
    if prefix is not None and any(match.path.kind != "prefix" for match in value.matches):
        yield at, "there is no prefix to replace where a path matches as a whole: use 'full'"


def _redirect(action: Redirect, value: Route, at: Steps) -> Iterator[Mistake]:
    if action.port is not None and not 1 <= action.port <= 65535:
        yield (*at, "port"), "must be a whole number from 1 to 65535"
    yield from _new_path(action.prefix, action.full, value, at)
    if (action.scheme, action.host, action.port, action.prefix, action.full) == (None,) * 5:
        yield at, "leads to where it came from: say what changes"


def _aggregate(action: Aggregate, value: Route, at: Steps) -> Iterator[Mistake]:
    if not 0 < action.deadline <= 300:
        yield (*at, "deadline"), "must be above 0 and at most 300"
    if not 0 < len(action.parts) <= MAX_PARTS:
        yield (*at, "parts"), f"must be 1 to {MAX_PARTS}"
    if any(match.path.kind not in {"template", "exact"} for match in value.matches):
        yield at, "the path of an aggregate matches as a whole: use a template or 'exact'"
    known = set.intersection(*(set(variables(match.path.value)) for match in value.matches)) if value.matches else set()
    names: set[str] = set()
    for part in action.parts:
        where: Steps = (*at, "parts", part.name)
        if part.name in names:
            yield where, "is there twice"
        names.add(part.name)
        yield from _part(part, known, where)
        yield from policy(part.policy, (*where, "policy"))


def _part(part: Part, known: set[str], at: Steps) -> Iterator[Mistake]:
    if part.name == MISSING:
        yield at, f"{MISSING!r} is the name of the list of missing parts"
    elif not re.fullmatch(PART_NAME, part.name):
        yield at, f"{part.name[:80]!r} is not a valid name: it must be {PART_HINT}"
    why = wrong_path(part.path, PART_PATH, "a path with variables")
    if why is not None:
        yield (*at, "path"), why
    for name in variables(part.path):
        if name not in known:
            yield (*at, "path"), f"{{{name}}} is not a variable of the route's path"
    for name in part.query:
        if not re.fullmatch(PARAMETER, name):
            yield (*at, "query"), f"{name[:80]!r} is not {PARAMETER_HINT}"
    if part.timeout is not None and not 0 < part.timeout <= 300:
        yield (*at, "timeout"), "must be above 0 and at most 300"
    if part.required and part.fallback is not None:
        yield (*at, "fallback"), "a part that is required has nothing that stands in for it"


def doubled_names(spec: GatewaySpec) -> Iterator[Mistake]:
    """Routes that are called alike."""
    names: dict[str, int] = {}
    for index, each in enumerate(spec.routes):
        if each.name in names:
            yield ("routes", index, "name"), f"{each.name!r} is the name of {_told(spec, names[each.name])} already"
        names.setdefault(each.name, index)


def doubles(spec: GatewaySpec) -> Iterator[Mistake]:
    """Routes of which the second could never answer: the same match on the same host of the same listener."""
    taken: dict[tuple[object, ...], int] = {}
    everywhere = tuple(listener.name for listener in spec.listeners)
    for index, each in enumerate(spec.routes):
        for number, match in enumerate(each.matches):
            first = _double(each, match, index, taken, everywhere)
            if first is not None:
                what = f"{match.path.value} is routed already by {_told(spec, first)}"
                yield ("routes", index, "match", number, "path"), what


def _double(
    value: Route, match: Match, index: int, taken: dict[tuple[object, ...], int], everywhere: tuple[str, ...]
) -> int | None:
    path = shape(match.path.value) if match.path.kind == "template" else match.path.value
    fit = (match.path.kind, path, frozenset(match.headers), frozenset(match.query), frozenset(match.cookies))
    found = None
    for listener in value.listeners or everywhere:
        for host in value.hostnames or ("",):
            for method in (None,) if match.methods is None else match.methods:
                first = taken.setdefault((listener, host, method, *fit), index)
                found = first if first != index else found
    return found


def _told(spec: GatewaySpec, index: int) -> str:
    line = spec.routes[index].line
    return f"the route on line {line}" if line else f"routes[{index}]"
