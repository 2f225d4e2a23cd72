from __future__ import annotations

import pytest

from skerry.errors import ConfigurationError
from skerry.gateway.cors import MAX_KNOWN, Rules
from skerry.gateway.model import Cors

SHOP = b"https://shop.example"


def preflight(rules: Rules, origin: bytes, method: bytes = b"PUT", *more: tuple[bytes, bytes]) -> dict[bytes, bytes]:
    answer = rules.preflight([(b"origin", origin), (b"access-control-request-method", method), *more])
    assert answer is not None
    assert (answer.status, answer.body) == (204, b"")
    return dict(answer.headers)


def test_a_preflight_of_an_allowed_origin_says_what_may_be_sent() -> None:
    """It names the origin itself, the methods, the headers, how long that holds, and what the answer depends on."""
    rules = Rules(
        Cors(
            origins=("https://shop.example",),
            methods=("GET", "PUT"),
            headers=("X-Trace",),
            credentials=True,
            max_age=60,
        )
    )
    assert preflight(rules, SHOP) == {
        b"access-control-allow-origin": SHOP,
        b"access-control-allow-credentials": b"true",
        b"access-control-allow-methods": b"GET, PUT",
        b"access-control-allow-headers": b"X-Trace",
        b"access-control-max-age": b"60",
        b"vary": b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    }


def test_a_preflight_of_another_origin_allows_nothing() -> None:
    """It is answered here all the same, with nothing but what the answer depends on."""
    assert set(preflight(Rules(Cors(origins=("https://shop.example",))), b"https://evil.example")) == {b"vary"}


def test_two_origins_are_none() -> None:
    """A request that says two origins is allowed nothing."""
    rules = Rules(Cors(origins=("https://shop.example",)))
    assert set(preflight(rules, SHOP, b"PUT", (b"origin", SHOP))) == {b"vary"}


@pytest.mark.parametrize("headers", [[], [(b"origin", SHOP)], [(b"access-control-request-method", b"PUT")]])
def test_an_options_request_that_is_no_preflight_is_the_services(headers: list[tuple[bytes, bytes]]) -> None:
    """A preflight says both its origin and a method."""
    assert Rules(Cors(origins=("https://shop.example",))).preflight(headers) is None


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (b"https://a.example.com", True),
        (b"https://b.a.example.com", True),
        (b"https://example.com", False),
        (b"https://.example.com", False),
        (b"https://aexample.com", False),
        (b"http://a.example.com", False),
        (b"https://a.example.com:444", False),
        (b"https://a.example.com.evil.test", False),
        (b"https://evil.test/.example.com", False),
        (b"https://evil.test#.example.com", False),
        (b"https://user@a.example.com", False),
        (b"https://evil.test:1@a.example.com", False),
        (b"https://A.example.com", False),
        (b"https://a.example.com\r\nset-cookie: a", False),
        (b"null", False),
        (b"", False),
    ],
)
def test_a_pattern_is_any_subdomain_and_nothing_else(origin: bytes, allowed: bool) -> None:
    """`https://*.example.com` is met by whole labels before the domain, with that scheme and no port."""
    rules = Rules(Cors(origins=("https://*.example.com",), credentials=True))
    assert rules.allows(origin) is allowed
    assert (b"access-control-allow-origin" in dict(rules.headers_for(origin))) is allowed


def test_a_pattern_with_a_port_keeps_to_it() -> None:
    """The port of a pattern has to be the origin's."""
    rules = Rules(Cors(origins=("http://*.example.com:8080",)))
    assert rules.allows(b"http://a.example.com:8080")
    assert not rules.allows(b"http://a.example.com")


def test_any_origin_is_told_so_in_general() -> None:
    """For `*` the answer is the same for all, `null` among them, and depends on nothing."""
    rules = Rules(Cors(origins=("*",), expose=("ETag",)))
    wanted = [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"ETag")]
    assert rules.headers_for(b"null") == wanted
    assert rules.headers_for(None) == wanted
    assert preflight(rules, SHOP)[b"access-control-allow-origin"] == b"*"


def test_answers_differ_by_origin_for_caches_too() -> None:
    """Where origins are named, every answer says that it depends on them, also one to a request without an origin."""
    rules = Rules(Cors(origins=("https://shop.example",)))
    assert rules.headers_for(None) == rules.headers_for(b"https://evil.example") == [(b"vary", b"Origin")]
    assert (b"vary", b"Origin") in rules.headers_for(SHOP)


def test_wildcards_with_credentials_say_back_what_was_asked() -> None:
    """With credentials a browser takes `*` for a name, so the very method and headers are named; without, `*` is told."""
    asked = (b"access-control-request-headers", b"x-a, x-b")
    open_ = {"methods": ("*",), "headers": ("*",)}
    told = preflight(Rules(Cors(origins=("https://shop.example",), credentials=True, **open_)), SHOP, b"PURGE", asked)
    assert (told[b"access-control-allow-methods"], told[b"access-control-allow-headers"]) == (b"PURGE", b"x-a, x-b")
    told = preflight(Rules(Cors(origins=("https://shop.example",), **open_)), SHOP, b"PURGE", asked)
    assert (told[b"access-control-allow-methods"], told[b"access-control-allow-headers"]) == (b"*", b"*")


@pytest.mark.parametrize("asked", [b"x-a\r\nset-cookie: a=b", b"x a", b'"x"', b"x-" + b"a" * 2000])
def test_what_is_no_list_of_names_is_not_said_back(asked: bytes) -> None:
    """Only tokens, and not many of them, come back to the client."""
    rules = Rules(Cors(origins=("https://shop.example",), headers=("*",), credentials=True))
    told = preflight(rules, SHOP, b"PUT", (b"access-control-request-headers", asked))
    assert b"access-control-allow-headers" not in told


@pytest.mark.parametrize(
    "cors",
    [
        Cors(origins=()),
        Cors(origins=("*",), credentials=True),
        Cors(origins=("*", "https://shop.example")),
        Cors(origins=("null",)),
        Cors(origins=("https://shop.example/",)),
        Cors(origins=("https://Shop.example",)),
        Cors(origins=("https://shop.example:443",)),
        Cors(origins=("http://shop.example:80",)),
        Cors(origins=("https://*",)),
        Cors(origins=("https://shop*.example",)),
        Cors(origins=("shop.example",)),
        Cors(origins=("https://shop.example",), headers=("a b",)),
        Cors(origins=("https://shop.example",), expose=("a\r\nb",)),
        Cors(origins=("https://shop.example",), expose=("*",), credentials=True),
        Cors(origins=("https://shop.example",), max_age=-1),
    ],
)
def test_rules_that_no_browser_could_follow_are_refused(cors: Cors) -> None:
    """What cannot work, or would open everything to everybody, is an error when the rules are made."""
    with pytest.raises(ConfigurationError, match="cors:"):
        Rules(cors)


def test_strangers_origins_do_not_fill_the_memory() -> None:
    """Of a pattern's many subdomains only some are kept ready; the others are answered as well."""
    rules = Rules(Cors(origins=("https://*.example.com",)))
    for number in range(MAX_KNOWN + 10):
        origin = b"https://a%d.example.com" % number
        assert (b"access-control-allow-origin", origin) in rules.headers_for(origin)
    assert len(rules._known) == MAX_KNOWN


def test_what_a_caller_adds_to_the_headers_stays_with_the_caller() -> None:
    """The list is the caller's own."""
    rules = Rules(Cors(origins=("https://shop.example",)))
    rules.headers_for(SHOP).append((b"a", b"b"))
    assert (b"a", b"b") not in rules.headers_for(SHOP)
