"""Manifests of the Gateway API become the model by the API's meaning, and what cannot be read is an error."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from skerry.errors import ConfigurationError, Mistakes
from skerry.gateway import kubernetes
from skerry.gateway.kubernetes.rules import POLICY, duration
from skerry.gateway.model import (
    METHODS,
    Backend,
    Cors,
    Forward,
    GatewaySpec,
    HeaderEdit,
    Listener,
    Match,
    Mirror,
    PathMatch,
    Redirect,
    Respond,
    RetrySpec,
    Rewrite,
    Route,
    Service,
    ValueMatch,
)

API = "gateway.networking.k8s.io/v1"
REF = {"name": "v1", "port": 8080}
HERE = {"v1": "127.0.0.1:1", "v2:8080": "127.0.0.1:2", "other/v3:8080": "127.0.0.1:3"}


def gateway(*listeners: dict[str, Any], name: str = "g", namespace: str = "default") -> dict[str, Any]:
    told = [
        {"name": f"l{index}", "port": 80, "protocol": "HTTP", **each} for index, each in enumerate(listeners or ({},))
    ]
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": API, "kind": "Gateway", "metadata": meta, "spec": {"listeners": told}}


def route(*rules: dict[str, Any], name: str = "r", meta: Any = None, **spec: Any) -> dict[str, Any]:
    spec = {"parentRefs": [{"name": "g"}], "rules": list(rules), **spec}
    return {"apiVersion": API, "kind": "HTTPRoute", "metadata": {"name": name, **(meta or {})}, "spec": spec}


class Reader:
    def __init__(self, folder: Path) -> None:
        self.file = folder / "m.yaml"
        self.backends = folder / "b.json"
        self.backends.write_text(json.dumps(HERE))

    def __call__(self, *objects: dict[str, Any], port: int | None = None, backends: bool = True) -> GatewaySpec:
        self.file.write_text(yaml.safe_dump_all(objects))
        return kubernetes.read(self.file, backends=self.backends if backends else None, port=port)

    def rule(self, **rule: Any) -> Route:
        (found,) = self(gateway(), route(rule)).routes
        return found

    def mistake(self, *objects: dict[str, Any]) -> str:
        with pytest.raises(ConfigurationError) as caught:
            self(*objects)
        return str(caught.value)

    def wrong(self, **rule: Any) -> str:
        return self.mistake(gateway(), route(rule))


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def test_a_rule_without_anything_takes_all_and_has_nobody_to_ask(read: Reader) -> None:
    """No match is every path, and no backend is 500: a `Forward` without backends."""
    found = read.rule()
    assert found.matches == (Match(PathMatch("prefix", "/")),)
    assert found.action == Forward(())
    assert (found.name, found.hostnames, found.listeners) == ("default/r/0", (), ())


def test_matches_arrive(read: Reader) -> None:
    """Paths, headers, parameters and methods mean the same; a slash at the end of a prefix means nothing."""
    found = read.rule(
        matches=[
            {"path": {"type": "Exact", "value": "/a/"}, "method": "GET"},
            {"path": {"type": "PathPrefix", "value": "/a/"}},
            {"path": {"type": "RegularExpression", "value": "/a.*"}},
            {"headers": [{"name": "X-A", "value": "1"}, {"name": "x-a", "value": "2"}]},
            {"queryParams": [{"name": "A", "value": "b.*", "type": "RegularExpression"}]},
        ]
    )
    assert found.matches == (
        Match(PathMatch("exact", "/a/"), frozenset({"GET"})),
        Match(PathMatch("prefix", "/a")),
        Match(PathMatch("regex", "/a.*")),
        Match(headers=(ValueMatch("x-a", "1"),)),
        Match(query=(ValueMatch("A", "b.*", regex=True),)),
    )


def test_filters_arrive(read: Reader) -> None:
    """Edits of headers, rewrites, mirrors and CORS are in the model."""
    edit = {"set": [{"name": "A", "value": "1"}], "add": [{"name": "B", "value": "2"}], "remove": ["C"]}
    found = read.rule(
        filters=[
            {"type": "RequestHeaderModifier", "requestHeaderModifier": edit},
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["D"]}},
            {
                "type": "URLRewrite",
                "urlRewrite": {
                    "hostname": "a.b",
                    "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/n/"},
                },
            },
            {"type": "RequestMirror", "requestMirror": {"backendRef": REF, "percent": 20}},
            {
                "type": "RequestMirror",
                "requestMirror": {
                    "backendRef": {"name": "v2", "port": 8080},
                    "fraction": {"numerator": 1, "denominator": 8},
                },
            },
            {"type": "CORS", "cors": {"allowOrigins": ["https://a.b"], "allowMethods": ["*"], "allowHeaders": ["*"]}},
        ],
        backendRefs=[REF],
    )
    assert found.request_headers == HeaderEdit((("A", "1"),), (("B", "2"),), ("C",))
    assert found.response_headers == HeaderEdit(remove=("D",))
    assert found.action == Forward(
        (Backend("v1"),), mirrors=(Mirror("v1", 20.0), Mirror("v2", 12.5)), rewrite=Rewrite(prefix="/n", host="a.b")
    )
    assert found.cors == Cors(("https://a.b",), METHODS, ("*",), max_age=5)


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ({"hostname": "a.b"}, Redirect(host="a.b")),
        ({"scheme": "https"}, Redirect("https", port=443)),
        ({"scheme": "https", "port": 8443, "statusCode": 301}, Redirect("https", port=8443, status=301)),
        ({"path": {"type": "ReplaceFullPath", "replaceFullPath": "/x"}}, Redirect(full="/x")),
        ({"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": ""}}, Redirect(prefix="/")),
    ],
)
def test_redirects_arrive(read: Reader, told: dict[str, Any], meant: Redirect) -> None:
    """A scheme without a port means that scheme's own port."""
    assert read.rule(filters=[{"type": "RequestRedirect", "requestRedirect": told}]).action == meant


