"""What a gateway.yaml of skerry's gateway says of the requests that it hands on: how long they may take, and what stops them.

Read without a check, as everything here: what is no limit as the gateway reads it is unknown, and costs nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from skerry.architecture.code.facts import Bound, Call, Guard, Kind, Target, Timeout
from skerry.architecture.manifests.reader import Reader
from skerry.architecture.manifests.yaml import Node
from skerry.architecture.source import Place

NAMES: Final = frozenset({"gateway.yaml", "gateway.yml"})
LIBRARY: Final = "gateway.yaml"
MAX_ROUTES: Final = 1_000
MAX_SERVICES: Final = 100
"""Of one route."""
_TOTAL: Final = 5.0
_ATTEMPT: Final = 2.0
_ATTEMPTS: Final = 3
_LONGEST: Final = 3_600.0
_NUMBER: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}")
_ACTIONS: Final = ("service", "services", "strangle", "aggregate", "redirect", "respond")
_VARIES: Final = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class _Limit:
    """Seconds; None is no bound, not a number one that is not understood. `line` is 0 for the gateway's own default."""

    seconds: float | None
    line: int = 0


@dataclass(frozen=True, slots=True)
class _Policy:
    """What is said of the policy of a route, on top of what the document's defaults say."""

    total: _Limit = _Limit(_TOTAL)
    attempt: _Limit = _Limit(_ATTEMPT)
    attempts: float = _ATTEMPTS
    retry: int = 0
    """Its line; 0 for the gateway's own default."""
    breaker: bool = True
    breaks: int = 0
    """The line that says whether there is a breaker; 0 for the gateway's own default."""


def is_gateway(document: Node) -> bool:
    """Whether a document is one of ours, by what its routes do."""
    routes = document["routes"].items
    ours = any(action in route.fields for route in routes[:MAX_ROUTES] for action in _ACTIONS)
    return ours and "apiVersion" not in document.fields


def read(reader: Reader, path: str) -> tuple[Call, ...]:
    """A call for each route and service that a request of it waits for."""
    return tuple(call for document in reader.yaml(path)[:1] if is_gateway(document) for call in _calls(path, document))


def _calls(path: str, document: Node) -> Iterator[Call]:
    defaults = _policy(document.at("defaults", "policy"), _Policy())
    for route in document["routes"].items[:MAX_ROUTES]:
        policy = _policy(route["policy"], defaults)
        parts = list(route.at("aggregate", "parts").fields.items())[:MAX_SERVICES]
        for name, part in parts:
            whole = _deadline(route["aggregate"], policy)
            own = _policy(part["policy"], policy)
            limits = [whole, own.total, *([_limit(part["timeout"])] if "timeout" in part.fields else [])]
            shortest = min(limits, key=_length)
            made = _call(path, document, route, part["service"].text, replace(own, total=shortest))
            yield replace(made, function=f"{made.function}, part {name}", path=_bare(part["path"].text))
        for service in _services(route):
            yield _call(path, document, route, service, policy)


def _services(route: Node) -> list[str]:
    strangle = route["strangle"]
    named = (route["service"].text, *route["services"].fields, strangle["from"].text, strangle["to"].text)
    return list(dict.fromkeys(name for name in named if name))[:MAX_SERVICES]


def _call(path: str, document: Node, route: Node, service: str, policy: _Policy) -> Call:
    where = _path(route)
    place = Place(path, route.line)
    address = document.at("services", service)
    urls = (address["url"].text, *address["urls"].texts(), "")
    return Call(
        place=place,
        function=f"the route {route['name'].text or where}",
        library=LIBRARY,
        kind=Kind.HTTP,
        operation="|".join(route["methods"].texts()) or "any method",
        target=Target(url=next(filter(None, urls), ""), service=service),
        path=where,
        timeout=_timeout(path, policy),
        breaker=Guard("the gateway's breaker", Place(path, policy.breaks or route.line)) if policy.breaker else None,
        retry=Guard("its retry", Place(path, policy.retry or route.line)) if policy.attempts > 1 else None,
    )


def _path(route: Node) -> str:
    matches = route["match"].items or [route]
    given = matches[0]["path"]
    return _bare(given.text or next((each.text for each in given.fields.values()), "") or "/")


def _bare(path: str) -> str:
    return _VARIES.sub("{}", path.partition("?")[0])[:200]


def _timeout(path: str, policy: _Policy) -> Timeout:
    total, attempt = policy.total, policy.attempt
    shorter, what = (total, "total") if total.seconds is not None else (attempt, "attempt")
    place = Place(path, shorter.line) if shorter.line else None
    if shorter.seconds is None:
        return Timeout(Bound.UNBOUNDED, None, "total and attempt are null", Place(path, total.line or attempt.line))
    # each attempt has an end, and so have all of them
    seconds = shorter.seconds if what == "total" else shorter.seconds * policy.attempts
    if math.isnan(seconds):
        return Timeout(Bound.UNKNOWN, None, "what gateway.yaml gives as a limit is no number of seconds", place)
    if place is None:
        return Timeout(Bound.DEFAULT, seconds, "the gateway's own policy")
    why = "given" if what == "total" else f"{policy.attempts:g} attempts of {shorter.seconds:g} s"
    return Timeout(Bound.BOUNDED, seconds, why, place)


def _policy(given: Node, above: _Policy) -> _Policy:
    """A policy that names some things on top of another."""
    found = above
    if "total" in given.fields:
        found = replace(found, total=_limit(given["total"]))
    if "attempt" in given.fields:
        found = replace(found, attempt=_limit(given["attempt"]))
    retry = given["retry"]
    if _off(retry):
        found = replace(found, attempts=1, retry=retry.line)
    elif retry.fields:
        found = replace(found, retry=retry.line, attempts=_attempts(retry["attempts"], above.attempts))
    if "attempts" in given.fields:
        found = replace(found, retry=given["attempts"].line, attempts=_attempts(given["attempts"], found.attempts))
    if "breaker" in given.fields:
        breaker = given["breaker"]
        found = replace(found, breaker=not _off(breaker), breaks=breaker.line)
    return found


def _off(given: Node) -> bool:
    return given.text.lower() in {"false", "no", "off"}


def _attempts(given: Node, otherwise: float) -> float:
    return otherwise if given.missing else _seconds(given)


def _deadline(aggregate: Node, policy: _Policy) -> _Limit:
    """Of all parts together; there always is one."""
    if "deadline" in aggregate.fields:
        return _limit(aggregate["deadline"])
    return policy.total if policy.total.seconds is not None else _Limit(_TOTAL)


def _limit(given: Node) -> _Limit:
    return _Limit(None if given.missing else _seconds(given), given.line)


def _seconds(given: Node) -> float:
    value = float(given.text) if _NUMBER.fullmatch(given.text) else math.nan
    return value if 0 < value <= _LONGEST else math.nan


def _length(limit: _Limit) -> float:
    """What is not understood may be shorter than all others."""
    if limit.seconds is None:
        return math.inf
    return 0.0 if math.isnan(limit.seconds) else limit.seconds
