"""A gateway's specification as a configuration of Envoy: plain values, made without Envoy and without its packages.

Envoy takes the first route that fits and knows nothing of the Gateway API's order, so each host's routes are put in that order
here. Whatever refers to something is checked here as well, for Envoy takes references to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skerry.context import RETRIED_HEADER
from skerry.envoy.resources import Resources
from skerry.gateway.envoy import listening
from skerry.gateway.envoy.actions import NOWHERE, Actions, answer
from skerry.gateway.envoy.matches import Entry, conditions, covers, entries, ordered, specificity
from skerry.gateway.envoy.memory import Memory, recording
from skerry.gateway.envoy.notes import Notes
from skerry.gateway.envoy.protections import BUFFER, CORS, Protections, removed_headers
from skerry.gateway.envoy.strangling import Counted, counted, is_strangled
from skerry.gateway.envoy.upstreams import Upstreams
from skerry.gateway.envoy.values import Plain, edits, enabled, fingerprint, header_value, regex
from skerry.gateway.model import (
    METHODS,
    RESERVED,
    Addresses,
    Aggregate,
    GatewaySpec,
    Listener,
    Match,
    PathMatch,
    Respond,
    Route,
)

NOBODY = "http://127.0.0.1:9"
"""Nobody is there."""
_MOST_BODY = 4096
_OURS = ("x-envoy-external-address", "x-envoy-internal", "x-envoy-expected-rq-timeout-ms", "x-envoy-attempt-count")
_HEALTH = "application/health+json"
_AMBIGUOUS = r".*(%00|[^!-~]).*"
_PORT = "[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_HOST = rf"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?:{_PORT}))?"


@dataclass(frozen=True, slots=True)
class Compiled:
    """What Envoy is given, and what it does a little differently from the embedded engine. `routes` of the specification that the
    embedded engine has to answer behind it are in `behind`.
    """

    resources: Resources
    differences: tuple[str, ...]
    behind: tuple[str, ...] = ()
    counted: tuple[Counted, ...] = ()
    """Routes of which something is to be counted."""


def compile_spec(
    spec: GatewaySpec,
    *,
    addresses: Addresses,
    behind: str = NOBODY,
    draining: bool = False,
    memory: Memory | None = None,
) -> Compiled:
    """The specification for Envoy. `addresses` are those of the services, by name, where they do not stand in the specification;
    `behind` is where the embedded engine answers what Envoy has no form for; `draining` lets readiness say no; `memory` has what
    was compiled before: routes that are the same objects are not compiled again.

    Raises `ConfigurationError` that lists all that Envoy cannot do, each with route and field. Reads the files of keys and
    certificates; asks nobody.
    """
    notes = Notes(spec)
    upstreams = Upstreams(spec, addresses, notes)
    memory = memory or Memory()
    memory.begin(spec, addresses, behind)
    listeners: dict[str, Plain] = {}
    routes: dict[str, Plain] = {}
    for group in listening.groups(spec):
        chained, files = [], []
        parts = listening.chains(group)
        for mine in parts:
            built = _Chain(spec, mine, upstreams, notes, memory, behind=behind, draining=draining)
            routes[built.routes["name"]] = built.routes
            chained.append(listening.chain(spec, mine, built.manager, alone=len(parts) == 1))
            if (tls := mine[0].tls) is not None:
                files += [path for path in (tls.certificate, tls.key, tls.client_ca) if path is not None]
        whole = listening.listener(group, chained, files=files)
        listeners[whole["name"]] = whole
    notes.settle()
    memory.end()
    resources = Resources(clusters=upstreams.clusters, listeners=listeners, routes=routes)
    strangled = [(route, route.action) for route in spec.routes if is_strangled(route.action)]
    aside = [route.name for route in spec.routes if isinstance(route.action, Aggregate)]
    return Compiled(
        resources,
        notes.told(),
        behind=(*aside, *(route.name for route, _ in strangled)),
        counted=tuple(counted(route, action) for route, action in strangled),
    )


class _Chain:
    """Those listeners on one port that share a certificate: one manager of connections, one set of hosts."""

    def __init__(
        self,
        spec: GatewaySpec,
        mine: Sequence[Listener],
        upstreams: Upstreams,
        notes: Notes,
        memory: Memory,
        *,
        behind: str,
        draining: bool,
    ) -> None:
        self._spec = spec
        self._notes = notes
        self._upstreams = upstreams
        self._memory = memory
        self._tls = mine[0].tls is not None
        self._draining = draining
        self._protections = Protections(spec, upstreams, notes)
        self._actions = Actions(upstreams, notes, spec.limits, behind=behind, tls=self._tls)
        self._known: dict[tuple[int, int], list[Plain]] = {}
        hosts = self._hosts(mine)
        filters = self._protections.filters()
        # With the filters' fingerprint: routes never meet a listener without the filters that they need.
        name = f"{mine[0].name}~{fingerprint(filters)}"
        self.manager: Plain = listening.manager(spec, mine, routes=name, filters=filters, notes=notes)
        bodies = [len(route.action.body.encode()) for route in spec.routes if isinstance(route.action, Respond)]
        self.routes: Plain = {
            "name": name,
            "virtual_hosts": hosts,
            "ignore_port_in_host_matching": True,
            "most_specific_header_mutations_wins": True,
            "max_direct_response_body_size_bytes": max([_MOST_BODY, *bodies]),
            "request_headers_to_add": _forwarded(spec.trusted_hops),
            "request_headers_to_remove": list(_OURS),
            "response_headers_to_remove": ["server"],
        }

    def _hosts(self, mine: Sequence[Listener]) -> list[Plain]:
        """A virtual host for every hostname that stands somewhere, and one for all others: the gateway's own health is there."""
        taken = {listener.name: entries(self._spec.routes, listener) for listener in mine}
        names = {entry.hostname for found in taken.values() for entry in found}
        names |= {name.lower() for listener in mine for name in listener.hostnames} | {"*"}
        hosts = []
        for name in sorted(names, key=lambda name: (specificity(name), name)):
            owner = _owner(mine, name)
            found = ordered(taken[owner.name], name) if owner is not None else []
            hosts.append({"name": name, "domains": [name], "routes": self._of_host(found)})
        return hosts

    def _of_host(self, found: Sequence[Entry]) -> list[Plain]:
        most = max((self._protections.body(entry.route) for entry in found), default=self._spec.limits.body)
        routes = [*self._refused(most), *self._own()]
        for entry in found:
            if entry.order not in self._known:
                self._known[entry.order] = self._remembered(entry)
            if (limit := self._protections.body(entry.route)) < most:
                routes.append(_too_large(conditions(entry.match, entry.match.methods), limit))
            routes += self._known[entry.order]
        return routes

    def _remembered(self, entry: Entry) -> list[Plain]:
        """What it became before, if it is the same; with all that its compiling does besides."""
        made = self._memory.of(entry.route, entry.order[1], tls=self._tls)
        if made is None:
            with recording(self._upstreams, self._protections, self._notes) as besides:
                routes = self._of_entry(entry)
            made = self._memory.keep(entry.route, entry.order[1], routes, besides, tls=self._tls)
        else:
            made.besides.repeat(self._upstreams, self._protections, self._notes)
        return made.routes

    def _of_entry(self, entry: Entry) -> list[Plain]:
        route = entry.route
        filters = self._protections.of(route)
        shared: Plain = {"name": route.name}
        found = []
        for variant in self._actions.variants(route, entry.match):
            changed = edits(route.request_headers, route.response_headers)
            for field, values in variant.action.items():
                changed[field] = [*values, *changed.get(field, [])] if field == "response_headers_to_add" else values
            if variant.repeats:
                mark = header_value(RETRIED_HEADER, "1")
                changed["request_headers_to_add"] = [*changed.get("request_headers_to_add", []), mark]
            if removed := removed_headers(route):
                changed["response_headers_to_remove"] = [*changed.get("response_headers_to_remove", []), *removed]
            used = filters if "route" in variant.action else {key: one for key, one in filters.items() if key != BUFFER}
            configured = {"typed_per_filter_config": used} if used else {}
            wanted = conditions(entry.match, variant.methods)
            if variant.share is not None:
                wanted["runtime_fraction"] = enabled(variant.share * 100)
            found.append({**shared, "match": wanted, **changed, **configured})
        if route.cors is not None and entry.match.methods is not None and "OPTIONS" not in entry.match.methods:
            found.append(_preflight(entry.match, {CORS: filters[CORS]}, route))
        return found

    def _refused(self, most: int) -> list[Plain]:
        """What no route is to see, whatever it says."""
        known = "|".join(METHODS)
        bad_method = {"name": ":method", "string_match": {"safe_regex": regex(known)}, "invert_match": True}
        bad_host = {"name": ":authority", "string_match": {"safe_regex": regex(_HOST)}, "invert_match": True}
        return [
            {"match": {"prefix": "/", "headers": [bad_host]}, **_refusal(400, "The host is not accepted.\n")},
            {"match": {"safe_regex": regex(_AMBIGUOUS)}, **_refusal(400, "The path is not accepted.\n")},
            {"match": {"prefix": "/", "headers": [bad_method]}, **_refusal(501, "This method is not known here.\n")},
            _too_large({"prefix": "/"}, most),
        ]

    def _own(self) -> list[Plain]:
        """The gateway's own health. To answer at all is to be alive; it has no dependency to ask about."""
        found = []
        for name in ("live", "ready", "startup"):
            down = self._draining and name == "ready"
            body = '{"status":"fail","output":"draining"}' if down else '{"status":"pass"}'
            match = Match(PathMatch("exact", f"{RESERVED}/{name}"))
            found.append(
                {
                    "name": f"health {name}",
                    "match": conditions(match, frozenset({"GET", "HEAD"})),
                    **answer(503 if down else 200, body, _HEALTH),
                }
            )
        reserved = conditions(Match(PathMatch("prefix", RESERVED)), None)
        return [*found, {"name": "health", "match": reserved, **answer(404, "There is nothing here.\n", "text/plain")}]