def test_shares_go_where_the_file_of_backends_says(read: Reader) -> None:
    """Services are found by name, by name and port, and with their namespace; those that are not there keep their share."""
    found = read(
        gateway(),
        route({"backendRefs": [{**REF, "weight": 3}, {"name": "v2", "port": 8080}, {"name": "v9", "port": 1}]}),
    )
    assert found.routes[0].action == Forward((Backend("v1", 3), Backend("v2"), Backend(None)))
    assert found.services == (Service("v1", ("http://127.0.0.1:1",)), Service("v2", ("http://127.0.0.1:2",)))


def test_without_a_file_of_backends_the_surroundings_say_where_services_are(read: Reader) -> None:
    """Then every service exists, with an address that is told elsewhere."""
    found = read(gateway(), route({"backendRefs": [{"name": "v9", "port": 1}]}), backends=False)
    assert (found.routes[0].action, found.services) == (Forward((Backend("v9"),)), (Service("v9"),))


def test_two_ports_of_a_service_are_two_services(read: Reader) -> None:
    """Each has a name of its own."""
    refs = [{"name": "a", "port": 1}, {"name": "a", "port": 2}]
    found = read(gateway(), route({"backendRefs": refs}), backends=False)
    assert [service.name for service in found.services] == ["a", "a-2"]


def test_only_weights_of_zero_are_nobody(read: Reader) -> None:
    """Then the answer is 500, as without backends."""
    assert read.rule(backendRefs=[{**REF, "weight": 0}]).action == Forward(())


def test_headers_of_a_single_backend(read: Reader) -> None:
    """A backend's own edits stay with it."""
    edit = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "A", "value": "1"}]}}
    action = read.rule(backendRefs=[{**REF, "filters": [edit]}]).action
    assert action == Forward((Backend("v1", request_headers=HeaderEdit((("A", "1"),))),))


