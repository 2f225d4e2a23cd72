"""A specification becomes plain values for Envoy: what is in which order, what is an error, and what is only told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skerry.errors import ConfigurationError, Mistakes
from skerry.gateway.envoy import Compiled
from skerry.gateway.envoy import compile as compiled
from skerry.gateway.model import (
    AccessLog,
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
    Tls,
    ValueMatch,
)

ADDRESSES = {"a": ("http://10.0.0.1:8000",), "b": ("http://10.0.0.2:8000", "http://10.0.0.3:8000")}
TO_A = Forward((Backend("a"),))


def spec(*routes: Route, **fields: Any) -> GatewaySpec:
    return GatewaySpec(routes=routes, source="gateway.yaml", **fields)


def route(name: str, action: Any = TO_A, *matches: Match, **fields: Any) -> Route:
    return Route(name, matches or (Match(),), action, **fields)


def path(value: str, kind: Any = "prefix", **fields: Any) -> Match:
    return Match(PathMatch(kind, value), **fields)


def hosts(made: Compiled) -> dict[str, list[dict[str, Any]]]:
    (whole,) = made.resources.routes.values()
    return {host["domains"][0]: host["routes"] for host in whole["virtual_hosts"]}


def named(made: Compiled, host: str = "*") -> list[str]:
    """The specification's routes of a host, in Envoy's order, each once."""
    own = {"health live", "health ready", "health startup", "health"}
    names = [each.get("name", "") for each in hosts(made)[host]]
    return list(dict.fromkeys(name for name in names if name and name not in own))


def only(made: Compiled, name: str, host: str = "*") -> dict[str, Any]:
    """The first route of Envoy's of that name."""
    return next(each for each in hosts(made)[host] if each.get("name") == name)


def test_routes_stand_in_the_order_of_the_gateway_api() -> None:
    """Envoy takes the first that fits: exact, template, longer prefix, regular expression, everything; then who asks for more."""
    header, query = ValueMatch("x", "1"), ValueMatch("q", "1")
    routes = [
        route("all"),
        route("regex", TO_A, path("/a/.*", "regex")),
        route("prefix", TO_A, path("/a")),
        route("longer", TO_A, path("/a/b")),
        route("longer, later", TO_A, path("/a/b")),
        route("longer, query", TO_A, path("/a/b", query=(query,))),
        route("longer, cookie", TO_A, path("/a/b", cookies=(ValueMatch("c", "1"),))),
        route("longer, two headers", TO_A, path("/a/b", headers=(header, replace(header, name="y")))),
        route("longer, method", TO_A, path("/a/b", methods=frozenset({"GET"}))),
        route("two variables", TO_A, path("/{x}/{y}", "template")),
        route("one variable", TO_A, path("/a/{y}", "template")),
        route("exact", TO_A, path("/a/b", "exact")),
    ]
    assert named(compiled(spec(*routes), addresses=ADDRESSES)) == [
        "exact",
        "one variable",
        "two variables",
        "longer, method",
        "longer, two headers",
        "longer, cookie",
        "longer, query",
        "longer",
        "longer, later",
        "prefix",
        "regex",
        "all",
    ]


def test_a_host_has_the_routes_of_all_patterns_that_it_fits() -> None:
    """The more specific hostname's come first, and what they do not take falls to the less specific."""
    made = compiled(
        spec(
            route("any"),
            route("wild", hostnames=("*.example.com",)),
            route("deep", hostnames=("*.a.example.com",)),
            route("one", hostnames=("x.a.example.com",)),
        ),
        addresses=ADDRESSES,
    )
    assert named(made, "x.a.example.com") == ["one", "deep", "wild", "any"]
    assert named(made, "*.a.example.com") == ["deep", "wild", "any"]
    assert named(made, "*.example.com") == ["wild", "any"]
    assert named(made, "*") == ["any"]


