"""What stands before a route: JWT, rate limits, CORS, bodies and compression, as filters of Envoy.

Each filter stands once in the listener and does nothing there; a route that needs it says what it is to do.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from skerry.gateway.cors import REPLACED
from skerry.gateway.envoy.notes import Notes
from skerry.gateway.envoy.upstreams import Upstreams
from skerry.gateway.envoy.values import Plain, enabled, fingerprint, quoted, regex, seconds, typed
from skerry.gateway.model import Aggregate, Auth, Cors, Forward, GatewaySpec, JwtProvider, RateSpec, Route

CORS, JWT, RBAC = "envoy.filters.http.cors", "envoy.filters.http.jwt_authn", "envoy.filters.http.rbac"
RATE, BUFFER, GZIP = "envoy.filters.http.local_ratelimit", "envoy.filters.http.buffer", "envoy.filters.http.compressor"
_V3 = "envoy.extensions.filters.http"
_MOST_KEYS = 65_536
_MAX_KEYS_FILE = 1024 * 1024
_FAMILIES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}
_ONLY_BY_KEY = frozenset(_CURVES)
_BEARER = "Bearer "
_KINDS = r"(?i)(?:application/)?(?:jwt|at\+jwt)"
_PRESENT: Plain = {"present_match": True}
LARGEST_HELD = 16 * 1024 * 1024
"""Bytes. A body that does not tell its length is held back until it is whole, so that it can be refused; not beyond this."""


class Protections:
    """Says what routes need, and which filters a listener has for that."""

    def __init__(self, spec: GatewaySpec, upstreams: Upstreams, notes: Notes) -> None:
        self.used: set[str] = set()
        self.requirements: dict[str, Plain] = {}
        self._spec = spec
        self._providers = {provider.name: provider for provider in spec.providers}
        self._upstreams = upstreams
        self._held = min(spec.limits.body, LARGEST_HELD)
        self._notes = notes

    def of(self, route: Route) -> dict[str, Plain]:
        """The configuration of each filter that this route needs."""
        found: dict[str, Plain] = {}
        if route.cors is not None:
            found[CORS] = self._cors(route, route.cors)
        if route.auth is not None:
            found[JWT] = typed(f"{_V3}.jwt_authn.v3.PerRouteConfig", requirement_name=self._require(route, route.auth))
            found[RBAC] = typed(f"{_V3}.rbac.v3.RBACPerRoute", rbac={"rules": _rules(route.auth)})
        if route.rate is not None:
            found[RATE] = self._rate(route, route.rate)
            how = "each match, and methods that may be repeated and others, are counted apart; refused tokens are not counted"
            self._notes.differs(route, "rate_limit", how)
        if route.compress:
            overrides: Plain = {"response_direction_config": {}}
            found[GZIP] = typed(f"{_V3}.compressor.v3.CompressorPerRoute", overrides=overrides)
        if (body := self.body(route)) <= LARGEST_HELD:
            self.used.add(BUFFER)
        if body == self._held:  # as the filter itself says
            pass
        elif body <= LARGEST_HELD:
            found[BUFFER] = typed(f"{_V3}.buffer.v3.BufferPerRoute", buffer={"max_request_bytes": max(1, body)})
        elif isinstance(route.action, Forward):
            found[BUFFER] = typed(f"{_V3}.buffer.v3.BufferPerRoute", disabled=True)
            how = f"one that does not tell its length is not bounded where the limit is above {LARGEST_HELD} bytes"
            self._notes.differs(route, "body", how)
        self.used |= found.keys()
        return found

    def body(self, route: Route) -> int:
        """The most bytes of a request's body."""
        return self._spec.limits.body if route.body is None else route.body

    def filters(self) -> list[Plain]:
        """The filters of a listener, in the order in which they look at a request."""
        found = []
        if CORS in self.used:
            found.append(_filter(CORS, "cors.v3.Cors"))
        if JWT in self.used:
            providers = {name: self._provider(provider) for name, provider in sorted(self._providers.items())}
            config: Plain = {"providers": providers, "requirement_map": dict(sorted(self.requirements.items()))}
            found.append(_filter(JWT, "jwt_authn.v3.JwtAuthentication", **config))
        if RBAC in self.used:
            found.append(_filter(RBAC, "rbac.v3.RBAC"))
        if RATE in self.used:
            found.append(_filter(RATE, "local_ratelimit.v3.LocalRateLimit", stat_prefix="rate"))
        if BUFFER in self.used:
            found.append(_only_unknown_lengths(self._held))
        if GZIP in self.used:
            gzip = {"name": "gzip", "typed_config": typed("envoy.extensions.compression.gzip.compressor.v3.Gzip")}
            found.append(_filter(GZIP, "compressor.v3.Compressor", disabled=True, compressor_library=gzip))
        return found

    def _cors(self, route: Route, cors: Cors) -> Plain:
        if not isinstance(route.action, Forward | Aggregate):
            self._notes.wrong(route, "cors", "Envoy has it for routes that lead to services only")
        if cors.credentials and "*" in (*cors.methods, *cors.headers):
            self._notes.wrong(
                route, "cors", "with credentials, Envoy cannot say back what was asked for; name methods and headers"
            )
        found: Plain = {
            "allow_origin_string_match": [_origin(origin) for origin in cors.origins],
            "allow_methods": ", ".join(cors.methods),
            "max_age": str(cors.max_age),
            "allow_credentials": cors.credentials,
            "forward_not_matching_preflights": False,
        }
        if cors.headers:
            found["allow_headers"] = ", ".join(cors.headers)
        if cors.expose:
            found["expose_headers"] = ", ".join(cors.expose)
        self._notes.differs(
            route, "cors", "preflights are answered with 200 instead of 204, and `*` with the origin itself"
        )
        return typed(f"{_V3}.cors.v3.CorsPolicy", **found)

    def _require(self, route: Route, auth: Auth) -> str:
        for name in auth.providers:
            if name not in self._providers:
                self._notes.wrong(route, "auth.providers", f"there is no provider {name!r}")
        wanted: list[Plain] = [{"provider_name": name} for name in auth.providers]
        if not auth.required:
            wanted.append({"allow_missing": {}})
        name = fingerprint(list(auth.providers), auth.required)
        self.requirements[name] = wanted[0] if len(wanted) == 1 else {"requires_any": {"requirements": wanted}}
        return name

    def _provider(self, provider: JwtProvider) -> Plain:
        found: Plain = {
            "issuer": provider.issuer,
            "audiences": list(provider.audiences),
            "forward": True,
            "from_headers": [
                {"name": "Authorization", "value_prefix": _BEARER}
            ],  # and not in the query, where logs see it
            "payload_in_metadata": "payload",
            "header_in_metadata": "header",
            "clock_skew_seconds": max(1, round(provider.leeway)),
            "require_expiration": provider.require_exp,
            "claim_to_headers": [{"claim_name": claim, "header_name": header} for claim, header in provider.claims],
        }
        where = f"provider {provider.name!r}"
        how = "odd tokens that the issuer has signed are believed: with crit, a name twice, another typ, an iat to come, padding"
        self._notes.differs(None, where, how)
        if provider.jwks_file is not None:
            found["local_jwks"] = {"inline_string": self._keys(provider, Path(provider.jwks_file))}
        elif provider.jwks_url is None:
            self._notes.wrong(None, f"{where}, jwks_url", "Envoy asks no issuer where its keys are; name jwks_url")
        else:
            found["remote_jwks"] = {
                "http_uri": {
                    "uri": provider.jwks_url,
                    "cluster": self._upstreams.keys(provider),
                    "timeout": "5s",
                },
                "cache_duration": seconds(provider.cache_for),
                "async_fetch": {},
            }
            if provider.algorithms != JwtProvider("", "", ()).algorithms:
                self._notes.wrong(
                    None, f"{where}, algorithms", "of keys by URL Envoy takes each with all of its type; use jwks_file"
                )
            self._notes.differs(
                None, f"{where}, jwks_url", "keys are good for all algorithms of their type (never HMAC)"
            )
        return found

    def _keys(self, provider: JwtProvider, path: Path) -> str:
        """The public keys of a file, each bound to the algorithms that it may be used with: Envoy keeps to a key's `alg`."""
        try:
            with path.open("rb") as file:
                keys = json.loads(file.read(_MAX_KEYS_FILE))["keys"]
            bound = [one for key in keys for one in _bound(key, provider.algorithms)]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._notes.wrong(
                None, f"provider {provider.name!r}, jwks_file", f"is not a readable JWKS ({type(error).__name__})"
            )
            return '{"keys": []}'
        if not bound:
            self._notes.wrong(None, f"provider {provider.name!r}, jwks_file", "has no key for one of the algorithms")
        return json.dumps({"keys": bound}, sort_keys=True)

    def _rate(self, route: Route, rate: RateSpec) -> Plain:
        burst = rate.requests if rate.burst is None else rate.burst
        interval = max(0.05, rate.per)
        bucket = {"max_tokens": burst, "tokens_per_fill": rate.requests, "fill_interval": seconds(interval)}
        if rate.per < interval:
            bucket["tokens_per_fill"] = max(1, round(rate.requests * interval / rate.per))
        wait = math.ceil(rate.per / rate.requests)
        found: Plain = {
            "stat_prefix": "rate",
            "filter_enabled": enabled(),
            "filter_enforced": enabled(),
            "response_headers_to_add": [{"header": {"key": "retry-after", "value": str(max(1, wait))}}],
        }
        if rate.key == "all":
            return typed(f"{_V3}.local_ratelimit.v3.LocalRateLimit", token_bucket=bucket, **found)
        actions, keys = _of_peer([])
        entries, limits = [{"entries": keys, "token_bucket": bucket}], [{"actions": actions}]
        if rate.key == "identity":
            if route.auth is None:
                self._notes.wrong(route, "rate_limit.key", "there is no identity without 'auth'")
            # Envoy reaches this only with a token that holds, or without one.
            actions, keys = _of_peer([_without_token()])
            entries, limits = [_identity_entry(bucket)], [{"actions": [_identity()]}]
            if route.auth is None or not route.auth.required:
                entries, limits = [*entries, {"entries": keys, "token_bucket": bucket}], [*limits, {"actions": actions}]
        return typed(
            f"{_V3}.local_ratelimit.v3.LocalRateLimit",
            token_bucket={"max_tokens": 2**31, "tokens_per_fill": 2**31, "fill_interval": "1s"},
            always_consume_default_token_bucket=False,
            max_dynamic_descriptors=_MOST_KEYS,
            descriptors=entries,
            rate_limits=limits,
            **found,
        )