def test_filters_of_the_only_backend_hold_for_its_rule(read: Reader) -> None:
    """A rewrite or a redirect of a backend that is alone is one of all requests."""
    found = read.rule(backendRefs=[{**REF, "filters": [INNER]}])
    assert found.action == Forward((Backend("v1"),), rewrite=Rewrite(host="a.b"))
    redirect = {"type": "RequestRedirect", "requestRedirect": {"hostname": "a.b"}}
    assert read.rule(backendRefs=[{**REF, "filters": [redirect]}]).action == Redirect(host="a.b")


def test_a_backend_of_another_kind_does_not_exist(read: Reader) -> None:
    """Its share is answered by 500."""
    assert read.rule(backendRefs=[{**REF, "kind": "Pod"}, REF]).action == Forward((Backend(None), Backend("v1")))


@pytest.mark.parametrize(("named", "granted"), [(None, True), ("v3", True), ("v4", False)])
def test_other_namespaces_are_used_only_with_a_grant(read: Reader, named: str | None, *, granted: bool) -> None:
    """A ReferenceGrant beside the service lets a route of another namespace use it; without one it does not exist."""
    to: dict[str, Any] = {"group": "", "kind": "Service"}
    grant = {
        "apiVersion": "gateway.networking.k8s.io/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": {"name": "x", "namespace": "other"},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "default"}],
            "to": [to if named is None else {**to, "name": named}],
        },
    }
    rule = {"backendRefs": [{"name": "v3", "namespace": "other", "port": 8080}]}
    assert read(gateway(), route(rule), grant).routes[0].action == Forward((Backend("v3" if granted else None),))
    assert read(gateway(), route(rule)).routes[0].action == Forward((Backend(None),))


@pytest.mark.parametrize(
    ("rule", "policy"),
    [
        ({}, POLICY),
        ({"timeouts": {"request": "500ms"}}, replace(POLICY, total=0.5)),
        ({"timeouts": {"request": "0s"}}, replace(POLICY, total=None)),
        ({"timeouts": {"request": "1h"}}, replace(POLICY, total=3600.0)),
        ({"timeouts": {"backendRequest": "0s"}}, POLICY),
        ({"timeouts": {"backendRequest": "200ms"}}, replace(POLICY, attempt=0.2)),
        ({"timeouts": {"backendRequest": "1m"}}, replace(POLICY, attempt=60.0, total=60.25)),
        ({"retry": {}}, replace(POLICY, retry=replace(POLICY.retry, attempts=2))),
        (
            {"retry": {"attempts": 3, "codes": [500], "backoff": "1s"}},
            replace(
                POLICY,
                retry=RetrySpec(
                    4, frozenset({500}), unsafe=True, backoff=1.0, longest=1.0, budget=0.2, per_second=10.0
                ),
            ),
        ),
        ({"retry": {"attempts": 0}}, POLICY),
    ],
)
def test_time_limits_and_retries(read: Reader, rule: dict[str, Any], policy: Any) -> None:
    """`attempts` are those after the first; zero is no bound; what is not said is the documented default, without a breaker."""
    assert read.rule(**rule).policy == policy


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0.0), ("500ms", 0.5), ("1m30s", 90.0), ("2h1m1s1ms", 7261.001), ("10ms", 0.01)]
)
def test_durations(text: str, seconds: float) -> None:
    """Durations are those of GEP-2257."""
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["1", "1.5s", "1d", "s", "-1s", "1s1s1s1s1s", "123456s"])
def test_what_is_no_duration_is_an_error(read: Reader, text: str) -> None:
    """Nothing is guessed of a duration."""
    told = read.wrong(timeouts={"request": text})
    assert "HTTPRoute default/r spec.rules[0].timeouts.request: " in told
    assert "must be a duration" in told


