"""From what the tables have read to the model. Nothing can be wrong here: each value is of its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from skerry.gateway.model import (
    AccessLog,
    Action,
    Aggregate,
    Auth,
    Backend,
    BreakerSpec,
    Cors,
    Forward,
    GatewaySpec,
    HeaderEdit,
    JwtProvider,
    Limits,
    Listener,
    Match,
    Mirror,
    Part,
    PathMatch,
    PolicySpec,
    RateSpec,
    Redirect,
    Respond,
    RetrySpec,
    Rewrite,
    Route,
    Service,
    Shape,
    Sticky,
    Tls,
    ValueMatch,
)
from skerry.gateway.reading import strangling
from skerry.gateway.reading.kinds import LINE
from skerry.gateway.reading.memory import Memory

Values = Mapping[str, Any]
_NO_RETRY: Final = RetrySpec(attempts=1)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a route has when it says nothing."""

    policy: PolicySpec = field(default_factory=PolicySpec)
    auth: Auth | None = None
    rate: RateSpec | None = None
    cors: Cors | None = None
    compress: bool = False


def gateway(values: Values, *, source: str, folder: Path, memory: Memory | None = None) -> GatewaySpec:
    """The whole. Files that are not absolute are in `folder`. Routes that `memory` knows are the same objects."""
    defaults = _defaults(values.get("defaults", {}))
    if memory is not None:
        memory.defaults(defaults)
    listeners = tuple(_listener(each, folder) for each in values.get("listeners", ())) or (Listener(),)
    log = values.get("access_log")
    return GatewaySpec(
        name=values.get("name", "gateway"),
        listeners=listeners,
        services=tuple(_service(name, each, folder) for name, each in values.get("services", ())),
        providers=tuple(_provider(name, each, folder) for name, each in values.get("jwt", ())),
        routes=tuple(
            _known_route(name, each, defaults, memory)
            for name, each in zip(_names(values["routes"]), values["routes"], strict=True)
        ),
        limits=Limits(**values.get("limits", {})),
        trusted_hops=values.get("trusted_hops", 0),
        access_log=None if log is None else AccessLog(**_files(log, folder, "file")),
        source=source,
    )


def _names(routes: Sequence[Values]) -> Iterator[str]:
    """What routes are called. One without a name is called by its path, the second of a path also by its number."""
    taken = {each["name"] for each in routes if "name" in each}
    for each in routes:
        name = each.get("name")
        if name is None:
            path = each.get("match", (each,))[0].get("path", "/")
            first = name = path if isinstance(path, str) else next(iter(path.values()))
            number = 1
            while name in taken:
                number += 1
                name = f"{first} ({number})"
            taken.add(name)
        yield name


def _defaults(values: Values) -> Defaults:
    return Defaults(
        policy=_policy(values.get("policy", {}), PolicySpec()),
        auth=_auth(values["auth"]) if "auth" in values else None,
        rate=RateSpec(**values["rate_limit"]) if "rate_limit" in values else None,
        cors=Cors(**values["cors"]) if "cors" in values else None,
        compress=values.get("compress", False),
    )


def _files(values: Values, folder: Path, *keys: str) -> dict[str, Any]:
    found = dict(values)
    for key in keys:
        name = found.get(key)
        if name is not None and name != "-":
            found[key] = str(folder / name)
    return found


def _listener(values: Values, folder: Path) -> Listener:
    tls = values.get("tls")
    own = {**values, "tls": None if tls is None else Tls(**_files(tls, folder, "certificate", "key", "client_ca"))}
    return Listener(**own)


def _service(name: str, values: Values, folder: Path) -> Service:
    own = _files(values, folder, "ca")
    url = own.pop("url", None)
    if url is not None:
        own["urls"] = (url,)
    return Service(name, **own)


def _provider(name: str, values: Values, folder: Path) -> JwtProvider:
    return JwtProvider(name, **_files(values, folder, "jwks_file"))


def _policy(values: Values, default: PolicySpec) -> PolicySpec:
    if not values:
        return default
    own = dict(values)
    if "retry" in own:
        own["retry"] = _NO_RETRY if own["retry"] is None else _retry(own["retry"], default.retry)
    if "attempts" in own:
        own["retry"] = replace(own.get("retry", default.retry), attempts=own.pop("attempts"))
    if own.get("breaker") is not None:
        own["breaker"] = replace(default.breaker or BreakerSpec(), **own["breaker"])
    policy = replace(default, **own)
    if policy.total is not None and policy.attempt is not None and policy.attempt > policy.total:
        return replace(policy, attempt=policy.total)
    return policy


def _retry(values: Values, default: RetrySpec) -> RetrySpec:
    own = dict(values)
    if "statuses" in own:
        own["statuses"] = frozenset(own["statuses"])
    return replace(default, **own)