def removed_headers(route: Route) -> list[str]:
    """What a service says about CORS is replaced."""
    return sorted(name.decode() for name in REPLACED) if route.cors is not None else []


def _filter(name: str, type_name: str, *, disabled: bool = False, **fields: Any) -> Plain:
    found: Plain = {"name": name, "typed_config": typed(f"{_V3}.{type_name}", **fields)}
    return {**found, "disabled": True} if disabled else found


def _only_unknown_lengths(most: int) -> Plain:
    """The filter that counts a body's bytes holds it back until its end: for those only whose length nobody told, and not for
    what follows an upgrade.
    """
    skip = {"name": "skip", "typed_config": typed("envoy.extensions.filters.common.matcher.action.v3.SkipFilter")}
    told = {"or_matcher": {"predicate": [_header_is("content-length", ".*"), _header_is("upgrade", "(?i)websocket")]}}
    buffer = {"name": "buffer", "typed_config": typed(f"{_V3}.buffer.v3.Buffer", max_request_bytes=max(1, most))}
    return {
        "name": BUFFER,
        "typed_config": typed(
            "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
            extension_config=buffer,
            xds_matcher={"matcher_list": {"matchers": [{"predicate": told, "on_match": {"action": skip}}]}},
        ),
    }


def _header_is(name: str, expression: str) -> Plain:
    header = typed("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name=name)
    value = {"safe_regex": {"google_re2": {}, "regex": expression}}
    return {"single_predicate": {"input": {"name": name, "typed_config": header}, "value_match": value}}


def _bound(key: dict[str, Any], algorithms: tuple[str, ...]) -> list[dict[str, Any]]:
    if key.get("use", "sig") != "sig" or "d" in key:
        return []
    fits = [name for name in algorithms if _FAMILIES.get(name[:2]) == key.get("kty")]
    fits = [name for name in fits if name not in _ONLY_BY_KEY or _CURVES[name] == key.get("crv")]
    return [{**key, "alg": name} for name in fits if key.get("alg", name) == name]


def _origin(origin: str) -> Plain:
    if origin == "*":
        return {"safe_regex": regex(".+")}
    start, wild, end = origin.partition("*")
    if not wild:
        return {"exact": origin}
    return {"safe_regex": regex(rf"{quoted(start)}[a-z0-9_-]+(\.[a-z0-9_-]+)*{quoted(end)}")}


def _rules(auth: Auth) -> Plain:
    """What Envoy does not look at by itself: a token's kind and what it calls critical; all scopes, each in one of two claims."""
    kind = {"string_match": {"safe_regex": regex(_KINDS)}}
    each: list[Plain] = [
        {"or_rules": {"rules": [_claim("header", "typ", kind), {"not_rule": _claim("header", "typ", _PRESENT)}]}},
        {"not_rule": _claim("header", "crit", _PRESENT)},
        {"not_rule": _claim("header", "b64", _PRESENT)},
    ]
    for scope in auth.scopes:
        ways = [_scope("scope", scope), _scope("scp", scope), _listed("scp", scope)]
        each.append({"or_rules": {"rules": ways}})
    permission: Plain = {"and_rules": {"rules": each}}
    if not auth.required:
        permission = {"or_rules": {"rules": [permission, {"not_rule": {"header": _with_token()}}]}}
    return {"action": "ALLOW", "policies": {"token": {"permissions": [permission], "principals": [{"any": True}]}}}


def _scope(claim: str, scope: str) -> Plain:
    return _claim("payload", claim, {"string_match": {"safe_regex": regex(rf"(?:.* )?{quoted(scope)}(?: .*)?")}})


def _listed(claim: str, scope: str) -> Plain:
    return _claim("payload", claim, {"list_match": {"one_of": {"string_match": {"exact": scope}}}})


def _claim(part: str, name: str, value: Plain) -> Plain:
    matcher = {"filter": JWT, "path": [{"key": part}, {"key": name}], "value": value}
    return {"sourced_metadata": {"metadata_matcher": matcher, "metadata_source": "DYNAMIC"}}


def _of_peer(before: list[Plain]) -> tuple[list[Plain], list[Plain]]:
    keys = [{"key": "header_match", "value": "none"}] if before else []
    address = {"masked_remote_address": {"v4_prefix_mask_len": 32, "v6_prefix_mask_len": 64}}
    return [*before, address], [*keys, {"key": "masked_remote_address"}]


def _without_token() -> Plain:
    return {"header_value_match": {"descriptor_value": "none", "expect_match": False, "headers": [_with_token()]}}


def _with_token() -> Plain:
    return {"name": "authorization", "string_match": {"prefix": _BEARER}}


def _identity() -> Plain:
    path = [{"key": "payload"}, {"key": "sub"}]
    return {
        "metadata": {
            "descriptor_key": "identity",
            "metadata_key": {"key": JWT, "path": path},
            "source": "DYNAMIC",
            "skip_if_absent": True,
        }
    }


def _identity_entry(bucket: Plain) -> Plain:
    return {"entries": [{"key": "identity"}], "token_bucket": bucket}
