"""gateway.yaml becomes the model, and every mistake is told with its file, line and field."""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

import pytest
from gateway_documents import FULL, MISTAKES, ROUTE

from skerry.errors import ConfigurationError, Mistakes
from skerry.gateway import reading
from skerry.gateway.model import (
    AccessLog,
    Aggregate,
    Auth,
    Backend,
    BreakerSpec,
    Cors,
    Forward,
    GatewaySpec,
    GuardSpec,
    HeaderEdit,
    JwtProvider,
    Listener,
    Match,
    Mirror,
    Normalise,
    PathMatch,
    PolicySpec,
    RateSpec,
    Redirect,
    Respond,
    RetrySpec,
    Rewrite,
    Service,
    Shadow,
    Shape,
    Sticky,
    Strangle,
    Tls,
    ValueMatch,
)


@pytest.fixture(scope="module")
def full() -> GatewaySpec:
    return reading.parse(FULL)


def test_the_top_of_a_document_arrives(full: GatewaySpec) -> None:
    """Listeners, services, providers, limits and the log are as they were written; files are beside the document."""
    assert (full.name, full.trusted_hops) == ("shop", 1)
    assert full.access_log == AccessLog("access.jsonl", 0.1)
    assert (full.limits.body, full.limits.head, full.limits.headers, full.limits.body_rate) == (65536, 16384, 50, 1)
    assert full.listeners == (
        Listener("http", "0.0.0.0", 8080),
        Listener(
            "https",
            port=8443,
            hostnames=("shop.example", "*.shop.example"),
            tls=Tls("tls/shop.pem", "/etc/shop.key", "ca.pem"),
        ),
    )
    assert full.services == (
        Service("order", ("http://10.0.0.1:80", "http://[::1]:81"), 0.5, 8, 5.0),
        Service("payment", ("https://pay.example",), ca="pay.pem"),
    )
    assert full.providers == (
        JwtProvider(
            "users",
            "https://id.example",
            ("shop",),
            ("ES256",),
            jwks_url="https://id.example/keys",
            claims=(("sub", "X-User"),),
        ),
    )


def test_a_route_arrives(full: GatewaySpec) -> None:
    """All that a route may say is in the model, and its policy starts from the defaults."""
    route = full.routes[0]
    assert route.matches[:1] == (
        Match(
            PathMatch("prefix", "/orders"),
            frozenset({"GET", "HEAD"}),
            (ValueMatch("x-canary", "always"), ValueMatch("x-version", "v[0-9]+", regex=True)),
            (ValueMatch("beta", "1"),),
            (ValueMatch("plan", "gold"),),
        ),
    )
    assert route.action == Forward(
        (Backend("order", 90), Backend("order-next", 10, HeaderEdit(set=(("X-Next", "1"),)))),
        Sticky("cookie", "session"),
        (Mirror("shadow"), Mirror("dark", 5.0)),
        Rewrite(prefix="/v2/orders", host="orders.internal"),
    )
    assert route.policy == PolicySpec(
        0.5, 0.5, RetrySpec(attempts=1), breaker=None, concurrency=4, queue=0, adaptive=True
    )
    assert route.request_headers == HeaderEdit((("X-A", "a"),), (("X-B", "b"),), ("X-C",))
    assert route.response_headers == HeaderEdit(remove=("Server",))
    assert (route.auth, route.rate) == (Auth(("users",), required=False, scopes=("orders",)), RateSpec(5, 60.0, 10))
    assert (route.hostnames, route.listeners, route.body, route.line) == (("shop.example",), ("https",), 1024**2, 28)