def _auth(values: Any) -> Auth:
    return Auth((values,)) if isinstance(values, str) else Auth(**values)


def _known_route(name: str, values: Values, defaults: Defaults, memory: Memory | None) -> Route:
    if memory is None:
        return _route(name, values, defaults)
    found = memory.route(name, values)
    if found is None:
        found = _route(name, values, defaults)
        memory.keep_route(name, values, found)
    return found


def _route(name: str, values: Values, defaults: Defaults) -> Route:
    policy = _policy(values.get("policy", {}), defaults.policy)
    whole = "aggregate" in values
    auth = values.get("auth", defaults.auth)
    rate = values.get("rate_limit", defaults.rate)
    cors = values.get("cors", defaults.cors)
    return Route(
        name=name,
        matches=tuple(_match(each, template=whole) for each in values.get("match", (values,))),
        action=_action(values, policy),
        hostnames=values.get("hostnames", ()),
        listeners=values.get("listeners", ()),
        policy=policy,
        request_headers=_edit(values.get("request_headers")),
        response_headers=_edit(values.get("response_headers")),
        auth=auth if auth is None or isinstance(auth, Auth) else _auth(auth),
        rate=rate if rate is None or isinstance(rate, RateSpec) else RateSpec(**rate),
        cors=cors if cors is None or isinstance(cors, Cors) else Cors(**cors),
        compress=values.get("compress", defaults.compress),
        body=values.get("body"),
        priority=values.get("priority", 5),
        line=values[LINE],
    )


def _match(values: Values, *, template: bool) -> Match:
    path = values.get("path", "/")
    if isinstance(path, str):
        found = PathMatch("template" if template else "prefix", path)
    else:
        kind, value = next(iter(path.items()))
        found = PathMatch(kind, value)
    methods = values.get("methods")
    if methods is not None:
        methods = frozenset(methods) | ({"HEAD"} if "GET" in methods else set())
    return Match(
        found,
        methods,
        _wanted(values.get("headers", ()), lower=True),
        _wanted(values.get("query", ())),
        _wanted(values.get("cookies", ())),
    )


def _wanted(values: tuple[tuple[str, Any], ...], *, lower: bool = False) -> tuple[ValueMatch, ...]:
    return tuple(
        ValueMatch(name.lower() if lower else name, wanted)
        if isinstance(wanted, str)
        else ValueMatch(name.lower() if lower else name, wanted["regex"], regex=True)
        for name, wanted in values
    )


def _edit(values: Values | None) -> HeaderEdit:
    return HeaderEdit(**values) if values else HeaderEdit()


def _action(values: Values, policy: PolicySpec) -> Action:
    if "redirect" in values:
        return Redirect(**values["redirect"])
    if "respond" in values:
        return Respond(**values["respond"])
    if "aggregate" in values:
        return _aggregate(values["aggregate"], policy)
    return _forward(values)


def _forward(values: Values) -> Forward:
    plan = strangling.strangle(values["strangle"]) if "strangle" in values else None
    if plan is not None:
        backends = strangling.backends(plan)
    elif "service" in values:
        backends = (Backend(values["service"]),)
    else:
        backends = tuple(_backend(name, each) for name, each in values["services"])
    sticky = values.get("strangle", values).get("sticky")
    rewrite = values.get("rewrite", {})
    return Forward(
        backends,
        sticky=None if sticky is None else Sticky(*next(iter(sticky.items()))),
        mirrors=tuple(_mirror(each) for each in values.get("mirrors", ())),
        rewrite=Rewrite(prefix=rewrite) if isinstance(rewrite, str) else Rewrite(**rewrite),
        strangle=plan,
    )


def _backend(name: str, values: Any) -> Backend:
    if isinstance(values, int):
        return Backend(name, values)
    return Backend(
        name,
        values.get("weight", 1),
        _edit(values.get("request_headers")),
        _edit(values.get("response_headers")),
    )


def _mirror(values: Any) -> Mirror:
    return Mirror(values) if isinstance(values, str) else Mirror(**values)


def _aggregate(values: Values, policy: PolicySpec) -> Aggregate:
    deadline = values.get("deadline", policy.total or PolicySpec().total)
    return Aggregate(deadline, tuple(_part(name, each, policy) for name, each in values["parts"]))


def _part(name: str, values: Values, policy: PolicySpec) -> Part:
    return Part(
        name=name,
        service=values["service"],
        path=values["path"],
        query=values.get("query", ()),
        required=values.get("required", False),
        timeout=values.get("timeout"),
        policy=_policy(values.get("policy", {}), policy),
        fallback=values.get("fallback"),
        shape=Shape(values.get("pick", ()), values.get("rename", ())),
    )