def test_of_listeners_on_one_port_the_most_specific_has_a_host() -> None:
    """A host of the narrower listener is answered by its routes alone."""
    listeners = (Listener("wide", hostnames=("*.example.com",)), Listener("narrow", hostnames=("a.example.com",)))
    routes = (route("w", listeners=("wide",)), route("n", TO_A, path("/n"), listeners=("narrow",)))
    made = compiled(spec(*routes, listeners=listeners), addresses=ADDRESSES)
    assert named(made, "a.example.com") == ["n"]
    assert named(made, "*.example.com") == ["w"]
    assert named(made, "*") == []
    assert list(made.resources.listeners) == ["127.0.0.1:8080"]


def test_every_host_has_the_gateways_own_health_before_all_routes() -> None:
    """Also where a route takes everything; draining is told by readiness alone."""
    found = hosts(compiled(spec(route("all"), route("x", hostnames=("x.test",))), addresses=ADDRESSES, draining=True))
    for routes in found.values():
        names = [each.get("name") for each in routes]
        assert names.index("health ready") < names.index("all")
        status = {
            each["name"]: each["direct_response"]["status"] for each in routes if "health" in each.get("name", "")
        }
        assert status == {"health live": 200, "health ready": 503, "health startup": 200, "health": 404}


@pytest.mark.parametrize(
    ("match", "rewrite", "expected"),
    [
        (path("/a"), Rewrite(prefix="/b"), {"prefix_rewrite": "/b"}),
        (path("/a/"), Rewrite(prefix="/b/"), {"prefix_rewrite": "/b"}),
        (path("/"), Rewrite(prefix="/b"), {"prefix_rewrite": "/b/"}),
        (path("/"), Rewrite(prefix="/"), {"prefix_rewrite": "/"}),
        (
            path("/a.b"),
            Rewrite(prefix="/"),
            {"regex_rewrite": {"pattern": {"regex": r"^/a\.b/?"}, "substitution": "/"}},
        ),
        (path("/a"), Rewrite(full=r"/x\1"), {"regex_rewrite": {"pattern": {"regex": ".*"}, "substitution": r"/x\\1"}}),
        (
            path("/a", "exact"),
            Rewrite(prefix="/b"),
            {"regex_rewrite": {"pattern": {"regex": ".*"}, "substitution": "/b"}},
        ),
        (path("/a"), Rewrite(host="x.test"), {"host_rewrite_literal": "x.test"}),
    ],
)
def test_a_rewrite_leaves_one_slash(match: Match, rewrite: Rewrite, expected: dict[str, Any]) -> None:
    """Between what replaces a prefix and what follows it, there is one slash, never two and never none."""
    action = only(compiled(spec(route("r", replace(TO_A, rewrite=rewrite), match)), addresses=ADDRESSES), "r")["route"]
    assert expected.items() <= action.items()


def test_methods_that_may_be_repeated_are_a_route_apart() -> None:
    """POST is sent again only when it reached nobody; `unsafe` lets it share."""
    made = compiled(spec(route("r")), addresses=ADDRESSES)
    safe, unsafe = [each for each in hosts(made)["*"] if each.get("name") == "r"]
    assert "retriable-status-codes" in safe["route"]["retry_policy"]["retry_on"]
    assert unsafe["route"]["retry_policy"]["retry_on"] == "connect-failure"
    assert "headers" not in unsafe["match"]
    one = compiled(spec(route("r", policy=PolicySpec(retry=RetrySpec(unsafe=True)))), addresses=ADDRESSES)
    assert len([each for each in hosts(one)["*"] if each.get("name") == "r"]) == 1


@pytest.mark.parametrize(
    ("policy", "total", "attempt"),
    [
        (PolicySpec(total=None, attempt=None), "0s", None),
        (PolicySpec(total=3.0, attempt=2.0, retry=RetrySpec(attempts=1)), "0s", "2s"),
        (PolicySpec(total=0.4, attempt=0.2), "0.4s", "0.2s"),
        (PolicySpec(total=1.0, attempt=5.0), "1s", "1s"),
        (PolicySpec(total=1.0, attempt=None, retry=RetrySpec(attempts=1)), "0s", "1s"),
    ],
)
def test_time_outs(policy: PolicySpec, total: str, attempt: str | None) -> None:
    """Envoy's bound of the whole, which cuts long answers off, is there only when those of the attempts do not keep it."""
    action = only(compiled(spec(route("r", policy=policy)), addresses=ADDRESSES), "r")["route"]
    assert action["timeout"] == total
    assert action.get("retry_policy", {}).get("per_try_timeout") == attempt


