"""What becomes of a request: each action of a route as one of Envoy, with the policy that bounds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from skerry.gateway.envoy.matches import PREFIX, ROOT, kind_of, prefix_of
from skerry.gateway.envoy.notes import Notes
from skerry.gateway.envoy.strangling import OR_CONTROL, Split, falls_back, is_strangled, sides, splits
from skerry.gateway.envoy.upstreams import MOST_AGAIN, Upstreams
from skerry.gateway.envoy.values import (
    Plain,
    edits,
    enabled,
    extension,
    header_value,
    quoted,
    regex,
    seconds,
    substitution,
)
from skerry.gateway.model import (
    IDEMPOTENT,
    METHODS,
    Aggregate,
    Backend,
    Forward,
    Limits,
    Match,
    Redirect,
    Respond,
    Route,
)

NOWHERE = "skerry-nowhere"
"""A cluster that does not exist, for backends that do not."""
_CODES = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}
_OWN_PORTS = {"http": 80, "https": 443}
_CONNECT_ONLY = "connect-failure"
_ANY_FAILURE = "connect-failure,refused-stream,reset"
_ONCE_MORE = (("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "1"))
"""What Envoy's router reads and takes away: only so can one of several clusters have another policy than the others."""
_OTHER_PRIORITY = extension(
    "envoy.retry_priorities.previous_priorities",
    "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
    update_frequency=1,
)
_NO_BACKEND = "There is no backend for this route.\n"


@dataclass(frozen=True, slots=True)
class Variant:
    """One route of Envoy: for these methods (None: any), and with this action. `share` is that of the requests, None: all.

    `repeats`: what fails is asked again here, so that nobody behind should.
    """

    methods: frozenset[str] | None
    action: Plain
    share: float | None = None
    repeats: bool = False