@pytest.mark.parametrize(
    ("bounds", "own", "meant"),
    [
        (["very.specific.com"], ["other.com", "*.specific.com"], ("very.specific.com",)),
        (
            ["*.wildcard.io"],
            ["wildcard.io", "foo.wildcard.io", "a.b.wildcard.io"],
            ("foo.wildcard.io", "a.b.wildcard.io"),
        ),
        (["*.wildcard.io"], ["*.wildcard.io"], ("*.wildcard.io",)),
        (["*.io"], ["*.wildcard.io"], ("*.wildcard.io",)),
        (["*.wildcard.io"], ["*.io"], ("*.wildcard.io",)),
        (["a.b"], [], ("a.b",)),
        ([""], ["a.b"], ("a.b",)),
        ([""], [], ()),
        (["a.b", "c.d"], [], ("a.b", "c.d")),
    ],
)
def test_hosts_of_listener_and_route_meet(
    read: Reader, bounds: list[str], own: list[str], meant: tuple[str, ...]
) -> None:
    """A route answers on the hosts that both it and its listener name; of two that overlap, the narrower one."""
    gate = gateway(*({"hostname": bound} for bound in bounds))
    spec = read(gate, route({}, hostnames=own))
    assert (spec.routes[0].hostnames, len(spec.listeners)) == (meant, 1)


def test_a_route_is_on_the_listeners_that_it_names(read: Reader) -> None:
    """By section or by port; those of several ports are listeners of their own."""
    gate = gateway({}, {"port": 81, "name": "second"}, {"port": 81, "name": "third", "hostname": "a.b"})
    spec = read(
        gate,
        route({}, name="by-name", parentRefs=[{"name": "g", "sectionName": "second"}]),
        route({}, name="by-port", parentRefs=[{"name": "g", "port": 80}]),
        route({}, name="everywhere"),
    )
    assert spec.listeners == (Listener("l0", port=80), Listener("port-81", port=81))
    assert [(each.name, each.listeners) for each in spec.routes[:3]] == [
        ("default/by-name/0", ("port-81",)),
        ("default/by-port/0", ("l0",)),
        ("default/everywhere/0", ()),
    ]


def test_other_hosts_on_other_ports_are_routes_of_their_own(read: Reader) -> None:
    """A route that takes different hosts on two ports is there twice."""
    spec = read(gateway({"hostname": "a.b"}, {"port": 81, "hostname": "c.d"}), route({}))
    assert [(each.name, each.listeners, each.hostnames) for each in spec.routes] == [
        ("default/r/0", ("l0",), ("a.b",)),
        ("default/r/0 (2)", ("l1",), ("c.d",)),
    ]


def test_listeners_stay_apart(read: Reader) -> None:
    """A host belongs to the narrowest listener that takes it: what hangs on a wider one never answers there."""
    gate = gateway({"name": "any"}, {"name": "narrow", "hostname": "*.a.b"}, {"port": 81, "name": "elsewhere"})
    spec = read(
        gate,
        route({}, name="wide", hostnames=["x.a.b", "c.d"], parentRefs=[{"name": "g", "sectionName": "any"}]),
        route({}, name="inner", hostnames=["x.a.b"], parentRefs=[{"name": "g", "sectionName": "narrow"}]),
    )
    assert [(each.name, each.hostnames) for each in spec.routes] == [
        ("default/inner/0", ("x.a.b",)),
        ("default/wide/0", ("c.d",)),
        ("port-80 *.a.b", ("*.a.b",)),
    ]
    assert (spec.routes[-1].action, spec.routes[-1].listeners) == (Respond(404), ("port-80",))


