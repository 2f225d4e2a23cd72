"""Writing a specification as manifests of the Gateway API, and saying what these have no words for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import yaml

from skerry.context import EMPTY
from skerry.gateway.kubernetes.manifests import GROUP
from skerry.gateway.kubernetes.rules import POLICY, TOTAL
from skerry.gateway.model import (
    METHODS,
    Backend,
    Cors,
    Forward,
    GatewaySpec,
    HeaderEdit,
    Limits,
    Listener,
    Match,
    PathMatch,
    PolicySpec,
    Redirect,
    Route,
    ValueMatch,
)

_VERSION: Final = f"{GROUP}/v1"
_PORT: Final = 80
_CLASS: Final = "skerry"

Lose = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Export:
    """Manifests as YAML, and what of the specification is not in them: a sentence each."""

    text: str
    lost: tuple[str, ...]


def write(spec: GatewaySpec) -> Export:
    """A Gateway and an HTTPRoute for each route. Services are called on the port of their address, else on 80."""
    lost: list[str] = []
    _gateway_losses(spec, lost.append)
    objects = [_gateway(spec, lost.append)]
    ports = {service.name: _port(service.urls) for service in spec.services}
    for index, route in enumerate(spec.routes):

        def lose(what: str, route: Route = route) -> None:
            lost.append(f"route {route.name!r}: {what}")

        rule = _rule(route, ports, lose)
        if rule is not None:
            objects.append(_route(spec, route, rule, index))
    text = yaml.safe_dump_all(objects, sort_keys=False, explicit_start=True, width=120)
    return Export(text, tuple(lost))


def _port(urls: tuple[str, ...]) -> int:
    told = re.search(r":([0-9]+)$", urls[0]) if urls else None
    return int(told[1]) if told else _PORT


def _gateway_losses(spec: GatewaySpec, lose: Lose) -> None:
    plain = Limits(body=spec.limits.body) if spec.first_wins else Limits()
    for there, what in (
        (spec.limits != plain, "limits"),
        (spec.providers, "jwt: whose tokens are believed"),
        (spec.trusted_hops, "trusted_hops"),
        (spec.access_log is not None, "access_log"),
        (any(service.urls for service in spec.services), "services: their addresses; a cluster has its own"),
        (any(service.ca for service in spec.services), "services: whose certificates are believed"),
    ):
        if there:
            lose(what)


def _gateway(spec: GatewaySpec, lose: Lose) -> dict[str, Any]:
    listeners: list[dict[str, Any]] = []
    for listener in spec.listeners:
        if listener.tls is not None:
            lose(f"listener {listener.name!r}: tls; its certificate belongs into a Secret")
        for number, (name, hostname) in enumerate(_sections(listener)):
            port = listener.port
            if port == 0:
                port = _PORT
                if number == 0:
                    lose(f"listener {listener.name!r}: any free port; {_PORT} is written")
            told = {"name": name, "port": port, "protocol": "HTTP"}
            listeners.append(told if hostname is None else {**told, "hostname": hostname})
    return {
        "apiVersion": _VERSION,
        "kind": "Gateway",
        "metadata": {"name": spec.name},
        "spec": {"gatewayClassName": _CLASS, "listeners": listeners},
    }


def _sections(listener: Listener) -> Iterator[tuple[str, str | None]]:
    """A listener of the Gateway API has one host name at most."""
    for number, hostname in enumerate(listener.hostnames or (None,)):
        yield (listener.name if number == 0 else f"{listener.name}-{number + 1}"), hostname


def _route(spec: GatewaySpec, route: Route, rule: Mapping[str, Any], index: int) -> dict[str, Any]:
    chosen = [listener for listener in spec.listeners if listener.name in route.listeners]
    parents: list[dict[str, Any]] = [{"name": spec.name}]
    if chosen:
        parents = [{"name": spec.name, "sectionName": name} for listener in chosen for name, _ in _sections(listener)]
    inner: dict[str, Any] = {"parentRefs": parents}
    if route.hostnames:
        inner["hostnames"] = list(route.hostnames)
    inner["rules"] = [dict(rule)]
    # the Gateway API settles a tie by the order of names: so names have to sort as the routes do
    slug = re.sub(r"[^a-z0-9]+", "-", route.name.lower()).strip("-")[:40].strip("-")
    name = f"{spec.name}-{index:04}" + (f"-{slug}" if slug else "")
    return {"apiVersion": _VERSION, "kind": "HTTPRoute", "metadata": {"name": name}, "spec": inner}


def _rule(route: Route, ports: Mapping[str, int], lose: Lose) -> dict[str, Any] | None:
    action = route.action
    if not isinstance(action, Forward | Redirect):
        lose(f"the whole route, {'an aggregate' if hasattr(action, 'parts') else 'a fixed answer'}")
        return None
    for there, what in (
        (route.auth, "auth: THE ROUTE IS OPEN TO ALL in what is written"),
        (route.rate, "rate_limit"),
        (route.compress, "compress"),
        (route.body is not None, "body"),
        (route.priority != EMPTY.priority, "priority"),
    ):
        if there:
            lose(what)
    matches = [each for match in route.matches for each in _matches(match, lose)]
    rule: dict[str, Any] = {"matches": matches}
    filters = _edits(route.request_headers, route.response_headers)
    if route.cors is not None:
        filters.append({"type": "CORS", "cors": _cors(route.cors)})
    if isinstance(action, Redirect):
        filters.append({"type": "RequestRedirect", "requestRedirect": _redirect(action)})
        return {**rule, "filters": filters}
    filters += _forwarding(action, ports)
    if filters:
        rule["filters"] = filters
    if action.sticky is not None:
        lose("sticky")
    backends = action.backends
    if action.strangle is not None:
        control = action.strangle.control
        lose(f"strangle: ALL REQUESTS GO TO {control} in what is written")
        backends = tuple(replace(backend, weight=1) for backend in backends if backend.service == control)
    if backends:
        rule["backendRefs"] = [_backend(backend, ports) for backend in backends]
    _policy(route.policy, rule, lose)
    return rule


def _matches(match: Match, lose: Lose) -> Iterator[dict[str, Any]]:
    if match.cookies:
        lose("cookies: their condition is gone, so the route takes MORE in what is written")
    told: dict[str, Any] = {"path": _path(match.path)}
    for key, wanted in (("headers", match.headers), ("queryParams", match.query)):
        if wanted:
            told[key] = [_wanted(each) for each in wanted]
    for method in (None,) if match.methods is None else sorted(match.methods, key=METHODS.index):
        yield told if method is None else {**told, "method": method}


def _path(path: PathMatch) -> dict[str, str]:
    if path.kind == "template":
        parts = ["[^/]+" if part.startswith("{") else re.escape(part) for part in path.value.split("/")]
        return {"type": "RegularExpression", "value": "/".join(parts)}
    kinds = {"exact": "Exact", "prefix": "PathPrefix", "regex": "RegularExpression"}
    return {"type": kinds[path.kind], "value": path.value}


def _wanted(wanted: ValueMatch) -> dict[str, str]:
    kind = "RegularExpression" if wanted.regex else "Exact"
    return {"type": kind, "name": wanted.name, "value": wanted.value}


def _edits(request: HeaderEdit, response: HeaderEdit) -> list[dict[str, Any]]:
    return [
        {"type": kind, kind[0].lower() + kind[1:]: _edit(edit)}
        for kind, edit in (("RequestHeaderModifier", request), ("ResponseHeaderModifier", response))
        if edit != HeaderEdit()
    ]


def _edit(edit: HeaderEdit) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for key, pairs in (("set", edit.set), ("add", edit.add)):
        if pairs:
            told[key] = [{"name": name, "value": value} for name, value in pairs]
    if edit.remove:
        told["remove"] = list(edit.remove)
    return told


def _new_path(prefix: str | None, full: str | None) -> dict[str, str] | None:
    if prefix is not None:
        return {"type": "ReplacePrefixMatch", "replacePrefixMatch": prefix}
    return None if full is None else {"type": "ReplaceFullPath", "replaceFullPath": full}


def _known(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in pairs if value is not None}


def _redirect(action: Redirect) -> dict[str, Any]:
    return _known(
        (
            ("scheme", action.scheme),
            ("hostname", action.host),
            ("path", _new_path(action.prefix, action.full)),
            ("port", action.port),
            ("statusCode", action.status),
        )
    )


def _forwarding(action: Forward, ports: Mapping[str, int]) -> list[dict[str, Any]]:
    filters: list[dict[str, Any]] = []
    rewrite = _known(
        (("hostname", action.rewrite.host), ("path", _new_path(action.rewrite.prefix, action.rewrite.full)))
    )
    if rewrite:
        filters.append({"type": "URLRewrite", "urlRewrite": rewrite})
    for mirror in action.mirrors:
        told: dict[str, Any] = {"backendRef": {"name": mirror.service, "port": ports.get(mirror.service, _PORT)}}
        if mirror.percent < 100:
            told["fraction"] = {"numerator": round(mirror.percent * 1000), "denominator": 100_000}
        filters.append({"type": "RequestMirror", "requestMirror": told})
    return filters


def _backend(backend: Backend, ports: Mapping[str, int]) -> dict[str, Any]:
    name = backend.service or "none"
    told: dict[str, Any] = {"name": name, "port": ports.get(name, _PORT), "weight": backend.weight}
    filters = _edits(backend.request_headers, backend.response_headers)
    return {**told, "filters": filters} if filters else told


def _cors(cors: Cors) -> dict[str, Any]:
    told = {
        "allowOrigins": list(cors.origins),
        "allowCredentials": cors.credentials,
        "allowMethods": list(cors.methods),
        "allowHeaders": list(cors.headers),
        "exposeHeaders": list(cors.expose),
        "maxAge": max(cors.max_age, 1),
    }
    return {name: value for name, value in told.items() if value}


def _policy(policy: PolicySpec, rule: dict[str, Any], lose: Lose) -> None:
    timeouts: dict[str, str] = {}
    if policy.total != TOTAL:
        timeouts["request"] = _duration(policy.total)
    if policy.attempt is not None:
        timeouts["backendRequest"] = _duration(policy.attempt)
    if timeouts:
        rule["timeouts"] = timeouts
    retry = policy.retry
    if retry.attempts > 1:
        told: dict[str, Any] = {"attempts": retry.attempts - 1, "backoff": _duration(retry.backoff)}
        if retry.statuses:
            told["codes"] = sorted(retry.statuses)
        rule["retry"] = told
        if not retry.unsafe:
            lose("policy.retry.unsafe: what is not idempotent MAY BE SENT TWICE in what is written")
        if (retry.budget, retry.per_second) != (POLICY.retry.budget, POLICY.retry.per_second):
            lose("policy.retry: its budget")
    if policy.breaker is not None:
        lose("policy.breaker")
    if (policy.concurrency, policy.queue, policy.adaptive) != (POLICY.concurrency, POLICY.queue, POLICY.adaptive):
        lose("policy: concurrency, queue and adaptive")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "0s"
    thousandths = max(round(seconds * 1000), 1) if seconds else 0
    whole, rest = divmod(thousandths, 1000)
    hours, whole = divmod(whole, 3600)
    told = "".join(f"{number}{unit}" for number, unit in ((hours, "h"), (whole, "s"), (rest, "ms")) if number)
    return told or "0s"