class Actions:
    """Turns the action of a route into what Envoy does, once for each match."""

    def __init__(self, upstreams: Upstreams, notes: Notes, limits: Limits, *, behind: str, tls: bool) -> None:
        self._upstreams = upstreams
        self._notes = notes
        self._limits = limits
        self._behind = behind
        self._scheme = "https" if tls else "http"

    def variants(self, route: Route, match: Match) -> list[Variant]:
        """The routes of Envoy that one match becomes: it repeats by route, so methods that may be repeated are apart."""
        action = route.action
        if isinstance(action, Redirect):
            return [Variant(match.methods, {"redirect": self._redirect(route, action, match)})]
        if isinstance(action, Respond):
            return [Variant(match.methods, answer(action.status, action.body, action.content_type))]
        if isinstance(action, Aggregate):
            bound = action.deadline + 1.0  # the engine behind keeps the deadline; this is for when it does not
            target: Plain = {"cluster": self._upstreams.behind(self._behind), "timeout": seconds(bound)}
            return [Variant(match.methods, {"route": {**target, "idle_timeout": seconds(bound + 1.0)}})]
        if is_strangled(action):
            return self._strangled(route, action, match)
        backends = [(backend, self._named(backend, route)) for backend in action.backends if backend.weight > 0]
        return self._forwarded(route, action, match, backends)

    def _named(self, backend: Backend, route: Route) -> str:
        return NOWHERE if backend.service is None else self._upstreams.named(backend.service, route, "backends")

    def _strangled(self, route: Route, action: Forward, match: Match) -> list[Variant]:
        self._notes.differs(
            route,
            "strangle",
            "each side is bounded for itself, reading and writing apart; of a candidate's failures at most "
            f"{MOST_AGAIN} at once are asked of the control",
        )
        found = []
        self._upstreams.behind(self._behind)  # also while nothing goes there: what is on its way may be sent again
        for split in splits(route, action, match.methods):
            for service, name in sides(route, action, unsafe=split.unsafe):
                self._upstreams.side(service, route, name=name)
            if not split.backends:
                found.append(Variant(split.methods, {"route": self._through(route, action, split)}, split.share))
                continue
            backends = split.backends if split.unsafe else self._with_control(route, action, split)
            variants = self._forwarded(route, action, replace(match, methods=split.methods), backends)
            if backends != split.backends:
                for variant in variants:
                    variant.action["route"].setdefault("retry_policy", {})["retry_priority"] = _OTHER_PRIORITY
            found += variants
        return found

    def _with_control(self, route: Route, action: Forward, split: Split) -> tuple[tuple[Backend, str], ...]:
        """What the candidate fails is asked of the control once, whatever the policy says: clients do not pay for a ramp."""
        (_, control), (_, candidate) = sides(route, action, unsafe=False)
        if split.backends[0][1] != candidate or not falls_back(action):
            return split.backends
        either = f"{candidate}{OR_CONTROL}"
        self._upstreams.either(either, candidate, control)
        first = split.backends[0][0]
        edited = replace(first.request_headers, set=(*first.request_headers.set, *_ONCE_MORE))
        return (replace(first, request_headers=edited), either), *split.backends[1:]

    def _through(self, route: Route, action: Forward, split: Split) -> Plain:
        """By the embedded engine behind, which keeps the policy. While that is started again, requests wait for it."""
        total = route.policy.total
        longest = None if total is None else total + action.hold
        again: Plain = {
            "retry_on": _CONNECT_ONLY if split.unsafe else _ANY_FAILURE,
            "num_retries": 40,
            "retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"},
        }
        return {
            "cluster": self._upstreams.behind(self._behind),
            "timeout": "0s",
            "idle_timeout": seconds(self._idle(longest, 0.0)),
            "retry_policy": again,
        }

    def _forwarded(
        self, route: Route, action: Forward, match: Match, backends: Sequence[tuple[Backend, str]]
    ) -> list[Variant]:
        forward = self._forward(route, action, match, backends)
        if "route" not in forward:
            return [Variant(match.methods, forward)]
        return [
            Variant(
                methods,
                {**forward, "route": {**forward["route"], **self._bounds(route, action, repeatable=repeatable)}},
                repeats=repeatable and route.policy.retry.attempts > 1,
            )
            for methods, repeatable in _by_method(route, match)
        ]

    def _forward(self, route: Route, action: Forward, match: Match, backends: Sequence[tuple[Backend, str]]) -> Plain:
        if not any(backend.service is not None for backend, _ in backends):
            return answer(500, _NO_BACKEND, "text/plain; charset=utf-8")
        found: Plain = {"cluster_not_found_response_code": "INTERNAL_SERVER_ERROR"}
        clusters = [
            {"name": name, "weight": backend.weight, **edits(backend.request_headers, backend.response_headers)}
            for backend, name in backends
        ]
        first = backends[0][0]
        if len(clusters) == 1 and not edits(first.request_headers, first.response_headers):
            found["cluster"] = clusters[0]["name"]
        else:
            found["weighted_clusters"] = {"clusters": clusters}
            if action.sticky is not None:
                found["weighted_clusters"]["use_hash_policy"] = True
                found["hash_policy"] = [_hash(action.sticky.source, action.sticky.name)]
        if action.mirrors:
            found["request_mirror_policies"] = [
                {
                    "cluster": self._upstreams.mirror(mirror.service, route),
                    "runtime_fraction": enabled(mirror.percent),
                    "disable_shadow_host_suffix_append": True,
                }
                for mirror in action.mirrors
            ]
        if action.rewrite.host is not None:
            found["host_rewrite_literal"] = action.rewrite.host
        return {"route": found | _new_path(action.rewrite.prefix, action.rewrite.full, match)}

    def _bounds(self, route: Route, action: Forward, *, repeatable: bool) -> Plain:
        """The policy: how long, and how often."""
        policy, retry = route.policy, route.policy.retry
        attempts = max(1, retry.attempts)
        attempt = min((bound for bound in (policy.attempt, policy.total) if bound is not None), default=None)
        total = policy.total or 0.0
        longest = (attempt or total) + (attempts - 1) * (
            retry.longest + (attempt or total if repeatable else self._connect(action))
        )
        if total and longest <= total and attempt is not None:
            # Envoy's bound for all attempts goes on while the answer is sent. Where those of the attempts, which do not, keep it
            # anyway, a long answer is not cut off.
            total = 0.0
        elif total:
            self._notes.differs(
                route,
                "policy.total",
                "bounds the answer's last byte, not its first, where attempts might take longer in sum",
            )
        again: Plain = {"num_retries": attempts - 1} if attempts > 1 else {}
        if attempts > 1:
            again["retry_on"] = _ANY_FAILURE if repeatable else _CONNECT_ONLY
            shortest = max(retry.backoff, 0.001)
            again["retry_back_off"] = {
                "base_interval": seconds(shortest),
                "max_interval": seconds(max(retry.longest, shortest)),
            }
            if repeatable and retry.statuses:
                again["retry_on"] += ",retriable-status-codes"
                again["retriable_status_codes"] = sorted(retry.statuses)
            if any(self._upstreams.count(backend.service or "") > 1 for backend in action.backends):
                previous = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                again["retry_host_predicate"] = [
                    {
                        "name": "envoy.retry_host_predicates.previous_hosts",
                        "typed_config": {"@type": f"type.googleapis.com/{previous}"},
                    }
                ]
                again["host_selection_retry_max_attempts"] = 3
        if attempt is not None:
            again["per_try_timeout"] = seconds(attempt)
        found: Plain = {"timeout": seconds(total), "idle_timeout": seconds(self._idle(policy.total, longest))}
        return found | ({"retry_policy": again} if again else {})

    def _idle(self, total: float | None, longest: float) -> float:
        """For how long nothing may move: waiting for a service that may take its time counts, too."""
        if total is None and not longest:
            return 0.0
        return max(self._limits.body_timeout, total or 0.0, longest) + 1.0

    def _connect(self, action: Forward) -> float:
        return max(
            (self._upstreams.connect(backend.service) for backend in action.backends if backend.service), default=0.0
        )

    def _redirect(self, route: Route, action: Redirect, match: Match) -> Plain:
        found: Plain = {"response_code": _CODES[action.status]}
        if action.scheme is not None:
            found["scheme_redirect"] = action.scheme
        if action.host is not None:
            found["host_redirect"] = action.host
        if action.port is not None and action.port != _OWN_PORTS[action.scheme or self._scheme]:
            found["port_redirect"] = action.port
        elif action.port is not None and action.host is None:
            self._notes.differs(
                route,
                "redirect.port",
                "a port that the client asked is not left out, unless the host is replaced as well",
            )
        if action.full is not None:
            found["path_redirect"] = action.full
        elif action.prefix is not None:
            found |= _new_path(action.prefix, None, match)
        return found