def _owner(mine: Sequence[Listener], name: str) -> Listener | None:
    """Of several listeners on one port, the one with the most specific hostname has a host; the first of several alike."""
    best: tuple[tuple[bool, int], int] | None = None
    for number, listener in enumerate(mine):
        for pattern in (bound.lower() for bound in listener.hostnames or ("*",)):
            if covers(pattern, name) and (best is None or (specificity(pattern), number) < best):
                best = (specificity(pattern), number)
    return mine[best[1]] if best is not None else None


def _too_large(match: Plain, most: int) -> Plain:
    longer = {"name": "content-length", "range_match": {"start": most + 1, "end": 2**63 - 1}}
    bounded = {**match, "headers": [*match.get("headers", []), longer]}
    return {"match": bounded, **_refusal(413, f"The body is larger than {most} bytes.\n")}


def _refusal(status: int, text: str) -> Plain:
    """An answer after which the connection is not to be trusted any more."""
    found = answer(status, text, "text/plain; charset=utf-8")
    return {
        **found,
        "response_headers_to_add": [*found["response_headers_to_add"], header_value("connection", "close")],
    }


def _preflight(match: Match, filters: dict[str, Plain], route: Route) -> Plain:
    """A route for the browsers' questions where the match itself names other methods only."""
    found = conditions(match, frozenset({"OPTIONS"}))
    asked = "|".join(sorted(match.methods or ()))
    found["headers"] = [
        *found["headers"][:1],
        {"name": "origin", "present_match": True},
        {"name": "access-control-request-method", "string_match": {"safe_regex": regex(asked)}},
    ]
    # Not a fixed answer: the filter passes over routes that lead nowhere.
    nowhere = {"cluster": NOWHERE, "cluster_not_found_response_code": "NOT_FOUND"}
    return {"name": route.name, "match": found, "route": nowhere, "typed_per_filter_config": filters}


def _forwarded(hops: int) -> list[Plain]:
    told = [_overwrite("x-forwarded-host", "%REQ(:authority)%")]
    if not hops:  # of a peer on this machine Envoy says our own address instead
        told.append(_overwrite("x-forwarded-for", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"))
    return told


def _overwrite(name: str, value: str) -> Plain:
    """Not `header_value`: this one means the command."""
    return {**header_value(name, ""), "header": {"key": name, "value": value}}