REFUSED = {
    "a section that is not there": ({}, {"parentRefs": [{"name": "g", "sectionName": "x"}]}),
    "a port that is not there": ({}, {"parentRefs": [{"name": "g", "port": 81}]}),
    "hosts that do not meet": ({"hostname": "a.b"}, {"hostnames": ["c.d"]}),
    "no namespace": ({"allowedRoutes": {"namespaces": {"from": "None"}}}, {}),
    "other kinds": ({"allowedRoutes": {"kinds": [{"kind": "GRPCRoute"}]}}, {}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_gateway_turns_down_is_attached_to_nothing(
    read: Reader, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a cluster it serves nothing; a warning says so."""
    listener, spec = REFUSED[name]
    with caplog.at_level(logging.WARNING):
        assert read(gateway(listener), route({}, **spec)).routes == ()
    assert "HTTPRoute default/r is attached to no listener" in caplog.text


@pytest.mark.parametrize(
    ("allowed", "attached"),
    [
        ({}, False),
        ({"from": "Same"}, False),
        ({"from": "All"}, True),
        ({"from": "Selector", "selector": {"matchLabels": {"team": "a"}}}, True),
        ({"from": "Selector", "selector": {"matchLabels": {"team": "b"}}}, False),
    ],
)
def test_routes_of_other_namespaces(read: Reader, allowed: dict[str, Any], *, attached: bool) -> None:
    """A listener says whose routes it takes: by default those of its own namespace."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "web", "labels": {"team": "a"}}}
    spec = read(
        namespace,
        gateway({"allowedRoutes": {"namespaces": allowed}}),
        route({}, meta={"namespace": "web"}, parentRefs=[{"name": "g", "namespace": "default"}]),
    )
    assert bool(spec.routes) == attached


def test_older_routes_come_first(read: Reader) -> None:
    """Of routes that match alike the oldest answers, then the first by name; both may be there."""
    spec = read(
        gateway(),
        route({}, name="c"),
        route({}, name="b"),
        route({}, name="z", meta={"creationTimestamp": "2026-01-02T00:00:00Z"}),
        route({}, name="y", meta={"creationTimestamp": "2026-01-03T00:00:00Z"}),
    )
    assert [each.name for each in spec.routes] == ["default/z/0", "default/y/0", "default/b/0", "default/c/0"]
    assert spec.first_wins


def test_lists_and_what_else_stands_in_such_files(read: Reader) -> None:
    """A List is its items; services, deployments and the like are passed over."""
    beside = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}
    rest = {"apiVersion": "v1", "kind": "List", "items": [gateway(), route({}), beside]}
    assert len(read(rest).routes) == 1


def test_the_port_of_the_first_listener_is_replaced(read: Reader) -> None:
    """`port` stands in for that of the first listener; others keep theirs."""
    assert [each.port for each in read(gateway({}, {"port": 81}), port=9000).listeners] == [9000, 81]


SLASH = {"path": {"type": "Exact", "value": "/a"}}
INNER = {"type": "URLRewrite", "urlRewrite": {"hostname": "a.b"}}
PREFIX = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}
WRONG = {
    "rules[0]: unknown key 'match'": {"match": []},
    "rules[0].sessionPersistence: is not read": {"sessionPersistence": {}},
    "rules[0].matches[0].method: must be one of GET": {"matches": [{"method": "TRACE"}]},
    "rules[0].matches[0].path.value: must begin with a slash": {"matches": [{"path": {"value": "a"}}]},
    "rules[0].filters[0].extensionRef: is not read": {"filters": [{"type": "ExtensionRef", "extensionRef": {}}]},
    "rules[0].filters[0]: a filter of the type CORS has 'cors' and no other": {"filters": [{"type": "CORS"}]},
    "rules[0].filters[1]: CORS may be there once": {
        "filters": [{"type": "CORS", "cors": {"allowOrigins": ["https://a.b"]}}] * 2
    },
    "cors.allowOrigins: origins by name": {
        "filters": [{"type": "CORS", "cors": {"allowOrigins": ["*"], "allowCredentials": True}}]
    },
    "urlRewrite.path: there is no prefix to replace": {
        "matches": [SLASH],
        "filters": [{"type": "URLRewrite", "urlRewrite": {"path": PREFIX}}],
    },
    "urlRewrite.path: a path of the type ReplaceFullPath has": {
        "filters": [{"type": "URLRewrite", "urlRewrite": {"path": {**PREFIX, "type": "ReplaceFullPath"}}}]
    },
    "backendRefs: a redirect and backendRefs contradict": {
        "backendRefs": [REF],
        "filters": [{"type": "RequestRedirect", "requestRedirect": {"hostname": "a.b"}}],
    },
    "backendRef: nobody says where this service is": {
        "filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "v9", "port": 1}}}]
    },
    "fraction: is more than the whole": {
        "filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": REF, "fraction": {"numerator": 101}}}]
    },
    "backendRefs[0]: 'port' is missing": {"backendRefs": [{"name": "v1"}]},
    "backendRefs[0].filters: beside other backends": {"backendRefs": [{**REF, "filters": [INNER]}, REF]},
    "backendRefs[0].filters: beside other backends, or other filters": {
        "filters": [INNER],
        "backendRefs": [{**REF, "filters": [INNER]}],
    },
    "timeouts.backendRequest: is longer than": {"timeouts": {"request": "1s", "backendRequest": "2s"}},
    "retry.codes[0]: must be a whole number from 400": {"retry": {"codes": [200]}},
    "default/r/0: match[0].path: '(' is not a regular expression": {
        "matches": [{"path": {"type": "RegularExpression", "value": "("}}]
    },
    "default/r/0: request_headers.set.Host: Host is not edited": {
        "filters": [
            {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "Host", "value": "a"}]}}
        ]
    },
}