def test_equal_policies_share_a_cluster_and_others_do_not() -> None:
    """What one route's calls do to its breaker and bounds says nothing of a route that calls otherwise."""
    made = compiled(spec(route("x"), route("y"), route("z", policy=PolicySpec(concurrency=3))), addresses=ADDRESSES)
    assert len(made.resources.clusters) == 2
    bounds = [one["circuit_breakers"]["thresholds"][0]["max_connections"] for one in made.resources.clusters.values()]
    assert sorted(bounds) == [3, 64]


def test_a_breaker_ejects_the_only_address_too() -> None:
    """No panic: an open breaker lets nothing through, and the time that it is open does not grow."""
    policy = PolicySpec(breaker=BreakerSpec(failure_rate=None, consecutive=4, open_for=2.0))
    (cluster,) = compiled(spec(route("r", policy=policy)), addresses=ADDRESSES).resources.clusters.values()
    assert cluster["common_lb_config"]["healthy_panic_threshold"] == {"value": 0}
    found = cluster["outlier_detection"]
    assert (found["consecutive_5xx"], found["max_ejection_percent"]) == (4, 100)
    assert found["base_ejection_time"] == found["max_ejection_time"] == "2s"


def test_what_does_not_exist_is_500_and_shares_are_kept() -> None:
    """A backend without a service keeps its share; without any backend the route answers by itself."""
    action = Forward((Backend("a", 3), Backend(None, 1), Backend("b", 0)))
    made = compiled(spec(route("some", action), route("none", Forward(()), path("/none"))), addresses=ADDRESSES)
    target = only(made, "some")["route"]
    assert target["cluster_not_found_response_code"] == "INTERNAL_SERVER_ERROR"
    clusters = [(one["name"], one["weight"]) for one in target["weighted_clusters"]["clusters"]]
    assert [weight for _, weight in clusters] == [3, 1]
    assert clusters[1][0] not in made.resources.clusters
    assert only(made, "none")["direct_response"]["status"] == 500


def test_whatever_is_referred_to_is_there() -> None:
    """Every cluster that a route names is delivered, but the one that stands for what does not exist."""
    action = Forward((Backend("a"), Backend("b", 2), Backend(None)), mirrors=(Mirror("b", 10.0),))
    made = compiled(spec(route("r", action)), addresses=ADDRESSES)
    text = json.dumps(dict(made.resources.routes))
    (listener,) = made.resources.listeners.values()
    manager = listener["filter_chains"][0]["filters"][-1]["typed_config"]
    assert manager["rds"]["route_config_name"] in made.resources.routes
    assert all(f'"{name}"' in text for name in made.resources.clusters)
    assert len(made.resources.clusters) == 3


def test_values_of_headers_are_no_commands() -> None:
    """A percent sign in a value is a percent sign, where Envoy would read a command."""
    edit = HeaderEdit(set=(("X-Share", "10%"),), remove=("X-Gone",))
    found = only(compiled(spec(route("r", request_headers=edit)), addresses=ADDRESSES), "r")
    assert found["request_headers_to_add"][0]["header"] == {"key": "X-Share", "value": "10%%"}
    assert found["request_headers_to_remove"] == ["X-Gone"]


def test_a_port_that_is_the_schemes_own_is_left_out_of_a_redirect() -> None:
    """And every other one is there."""
    routes = [
        route("own", Redirect(scheme="https", host="x.test", port=443), path("/own")),
        route("other", Redirect(scheme="https", host="x.test", port=8443, status=308), path("/other")),
    ]
    made = compiled(spec(*routes), addresses=ADDRESSES)
    assert "port_redirect" not in only(made, "own")["redirect"]
    assert only(made, "other")["redirect"]["port_redirect"] == 8443
    assert only(made, "other")["redirect"]["response_code"] == "PERMANENT_REDIRECT"


