"""What contradicts itself in a specification, whether it was read or put together in Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from skerry.errors import ConfigurationError
from skerry.gateway.cors import Rules
from skerry.gateway.model import Addresses, Auth, Cors, GatewaySpec, JwtProvider, Listener, Route, Service
from skerry.gateway.reading import route_checks
from skerry.gateway.reading.document import MAX_MISTAKES, Steps, fail, written
from skerry.gateway.reading.memory import Memory
from skerry.gateway.reading.ranges import Mistake, hosts, policy, ranges
from skerry.gateway.reading.syntax import URL, URL_HINT, wrong_edit
from skerry.gateway.reading.tables import ALGORITHMS, MAX_HOPS, MAX_ROUTES, SYMMETRIC

_LOOPBACK: Final = re.compile(r"http://(?:localhost|127\.0\.0\.1|\[::1\])(?=[:/]|$)")


def check(spec: GatewaySpec) -> None:
    """Raise `ConfigurationError` for what contradicts itself; all of it, as `Mistakes`, when there is more than one."""
    _raise(spec, list(mistakes(spec)))


def check_addresses(spec: GatewaySpec, addresses: Addresses) -> None:
    """Raise `ConfigurationError` for services that have no address, neither in `addresses` nor in the specification."""
    told = {name for name, urls in addresses.items() if urls} | {each.name for each in spec.services if each.urls}
    where = "give it a url here, or set its SKERRY_URL_ variable"
    _raise(
        spec,
        [(("services", name), f"nobody says where {name!r} is: {where}") for name in sorted(spec.called - told)],
    )


def _raise(spec: GatewaySpec, found: list[Mistake]) -> None:
    if found:
        fail([_error(spec, steps, message) for steps, message in found[:MAX_MISTAKES]])


def _error(spec: GatewaySpec, steps: Steps, message: str) -> ConfigurationError:
    line = None
    if len(steps) > 1 and steps[0] == "routes" and isinstance(steps[1], int):
        route = spec.routes[steps[1]]
        line = route.line or None
        message = f"{message} (route {route.name!r})"
    return ConfigurationError(message, source=spec.source, line=line, field=written(steps) or None)


def mistakes(spec: GatewaySpec, *, memory: Memory | None = None) -> Iterator[Mistake]:
    """All contradictions. Routes that `memory` knows to be sound are not looked at again, but for what is between routes."""
    if memory is not None:
        memory.around((spec.listeners, spec.providers))
    yield from _listeners(spec.listeners)
    yield from _services(spec.services)
    yield from _providers(spec.providers)
    yield from ranges(spec.limits, ("limits",))
    if not 0 <= spec.trusted_hops <= MAX_HOPS:
        yield ("trusted_hops",), f"must be a whole number from 0 to {MAX_HOPS}"
    if spec.access_log is not None and not 0 <= spec.access_log.sample <= 1:
        yield ("access_log", "sample"), "must be a number from 0 to 1"
    if len(spec.routes) > MAX_ROUTES or not (spec.routes or spec.first_wins):
        yield ("routes",), f"there must be 1 to {MAX_ROUTES} routes"
    yield from route_checks.doubled_names(spec)
    for index, route in enumerate(spec.routes):
        if memory is not None and memory.is_sound(route):
            continue
        found = list(_of_route(spec, route, ("routes", index)))
        yield from found
        if memory is not None and not found:
            memory.keep_sound(route)
    if not spec.first_wins:
        yield from route_checks.doubles(spec)


def _of_route(spec: GatewaySpec, route: Route, at: Steps) -> Iterator[Mistake]:
    yield from route_checks.route(spec, route, at)
    yield from policy(route.policy, (*at, "policy"))
    if route.rate is not None:
        yield from ranges(route.rate, (*at, "rate_limit"))
        if route.rate.key == "identity" and route.auth is None:
            yield (*at, "rate_limit", "key"), "there is no identity without 'auth'"
    if route.auth is not None:
        yield from _auth(route.auth, spec, (*at, "auth"))
    if route.cors is not None:
        yield from _cors(route.cors, (*at, "cors"))


def _listeners(listeners: tuple[Listener, ...]) -> Iterator[Mistake]:
    if not listeners:
        yield ("listeners",), "there must be one at least"
    places: set[tuple[str, int]] = set()
    for index, listener in enumerate(listeners):
        at: Steps = ("listeners", index)
        yield from ranges(listener, at)
        yield from hosts(listener.hostnames, at)
        if listener.name in {other.name for other in listeners[:index]}:
            yield (*at, "name"), f"{listener.name!r} is the name of another listener already"
        place = (listener.address, listener.port)
        if listener.port and place in places:
            yield (*at, "port"), f"{listener.address}:{listener.port} is another listener's already"
        places.add(place)


def _services(services: tuple[Service, ...]) -> Iterator[Mistake]:
    names: set[str] = set()
    for service in services:
        at: Steps = ("services", service.name)
        yield from ranges(service, at)
        if service.name in names:
            yield at, "is there twice"
        names.add(service.name)
        for url in service.urls:
            if not re.fullmatch(URL, url):
                yield (*at, "urls"), f"{url[:80]!r} is not {URL_HINT}"
        schemes = {url.partition(":")[0] for url in service.urls}
        if len(schemes) > 1:
            yield (*at, "urls"), "http and https contradict each other"
        if service.ca is not None and "http" in schemes:
            yield (*at, "ca"), "is for https, and the addresses are http"


def _providers(providers: tuple[JwtProvider, ...]) -> Iterator[Mistake]:
    names: set[str] = set()
    for provider in providers:
        at: Steps = ("jwt", provider.name)
        yield from ranges(provider, at)
        if provider.name in names:
            yield at, "is there twice"
        names.add(provider.name)
        yield from _keys(provider, at)
        if not provider.audiences:
            yield (*at, "audiences"), "there must be one at least: a token for somebody else is not for this gateway"
        for claim, header in provider.claims:
            why = wrong_edit(header)
            if why is not None:
                yield (*at, "claims", claim), why


def _keys(provider: JwtProvider, at: Steps) -> Iterator[Mistake]:
    if provider.jwks_file is not None and provider.jwks_url is not None:
        yield at, "must not have both 'jwks_file' and 'jwks_url'"
    field, url = "jwks_url", provider.jwks_url
    if provider.jwks_file is None and url is None:
        field, url = "issuer", provider.issuer
    if url is not None and not url.startswith("https://") and not _LOOPBACK.match(url):
        yield (
            (*at, field),
            "keys are fetched by https, or from this machine: who changes them on the way is believed",
        )
    unknown = [name for name in provider.algorithms if name not in ALGORITHMS]
    if unknown or not provider.algorithms:
        yield (*at, "algorithms"), f"must be some of {', '.join(ALGORITHMS)}"
    shared = [name for name in provider.algorithms if name in SYMMETRIC]
    if shared and len(shared) < len(provider.algorithms):
        yield (*at, "algorithms"), "a shared secret and public keys contradict each other: one could pass for the other"
    if shared and url is not None:
        yield (*at, "algorithms"), f"{shared[0]} needs a secret, which is not fetched from an address: use 'jwks_file'"


def _auth(auth: Auth, spec: GatewaySpec, at: Steps) -> Iterator[Mistake]:
    known = {provider.name for provider in spec.providers}
    if not auth.providers:
        yield (*at, "providers"), "there must be one at least"
    for name in auth.providers:
        if name not in known:
            yield (*at, "providers"), f"there is no {name!r} under 'jwt'"


def _cors(cors: Cors, at: Steps) -> Iterator[Mistake]:
    try:
        Rules(cors)
    except ConfigurationError as error:
        yield at, str(error).removeprefix("cors: ")
