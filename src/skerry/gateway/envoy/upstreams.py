"""Services as clusters of Envoy: one for each policy with which a service is called, for the policy is the route's."""

from __future__ import annotations

import ipaddress
import math
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from skerry.gateway.envoy.notes import Notes
from skerry.gateway.envoy.values import Plain, extension, fingerprint, seconds, typed
from skerry.gateway.model import Addresses, BreakerSpec, GatewaySpec, JwtProvider, PolicySpec, Route, Service

BEHIND = "skerry-behind"
_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_LONGEST_INTERVAL = 3600.0
_MOST_BEHIND = 1024
"""Requests at the same time."""
MOST_AGAIN = 1024
"""Requests of one route that are asked of the control at the same time, since the candidate failed them."""


class Upstreams:
    """Gives clusters their names and keeps what they are. Every reference is checked here: Envoy takes unknown ones."""

    def __init__(self, spec: GatewaySpec, addresses: Addresses, notes: Notes) -> None:
        self.clusters: dict[str, Plain] = {}
        self.touched: set[str] = set()
        """Names of those that were asked for."""
        self._services = {service.name: service for service in spec.services}
        self._addresses = addresses
        self._notes = notes

    def named(self, service: str, route: Route, field: str) -> str:
        """The cluster for calls of `route` to `service`."""
        policy = route.policy
        name = f"{service}~{fingerprint(policy)}" if policy != PolicySpec() else service
        self.touched.add(name)
        if name not in self.clusters and (urls := self._urls(service, route, field)) is not None:
            known = self._services.get(service, Service(service))
            self.clusters[name] = {**self._cluster(name, known, urls, field), **self._bounds(policy, route)}
        return name

    def mirror(self, service: str, route: Route) -> str:
        """The cluster for copies of requests: bounded, never retried, no breaker; what finds no room is dropped."""
        name = f"{service}~mirror"
        self.touched.add(name)
        if name not in self.clusters and (urls := self._urls(service, route, "mirrors")) is not None:
            known = self._services.get(service, Service(service))
            policy = PolicySpec(breaker=None)
            self.clusters[name] = {
                **self._cluster(name, known, urls, "mirrors"),
                **self._bounds(policy, route),
            }
        return name

    def side(self, service: str, route: Route, *, name: str) -> str:
        """The cluster `name` of one side of a strangled route, with statistics of its own."""
        self.touched.add(name)
        if name not in self.clusters and (urls := self._urls(service, route, "strangle")) is not None:
            known = self._services.get(service, Service(service))
            made = {**self._cluster(name, known, urls, "strangle"), **self._bounds(route.policy, route)}
            for endpoint in made["load_assignment"]["endpoints"][0]["lb_endpoints"]:
                endpoint["metadata"] = {"filter_metadata": {"skerry": {"cluster": name}}}
            self.clusters[name] = {**made, "alt_stat_name": name}
        return name

    def either(self, name: str, first: str, second: str) -> None:
        """A cluster that is `first`, and `second` for what is sent again, or when `first` has no instance."""
        self.touched.add(name)
        clusters = typed("envoy.extensions.clusters.aggregate.v3.ClusterConfig", clusters=[first, second])
        self.clusters[name] = {
            "name": name,
            "metadata": self.clusters.get(first, {}).get("metadata", {}),
            "connect_timeout": "1s",  # those of the two count
            "lb_policy": "CLUSTER_PROVIDED",
            "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": clusters},
            "circuit_breakers": {"thresholds": [{"max_retries": MOST_AGAIN}]},
        }

    def behind(self, url: str) -> str:
        """The cluster of the embedded engine, for what it answers behind Envoy."""
        self.touched.add(BEHIND)
        if BEHIND not in self.clusters:
            thresholds = {**_thresholds(_MOST_BEHIND, _MOST_BEHIND), "max_retries": _MOST_BEHIND}
            bounds = {"circuit_breakers": {"thresholds": [thresholds]}}
            self.clusters[BEHIND] = {**self._cluster(BEHIND, Service(BEHIND), (url,), BEHIND), **bounds}
        return BEHIND

    def keys(self, provider: JwtProvider) -> str:
        """The cluster of the server that a provider's keys come from."""
        name = f"skerry-jwks~{provider.name}"
        assert provider.jwks_url is not None, "asked for only then"
        parts = urlsplit(provider.jwks_url)
        base = f"{parts.scheme}://{parts.netloc}"
        self.clusters[name] = self._cluster(name, Service(name), (base,), f"provider {provider.name!r}, jwks_url")
        return name

    def count(self, service: str) -> int:
        """How many addresses a service has."""
        return len(self._told(service))

    def connect(self, service: str) -> float:
        """How many seconds the opening of a connection to a service may take."""
        return self._services.get(service, Service(service)).connect

    def _told(self, service: str) -> tuple[str, ...]:
        known = self._services.get(service)
        return (known.urls if known is not None else ()) or tuple(self._addresses.get(service, ()))

    def _urls(self, service: str, route: Route, field: str) -> tuple[str, ...] | None:
        """Its addresses: none at all for one that is known to have none at the moment, None for one that nobody knows."""
        urls = self._told(service)
        if not urls and service not in self._addresses:
            self._notes.wrong(route, field, f"no address is known of the service {service!r}")
            return None
        return urls

    def _cluster(self, name: str, service: Service, urls: tuple[str, ...], field: str) -> Plain:
        parts = [part for url in urls if (part := self._split(url, field)) is not None]
        found: Plain = {
            "name": name,
            "alt_stat_name": service.name,
            "metadata": {"filter_metadata": {"skerry": {"service": service.name}}},  # which the log shows
            "type": "STATIC" if all(_is_address(part.hostname or "") for part in parts) else "STRICT_DNS",
            "connect_timeout": seconds(service.connect),
            "lb_policy": "LEAST_REQUEST",
            "dns_lookup_family": "V4_PREFERRED",
            # A host that is ejected gets nothing, also when it is the only one: that is what an open breaker is.
            "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [_endpoint(part) for part in parts]}],
            },
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
                    _HTTP,
                    common_http_protocol_options={"idle_timeout": seconds(service.idle)},
                    explicit_http_config={"http_protocol_options": {}},
                )
            },
        }
        schemes = {part.scheme for part in parts}
        if len(schemes) > 1:
            self._notes.wrong(None, f"service {name!r}", "has http and https addresses; give one kind")
        elif schemes == {"https"} and (bundle := self._believed(service)) is not None:
            found["transport_socket"] = _tls(bundle, parts)
        return found

    def _split(self, url: str, field: str) -> SplitResult | None:
        parts = urlsplit(url)
        try:
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.path in {"", "/"}
            usable = usable and not (parts.query or parts.username) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            self._notes.wrong(None, field, "an address is not of the form http://HOST:PORT or https://HOST:PORT")
        return parts if usable else None

    def _believed(self, service: Service) -> str | None:
        candidates = (service.ca,) if service.ca else (ssl.get_default_verify_paths().cafile, *_BUNDLES)
        for path in candidates:
            if path and Path(path).is_file():
                return path
        self._notes.wrong(None, f"service {service.name!r}, ca", "no file with certificates of authorities was found")
        return None

    def _bounds(self, policy: PolicySpec, route: Route) -> Plain:
        waiting = max(policy.queue, policy.concurrency)
        if policy.queue < policy.concurrency:
            self._notes.differs(
                route, "policy.queue", f"{waiting} requests may wait: the opening of a connection counts as waiting"
            )
        thresholds = _thresholds(policy.concurrency, waiting)
        thresholds["retry_budget"] = {
            "budget_percent": {"value": policy.retry.budget * 100},
            "min_retry_concurrency": max(1, math.ceil(policy.retry.per_second)),
        }
        found: Plain = {"circuit_breakers": {"thresholds": [thresholds]}}
        if policy.adaptive:
            self._notes.wrong(
                route, "policy.adaptive", "a limit that finds itself is a whole listener's in Envoy, not a route's"
            )
        if policy.breaker is not None:
            found["outlier_detection"] = self._outliers(policy.breaker, route)
        return found

    def _outliers(self, breaker: BreakerSpec, route: Route) -> Plain:
        default = BreakerSpec()
        if breaker.probes != default.probes:
            self._notes.wrong(route, "policy.breaker.probes", "Envoy has no half-open state; leave it out")
        self._notes.differs(
            route,
            "policy.breaker",
            "single addresses are ejected, each by its own failures (answers from 500 on and broken connections); there is no "
            "half-open state: after open_for all requests go through until it opens again",
        )
        # How often rates are looked at, and whether an ejection is over: so often that `open_for` is about that long.
        interval = max(0.1, min(breaker.window, breaker.open_for / 2, _LONGEST_INTERVAL))
        found: Plain = {
            "base_ejection_time": seconds(breaker.open_for),
            "max_ejection_time": seconds(breaker.open_for),
            "max_ejection_time_jitter": "0s",
            "max_ejection_percent": 100,
            "enforcing_success_rate": 0,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_consecutive_5xx": 0,
            "interval": seconds(interval),
        }
        if breaker.consecutive is not None:
            found |= {"consecutive_5xx": breaker.consecutive, "enforcing_consecutive_5xx": 100}
        if breaker.failure_rate is not None and breaker.consecutive is None:
            found |= {
                "failure_percentage_threshold": min(100, max(0, math.ceil(breaker.failure_rate * 100) - 1)),
                "enforcing_failure_percentage": 100,
                "failure_percentage_minimum_hosts": 1,
                "failure_percentage_request_volume": breaker.min_calls,
            }
            self._notes.differs(
                route,
                "policy.breaker.failure_rate",
                f"is looked at every {interval:g} s, over the calls since, instead of after every call over `window`",
            )
        elif breaker.failure_rate not in {None, default.failure_rate}:
            self._notes.wrong(
                route, "policy.breaker.failure_rate", "Envoy takes either it or `consecutive`; leave one out"
            )
        return found


def _thresholds(concurrency: int, waiting: int) -> Plain:
    return {
        "max_connections": concurrency,
        "max_pending_requests": waiting,
        "max_requests": concurrency + waiting,
        "track_remaining": False,
    }


def _endpoint(part: SplitResult) -> Plain:
    host = part.hostname or ""
    port = part.port or (443 if part.scheme == "https" else 80)
    return {
        "endpoint": {
            "hostname": host,
            "address": {"socket_address": {"address": host, "port_value": port}},
        }
    }


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _tls(bundle: str, parts: list[SplitResult]) -> Plain:
    names = sorted({part.hostname or "" for part in parts})
    matchers = [
        {"san_type": "IP_ADDRESS" if _is_address(name) else "DNS", "matcher": {"exact": name}} for name in names
    ]
    validation = {"trusted_ca": {"filename": bundle}, "match_typed_subject_alt_names": matchers}
    context: Mapping[str, object] = {
        # Both ends: with the lower one alone, the client's own default maximum would be below it.
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
        "validation_context": validation,
        "alpn_protocols": ["http/1.1"],
    }
    named = {} if any(_is_address(name) for name in names) else {"auto_host_sni": True}
    return extension("envoy.transport_sockets.tls", _TLS, common_tls_context=context, **named)