def test_all_that_envoy_cannot_do_is_said_at_once() -> None:
    """Each error names the file, the line, the field and the route."""
    routes = (
        route("one", policy=PolicySpec(adaptive=True), line=7),
        route("two", policy=PolicySpec(breaker=BreakerSpec(probes=1)), line=12),
        route("three", Forward((Backend("nowhere"),)), line=20),
        route("four", Respond(200), cors=Cors(("*",)), line=30),
    )
    with pytest.raises(Mistakes) as caught:
        compiled(spec(*routes), addresses=ADDRESSES)
    told = {(each.line, each.field) for each in caught.value.all}
    assert told == {
        (7, "routes[0].policy.adaptive"),
        (12, "routes[1].policy.breaker.probes"),
        (20, "routes[2].backends"),
        (30, "routes[3].cors"),
    }
    assert all(str(each).startswith("gateway.yaml:") for each in caught.value.all)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"services": (Service("a", ("http://h:1", "https://h:2")),)}, "http and https"),
        ({"services": (Service("a", ("http://user:secret@h:1",)),)}, "not of the form"),
        ({"services": (Service("a", ("http://h:1/base",)),)}, "not of the form"),
        ({"services": (Service("a", ("https://h:1",), ca="no such file"),)}, "authorities"),
    ],
)
def test_addresses_that_envoy_cannot_call_are_errors(fields: dict[str, Any], said: str) -> None:
    """And the message repeats nothing that might be secret."""
    with pytest.raises(ConfigurationError, match=said) as caught:
        compiled(spec(route("r"), **fields), addresses={})
    assert "secret" not in str(caught.value)


def test_what_differs_is_told_with_the_routes_it_is_about() -> None:
    """A default that Envoy has in a nearest form compiles, and says so."""
    told = compiled(spec(route("r")), addresses=ADDRESSES).differences
    assert any(
        text.startswith("policy.breaker:") and "half-open" in text and text.endswith("(route r)") for text in told
    )
    quiet = PolicySpec(total=1.0, attempt=0.5, retry=RetrySpec(attempts=1), breaker=None)
    told = compiled(spec(route("r", policy=quiet)), addresses=ADDRESSES).differences
    assert not any(text.startswith("policy.") for text in told)


def test_a_filter_that_routes_need_changes_the_name_of_both(tmp_path: Path) -> None:
    """A listener without a filter never gets the routes that need it, whatever comes first."""
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "1"}]}))
    provider = JwtProvider("id", "https://id.example", ("shop",), jwks_file=str(keys))
    plain = compiled(spec(route("r"), providers=(provider,)), addresses=ADDRESSES).resources
    guarded = compiled(spec(route("r", auth=Auth(("id",))), providers=(provider,)), addresses=ADDRESSES).resources
    assert set(plain.routes).isdisjoint(guarded.routes)
    assert plain.listeners.keys() == guarded.listeners.keys()


@pytest.mark.parametrize(
    ("key", "algorithms", "bound"),
    [
        ({"kty": "RSA"}, ("RS256", "ES256"), ["RS256"]),
        ({"kty": "RSA", "alg": "RS512"}, ("RS256", "RS512"), ["RS512"]),
        ({"kty": "EC", "crv": "P-256"}, ("ES256", "ES384"), ["ES256"]),
        ({"kty": "OKP", "crv": "Ed25519"}, ("EdDSA",), ["EdDSA"]),
        ({"kty": "oct", "k": "c2VjcmV0"}, ("RS256", "HS256"), None),
        ({"kty": "RSA", "use": "enc"}, ("RS256",), None),
        ({"kty": "RSA", "d": "private"}, ("RS256",), None),
    ],
)
def test_a_key_works_with_its_own_algorithms_only(
    tmp_path: Path, key: dict[str, str], algorithms: tuple[str, ...], bound: list[str] | None
) -> None:
    """Each key is bound to those of its type that the provider allows; shared secrets and private keys are none."""
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps({"keys": [key]}))
    provider = JwtProvider("id", "https://id.example", ("shop",), algorithms=algorithms, jwks_file=str(keys))
    guarded = spec(route("r", auth=Auth(("id",))), providers=(provider,))
    if bound is None:
        with pytest.raises(ConfigurationError, match="no key"):
            compiled(guarded, addresses=ADDRESSES)
        return
    text = json.dumps(dict(compiled(guarded, addresses=ADDRESSES).resources.listeners))
    (found,) = [one for one in _inline(json.loads(text)) if "keys" in one]
    assert [one["alg"] for one in json.loads(found)["keys"]] == bound