@pytest.mark.parametrize("message", WRONG)
def test_what_cannot_be_read_is_an_error(read: Reader, message: str) -> None:
    """Nothing is dropped: an error names kind, namespace, name and field."""
    told = read.wrong(**WRONG[message])
    assert "HTTPRoute default/r" in told
    assert message in told


OBJECTS = {
    "GRPCRoute default/x: is not read": ({"apiVersion": API, "kind": "GRPCRoute", "metadata": {"name": "x"}},),
    "BackendTrafficPolicy default/x: is not read": (
        {"apiVersion": "example.com/v1", "kind": "BackendTrafficPolicy", "metadata": {"name": "x"}},
    ),
    "HTTPRoute is read in the versions v1 and v1beta1": (
        gateway(),
        {**route({}), "apiVersion": "gateway.networking.k8s.io/v1alpha2"},
    ),
    "Gateway default/g spec.listeners[0].protocol: must be one of HTTP": (gateway({"protocol": "HTTPS"}),),
    "Gateway default/g spec.listeners[0].tls: is not read": (gateway({"tls": {}}),),
    "none of its parentRefs names a Gateway of these manifests": (gateway(name="h"), route({})),
    "parentRefs[0]: only a Gateway is read as a parent": (
        gateway(),
        route({}, parentRefs=[{"name": "g", "kind": "Service"}]),
    ),
    "there is no Gateway": (route({}),),
}


@pytest.mark.parametrize("message", OBJECTS)
def test_objects_that_cannot_be_read_are_errors(read: Reader, message: str) -> None:
    """So are other kinds, other versions, and routes that belong to nobody here."""
    assert message in read.mistake(*OBJECTS[message])


def test_all_mistakes_of_all_objects_are_told(read: Reader) -> None:
    """Several mistakes in several objects are one error."""
    with pytest.raises(Mistakes) as caught:
        read(gateway(), route({"x": 1}, name="a"), route({"y": 1}, name="b"))
    assert [each.field for each in caught.value.all] == [
        "HTTPRoute default/a spec.rules[0]",
        "HTTPRoute default/b spec.rules[0]",
    ]


def test_a_wrong_file_of_backends_is_an_error(read: Reader) -> None:
    """An address without a port is told with its name."""
    read.backends.write_text("v1: localhost\n")
    read.file.write_text(yaml.safe_dump_all([gateway()]))
    with pytest.raises(ConfigurationError, match="v1: 'localhost' is not valid here: it must be HOST:PORT"):
        kubernetes.read(read.file, backends=read.backends)
