"""From a rule of an HTTPRoute to a route of the model, by the Gateway API's meaning."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from skerry.gateway.kubernetes.manifests import Manifests, Object
from skerry.gateway.kubernetes.tables import FILTER_TYPES
from skerry.gateway.model import (
    METHODS,
    Backend,
    Cors,
    Forward,
    HeaderEdit,
    Match,
    Mirror,
    PathMatch,
    PolicySpec,
    Redirect,
    RetrySpec,
    Rewrite,
    Route,
    ValueMatch,
)
from skerry.gateway.reading.document import Steps
from skerry.gateway.reading.kinds import LINE

TOTAL: Final = 15.0
"""Seconds for a request of a rule without `timeouts.request`: the Gateway API leaves it open, and no bound is dangerous."""
POLICY: Final = PolicySpec(
    total=TOTAL,
    attempt=None,
    retry=RetrySpec(attempts=1, statuses=frozenset(), unsafe=True, budget=0.2, per_second=10.0),
    breaker=None,
    concurrency=1024,
    queue=1024,
)
"""What a rule is called with that says nothing: no attempt after the first, no breaker, and more at once than a worker can do."""
ATTEMPTS: Final = 2
"""Of a rule with `retry` and no number of attempts."""
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_WELL_KNOWN: Final = {"http": 80, "https": 443}

Names = Callable[[str, str, int | None], str | None]
"""The model's name of a service, by namespace, name and port; None when there is none."""


def duration(text: str) -> float:
    """Seconds of a duration by GEP-2257, such as `1m30s` or `500ms`."""
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)(ms|h|m|s)", text))


@dataclass(slots=True)
class _Filters:
    """What the filters of a rule, or of one of its backends, say together."""

    request: HeaderEdit = field(default_factory=HeaderEdit)
    response: HeaderEdit = field(default_factory=HeaderEdit)
    redirect: Redirect | None = None
    rewrite: Rewrite = field(default_factory=Rewrite)
    mirrors: list[Mirror] = field(default_factory=list)
    cors: Cors | None = None

    @property
    def beyond_headers(self) -> bool:
        return bool(self.redirect or self.mirrors or self.cors) or self.rewrite != Rewrite()