def _inline(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["inline_string"]] if "inline_string" in value else []
        return own + [text for inner in value.values() for text in _inline(inner)]
    return [text for inner in value for text in _inline(inner)] if isinstance(value, list) else []


def test_aggregates_go_to_the_engine_behind() -> None:
    """They have one cluster, at the address that was given, and their routes are named."""
    action = Aggregate(1.0, (Part("x", "a", "/x"),))
    made = compiled(spec(route("agg", action), route("r")), addresses=ADDRESSES, behind="http://127.0.0.1:4711")
    assert made.behind == ("agg",)
    (cluster,) = [one for name, one in made.resources.clusters.items() if name != "a"]
    at = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    assert at == {"address": "127.0.0.1", "port_value": 4711}
    assert only(made, "agg")["route"]["cluster"] == cluster["name"]


def test_a_certificate_that_changes_changes_the_listener(tmp_path: Path) -> None:
    """Envoy reads files when it gets a listener: so it gets another one when they are others."""
    files = {name: tmp_path / f"{name}.pem" for name in ("chain", "key")}
    for file in files.values():
        file.write_text("first")
    tls = Tls(str(files["chain"]), str(files["key"]))

    def listener() -> Any:
        made = compiled(spec(route("r"), listeners=(Listener(tls=tls),)), addresses=ADDRESSES)
        return dict(made.resources.listeners)

    before = listener()
    assert listener() == before
    files["key"].write_text("second")
    assert listener() != before
    assert "second" not in json.dumps(listener())


def test_the_access_log_has_no_query(tmp_path: Path) -> None:
    """Where secrets stand; and a share of the good answers is written, but every bad one."""
    made = compiled(spec(route("r"), access_log=AccessLog(sample=0.1)), addresses=ADDRESSES)
    text = json.dumps(dict(made.resources.listeners))
    assert "%PATH(NQ:PATH)%" in text
    assert "%REQ(:PATH)%" not in text
    assert '"numerator": 100000' in text


def test_limits_are_envoys() -> None:
    """Head, headers and times are where Envoy has them, in its units."""
    limits = Limits(head=9000, headers=50, head_timeout=3.0, idle_timeout=30.0, connections=7)
    (listener,) = compiled(spec(route("r"), limits=limits), addresses=ADDRESSES).resources.listeners.values()
    connections, http = listener["filter_chains"][0]["filters"]
    assert connections["typed_config"]["max_connections"] == 7
    manager = http["typed_config"]
    assert manager["max_request_headers_kb"] == 9
    assert manager["common_http_protocol_options"]["max_headers_count"] == 50
    assert manager["request_headers_timeout"] == "3s"
    assert manager["common_http_protocol_options"]["idle_timeout"] == "30s"


def test_a_rate_that_is_quicker_than_envoys_clock_is_the_same_rate() -> None:
    """Envoy fills buckets at most twenty times a second."""
    found = only(compiled(spec(route("r", rate=RateSpec(100, 0.01, key="all"))), addresses=ADDRESSES), "r")
    (bucket,) = [one["token_bucket"] for one in found["typed_per_filter_config"].values() if "token_bucket" in one]
    assert (bucket["tokens_per_fill"], bucket["fill_interval"], bucket["max_tokens"]) == (500, "0.05s", 100)