def test_defaults_hold_for_routes_that_say_nothing(full: GatewaySpec) -> None:
    """Policy, auth, CORS, rate limit and compression come from the defaults, and `false` takes them away."""
    _, redirect, teapot, home, *_ = full.routes
    assert (redirect.auth, redirect.cors, redirect.rate, redirect.compress) == (None, None, None, False)
    assert (teapot.auth, teapot.compress) == (Auth(("users",)), True)
    assert teapot.cors == Cors(("https://shop.example",), credentials=True)
    assert teapot.rate == RateSpec(100, key="identity")
    assert home.policy == PolicySpec(
        4.0, 1.0, RetrySpec(attempts=2, statuses=frozenset({503})), BreakerSpec(min_calls=5)
    )


def test_other_answers_arrive(full: GatewaySpec) -> None:
    """Redirects, fixed answers and aggregates are in the model; a fallback is JSON text."""
    _, redirect, teapot, home, *_ = full.routes
    assert redirect.matches[1] == Match(PathMatch("regex", "/old/[0-9]+"), frozenset({"POST", "PUT"}))
    assert redirect.action == Redirect("https", "shop.example", 8443, full="/new", status=308)
    assert teapot.action == Respond(418, "short and stout")
    assert isinstance(home.action, Aggregate)
    assert home.matches[0].path == PathMatch("template", "/home/{user}")
    order, offers = home.action.parts
    assert (order.required, order.shape) == (True, Shape(("id", "a.b"), (("id", "order_id"),)))
    assert order.path == "/users/{user}/orders?limit=5"
    assert offers.query == ("page",)
    assert (offers.fallback, offers.timeout, offers.policy.retry.attempts) == ('{"items":[],"more":null}', 0.2, 1)


def test_routes_without_a_name_are_called_by_their_path() -> None:
    """The second route of a path gets a number, so that metrics tell them apart."""
    text = "routes:\n  - {path: /a, methods: [GET], service: a}\n  - {path: /a, methods: [POST], service: b}\n"
    assert [route.name for route in reading.parse(text).routes] == ["/a", "/a (2)"]


def test_files_are_beside_the_document(tmp_path: Path) -> None:
    """A relative file is looked for in the folder of the document, an absolute one where it says."""
    (tmp_path / "g.yaml").write_text(FULL)
    spec = reading.read(tmp_path / "g.yaml")
    assert spec.listeners[1].tls == Tls(str(tmp_path / "tls/shop.pem"), "/etc/shop.key", str(tmp_path / "ca.pem"))
    assert spec.source == str(tmp_path / "g.yaml")


def test_standard_output_is_no_file() -> None:
    """An access log to `-` stays there, and `true` means that one."""
    assert reading.parse("access_log: true\n" + ROUTE).access_log == AccessLog("-", 1.0)
    assert reading.parse("access_log: false\n" + ROUTE).access_log is None


def test_an_attempt_is_never_longer_than_the_whole() -> None:
    """A total below the attempt's limit shortens the attempt."""
    policy = reading.parse(ROUTE + "    policy: {total: 0.3}\n").routes[0].policy
    assert (policy.total, policy.attempt) == (0.3, 0.3)