def _by_method(route: Route, match: Match) -> list[tuple[frozenset[str] | None, bool]]:
    if route.policy.retry.unsafe or route.policy.retry.attempts <= 1:
        return [(match.methods, True)]
    methods = match.methods if match.methods is not None else frozenset(METHODS)
    safe = methods & IDEMPOTENT
    if safe == methods:
        return [(match.methods, True)]
    if not safe:
        return [(match.methods, False)]
    return [(safe, True), (methods - safe if match.methods is not None else None, False)]


def _new_path(prefix: str | None, full: str | None, match: Match) -> Plain:
    """How a path is rewritten. Plain replacement of a prefix would make two slashes of `/` and its follower, or none."""
    whole = ".*"
    if full is not None:
        return {"regex_rewrite": {"pattern": regex(whole), "substitution": substitution(full)}}
    if prefix is None:
        return {}
    kind, bare = kind_of(match.path), prefix.rstrip("/")
    if kind == ROOT:
        return {"prefix_rewrite": f"{bare}/"}
    if kind != PREFIX:
        return {"regex_rewrite": {"pattern": regex(whole), "substitution": substitution(prefix)}}
    if bare:
        return {"prefix_rewrite": bare}
    return {"regex_rewrite": {"pattern": regex(f"^{quoted(prefix_of(match.path))}/?"), "substitution": "/"}}


def _hash(source: str, name: str) -> Plain:
    return {"header": {"header_name": name}} if source == "header" else {"cookie": {"name": name}}


def answer(status: int, body: str, content_type: str) -> Plain:
    """A fixed answer."""
    found: Plain = {"direct_response": {"status": status}}
    if body:
        found["direct_response"]["body"] = {"inline_string": body}
        found["response_headers_to_add"] = [header_value("content-type", content_type)]
    return found