class Rules:
    """Reads the rules of one HTTPRoute. Mistakes are noted in its document."""

    def __init__(self, route: Object, manifests: Manifests, names: Names) -> None:
        self._route = route
        self._document = route.document
        self._manifests = manifests
        self._names = names

    def read(self) -> Iterator[Route]:
        """A route of the model for each rule, for all listeners and hosts."""
        for index, rule in enumerate(self._route.spec.get("rules", ({LINE: self._document.line(("spec",))},))):
            yield self._rule(index, rule, ("spec", "rules", index))

    def _rule(self, index: int, rule: Mapping[str, Any], at: Steps) -> Route:
        matches = tuple(
            self._match(match, (*at, "matches", number)) for number, match in enumerate(rule.get("matches") or ({},))
        )
        filters = self._filters(rule.get("filters", ()), matches, (*at, "filters"))
        refs = rule.get("backendRefs", ())
        if filters.redirect is not None and refs:
            self._document.refuse("a redirect and backendRefs contradict each other", (*at, "backendRefs"))
        backends = tuple(
            self._backend(ref, (*at, "backendRefs", number), filters, matches if len(refs) == 1 else None)
            for number, ref in enumerate(refs)
        )
        if not any(backend.weight for backend in backends):
            backends = ()
        forward = Forward(backends, mirrors=tuple(filters.mirrors), rewrite=filters.rewrite)
        return Route(
            name=f"{self._route.namespace}/{self._route.name}/{rule.get('name', index)}",
            matches=matches,
            action=forward if filters.redirect is None else filters.redirect,
            policy=self._policy(rule, at),
            request_headers=filters.request,
            response_headers=filters.response,
            cors=filters.cors,
            line=rule[LINE],
        )

    def _match(self, match: Mapping[str, Any], at: Steps) -> Match:
        path = match.get("path", {})
        kinds: Mapping[str, Any] = {"Exact": "exact", "PathPrefix": "prefix", "RegularExpression": "regex"}
        kind = kinds[path.get("type", "PathPrefix")]
        value = path.get("value", "/")
        if kind != "regex" and not value.startswith("/"):
            self._document.refuse("must begin with a slash", (*at, "path", "value"))
        if kind == "prefix":
            value = value.rstrip("/") or "/"
        method = match.get("method")
        return Match(
            PathMatch(kind, value),
            None if method is None else frozenset({method}),
            _wanted(match.get("headers", ()), lower=True),
            _wanted(match.get("queryParams", ())),
        )

    def _backend(self, ref: Mapping[str, Any], at: Steps, rule: _Filters, matches: tuple[Match, ...] | None) -> Backend:
        """One backend. What its filters say beyond headers holds for the rule if it is the only one: `matches` are given then."""
        filters = self._filters(ref.get("filters", ()), matches or (), (*at, "filters"))
        if filters.beyond_headers:
            if matches is None or rule.beyond_headers:
                why = "beside other backends, or other filters of the rule, only edits of headers are read"
                self._document.refuse(why, (*at, "filters"))
            rule.redirect, rule.rewrite = filters.redirect, filters.rewrite
            rule.mirrors, rule.cors = filters.mirrors, filters.cors
        return Backend(self._service(ref, at), ref.get("weight", 1), filters.request, filters.response)

    def _service(self, ref: Mapping[str, Any], at: Steps) -> str | None:
        """None for what does not exist or may not be used: the Gateway API wants 500 for its share."""
        if ref.get("kind", "Service") != "Service" or ref.get("group", ""):
            return None
        if "port" not in ref:
            self._document.refuse("'port' is missing", at)
        namespace = ref.get("namespace", self._route.namespace)
        if namespace != self._route.namespace and not self._granted(namespace, ref["name"]):
            return None
        return self._names(namespace, ref["name"], ref.get("port"))

    def _granted(self, namespace: str, name: str) -> bool:
        for grant in self._manifests.grants:
            comes = any(
                each.get("kind") == "HTTPRoute" and each.get("namespace") == self._route.namespace
                for each in grant.spec["from"]
            )
            goes = any(each.get("kind") == "Service" and each.get("name", name) == name for each in grant.spec["to"])
            if grant.namespace == namespace and comes and goes:
                return True
        return False

    def _policy(self, rule: Mapping[str, Any], at: Steps) -> PolicySpec:
        timeouts, retry = rule.get("timeouts", {}), rule.get("retry")
        tries = RetrySpec(attempts=1) if retry is None else _retry(retry)
        attempt = duration(timeouts["backendRequest"]) if "backendRequest" in timeouts else 0.0
        if "request" in timeouts:
            total = duration(timeouts["request"])
            if total and attempt > total:
                self._document.refuse("is longer than that of the request", (*at, "timeouts", "backendRequest"))
        else:
            total = max(TOTAL, tries.attempts * (attempt + tries.longest))
        return replace(
            POLICY, total=total or None, attempt=attempt or None, retry=POLICY.retry if retry is None else tries
        )

    def _filters(self, filters: tuple[Mapping[str, Any], ...], matches: tuple[Match, ...], at: Steps) -> _Filters:
        found = _Filters()
        once: set[str] = set()
        for index, each in enumerate(filters):
            kind, key = each["type"], FILTER_TYPES[each["type"]]
            here: Steps = (*at, index)
            if key not in each or len(each) != 2:
                self._document.refuse(f"a filter of the type {kind} has {key!r} and no other", here)
                continue
            if kind in once and kind != "RequestMirror":
                self._document.refuse(f"{kind} may be there once", here)
            once.add(kind)
            self._filter(kind, each[key], found, matches, (*here, key))
        if found.redirect is not None and found.rewrite != Rewrite():
            self._document.refuse("a redirect and a rewrite contradict each other", at)
        return found

    def _filter(self, kind: str, told: Any, found: _Filters, matches: tuple[Match, ...], at: Steps) -> None:
        match kind:
            case "RequestHeaderModifier":
                found.request = _edit(told)
            case "ResponseHeaderModifier":
                found.response = _edit(told)
            case "RequestRedirect":
                scheme = told.get("scheme")
                prefix, full = self._new_path(told.get("path"), matches, (*at, "path"))
                port = told.get("port", _WELL_KNOWN.get(scheme))
                found.redirect = Redirect(
                    scheme, told.get("hostname"), port, prefix, full, status=told.get("statusCode", 302)
                )
            case "URLRewrite":
                prefix, full = self._new_path(told.get("path"), matches, (*at, "path"))
                found.rewrite = Rewrite(prefix, full, told.get("hostname"))
            case "RequestMirror":
                self._mirror(told, found, at)
            case "CORS":
                found.cors = self._cors(told, at)

    def _new_path(self, told: Any, matches: tuple[Match, ...], at: Steps) -> tuple[str | None, str | None]:
        """What replaces the prefix, and what the whole path."""
        if told is None:
            return None, None
        kind = told["type"]
        key = kind[0].lower() + kind[1:]
        if key not in told or len(told) != 2:
            self._document.refuse(f"a path of the type {kind} has {key!r} and no other", at)
            return None, None
        if key == "replaceFullPath":
            return None, "/" + told[key].lstrip("/")
        if any(match.path.kind != "prefix" for match in matches):
            self._document.refuse("there is no prefix to replace unless all matches are by PathPrefix", at)
        return "/" + told[key].strip("/"), None

    def _mirror(self, told: Mapping[str, Any], found: _Filters, at: Steps) -> None:
        service = self._service(told["backendRef"], (*at, "backendRef"))
        fraction = told.get("fraction")
        percent = float(told.get("percent", 100))
        if fraction is not None:
            percent = 100.0 * fraction["numerator"] / fraction.get("denominator", 100)
        if percent > 100:
            self._document.refuse("is more than the whole", (*at, "fraction"))
        elif service is None:
            self._document.refuse("nobody says where this service is", (*at, "backendRef"))
        elif percent > 0:
            found.mirrors.append(Mirror(service, percent))

    def _cors(self, told: Mapping[str, Any], at: Steps) -> Cors:
        origins = told.get("allowOrigins", ())
        credentials = told.get("allowCredentials", False)
        if not origins or ("*" in origins and (credentials or len(origins) > 1)):
            self._document.refuse(
                "origins by name, or '*' alone and without credentials, are read", (*at, "allowOrigins")
            )
        methods = told.get("allowMethods", ("GET", "HEAD", "POST"))
        return Cors(
            origins,
            METHODS if "*" in methods else methods,
            told.get("allowHeaders", ()),
            told.get("exposeHeaders", ()),
            credentials,
            min(told.get("maxAge", 5), 86400),
        )


def _retry(told: Mapping[str, Any]) -> RetrySpec:
    backoff = duration(told["backoff"]) if "backoff" in told else RetrySpec().backoff
    return replace(
        POLICY.retry,
        attempts=told["attempts"] + 1 if "attempts" in told else ATTEMPTS,
        statuses=frozenset(told.get("codes", ())),
        backoff=backoff,
        longest=max(backoff, RetrySpec().longest),
    )


def _edit(told: Mapping[str, Any]) -> HeaderEdit:
    return HeaderEdit(
        tuple((each["name"], each["value"]) for each in told.get("set", ())),
        tuple((each["name"], each["value"]) for each in told.get("add", ())),
        told.get("remove", ()),
    )


def _wanted(told: tuple[Mapping[str, Any], ...], *, lower: bool = False) -> tuple[ValueMatch, ...]:
    """Of entries with equivalent names the first counts, by the Gateway API."""
    found: dict[str, ValueMatch] = {}
    for each in told:
        name = each["name"].lower() if lower else each["name"]
        regex = each.get("type") == "RegularExpression"
        found.setdefault(name, ValueMatch(name, each["value"], regex=regex))
    return tuple(found.values())