def test_null_is_no_bound() -> None:
    """A time that may be without bound is null."""
    policy = reading.parse(ROUTE + "    policy: {total: null, attempt: null}\n").routes[0].policy
    assert (policy.total, policy.attempt) == (None, None)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_its_place(name: str) -> None:
    """Whatever is wrong, the error names the file, the line and what it is."""
    text, line, message = MISTAKES[name]
    with pytest.raises(ConfigurationError) as caught:
        reading.parse(text, source="gateway.yaml")
    assert (caught.value.source, caught.value.line) == ("gateway.yaml", line)
    assert message in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    """Who corrects a file does not have to run the check once for each mistake."""
    text = "nam: x\nroutes:\n  - {path: a, service: A}\n  - {path: /b, service: b, body: much}\n"
    with pytest.raises(Mistakes) as caught:
        reading.parse(text, source="g.yaml")
    assert [(each.line, each.field) for each in caught.value.all] == [
        (1, None),
        (3, "routes[0].path"),
        (3, "routes[0].service"),
        (4, "routes[1].body"),
    ]
    assert str(caught.value).splitlines()[0] == "g.yaml:1: unknown key 'nam'"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is one clear error."""
    with pytest.raises(ConfigurationError, match=r"g\.yaml: cannot be read: No such file"):
        reading.read(tmp_path / "g.yaml")


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    """More than a mebibyte is refused before it is parsed."""
    (tmp_path / "g.yaml").write_text("#" * (1024**2 + 1))
    with pytest.raises(ConfigurationError, match="larger than"):
        reading.read(tmp_path / "g.yaml")


def test_methods_may_differ_on_one_path() -> None:
    """Two routes of a path are no doubles when no method is in both, or when one takes all that are left."""
    text = "routes:\n  - {path: /a, methods: [GET], service: a}\n  - {path: /a, methods: [POST], service: b}\n"
    assert len(reading.parse(text + "  - {path: /a, service: c}\n").routes) == 3


@pytest.mark.parametrize(
    "text", ["[" * 1_000_000, "a: " + "[" * 400_000 + "]" * 400_000, "{a: " * 200_000], ids=["list", "value", "mapping"]
)
def test_a_document_that_is_deep_does_not_end_the_process(text: str) -> None:
    """libyaml would go on until the stack is used up: a document has a bounded depth."""
    with pytest.raises(ConfigurationError, match="more than 64 mappings and lists within one another"):
        reading.parse(text)


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("http://a:1", ("http://a:1",)),
        ("http://a:1/", ("http://a:1",)),
        ("https://a:1,b:2", ("https://a:1", "https://b:2")),
        ("dns+http://a:1", ("dns+http://a:1",)),
    ],
)
def test_a_variable_may_name_several_places(url: str, meant: tuple[str, ...]) -> None:
    """Hosts are told apart by commas; what leads to a discovery stays whole."""
    assert reading.places({"a": url}) == {"a": meant}


@pytest.mark.parametrize("text", [ROUTE, "nothing"])
def test_the_collector_works_again_after_reading(text: str) -> None:
    """It rests while a document is read, and is as it was afterwards, whatever came of it."""
    with contextlib.suppress(ConfigurationError):
        reading.parse(text)
    assert gc.isenabled()
    gc.disable()
    try:
        with contextlib.suppress(ConfigurationError):
            reading.parse(text)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_strangled_route_arrives(full: GatewaySpec) -> None:
    """Its plan has every amount in the model's unit; until shares are put in, all goes to the control."""
    action = full.routes[-2].action
    assert isinstance(action, Forward)
    assert action.backends == (Backend("monolith"), Backend("catalogue", 0))
    assert (action.sticky, action.writes, action.hold) == (Sticky("header", "X-User"), None, 0.0)
    assert action.strangle == Strangle(
        "monolith",
        "catalogue",
        (0.5, 5.0, 25.0, 100.0),
        Shadow(
            0.1,
            ("$.ts", "$['made by']"),
            (
                Normalise("$.books[*].price", "round", digits=2),
                Normalise("$.seen", "time", within=1.0),
                Normalise("$.tags", "unordered"),
                Normalise("$.isbn", "case"),
                Normalise("$.title", "space"),
            ),
            ("content-type", "etag"),
            ("$.owner.*",),
            harmless=True,
            settle=0.5,
            concurrency=4,
            body=65536,
        ),
        GuardSpec(0.005, 2.0, 0.002, 0.05, 0.0, 100, 0.3, 20),
        "ramp",
        "/position",
    )
    assert full.called >= {"monolith", "catalogue", "stock"}


def test_a_strangled_route_need_not_be_compared(full: GatewaySpec) -> None:
    """`shadow: false` is a ramp on errors and times alone."""
    action = full.routes[-1].action
    assert isinstance(action, Forward)
    assert action.strangle == Strangle("monolith", "stock", shadow=None)
