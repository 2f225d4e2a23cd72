from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from issuing_tokens import Issuer, provider

from skerry.errors import ConfigurationError
from skerry.gateway.auth import Guard, Providers, Verifier, verifier
from skerry.gateway.model import Auth
from skerry.service.problem import Problem
from skerry.signals import Signal, TokenRefused
from skerry.testing import VirtualClock


def made(issuer: Issuer, clock: VirtualClock, folder: Path, **change: Any) -> Verifier:
    return Verifier(provider(folder, issuer.jwks(), **change), clock=clock)


def refusal(verifier: Verifier, token: str) -> int:
    with pytest.raises(Problem) as refused:
        verifier.verify(token)
    return refused.value.status


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_good_token_names_its_bearer(issuer: Issuer, clock: VirtualClock, tmp_path: Path, algorithm: str) -> None:
    """The subject and all scopes, by every algorithm that is allowed unless told otherwise."""
    identity = made(issuer, clock, tmp_path).verify(issuer.token(clock, algorithm=algorithm, scp=["admin"], n=1))
    assert (identity.subject, identity.scopes) == ("ada", {"read", "write", "admin"})
    assert identity.provider == "id"
    assert "ada@" not in repr(identity)


@pytest.mark.parametrize("audience", ["shop", ["shop"], ["bank", "shop"]])
def test_one_of_the_audiences_is_enough(issuer: Issuer, clock: VirtualClock, tmp_path: Path, audience: object) -> None:
    """`aud` is a string or a list of them."""
    assert made(issuer, clock, tmp_path, audiences=("shop", "mail")).verify(issuer.token(clock, aud=audience))


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+JWT"])
def test_tokens_for_access_say_so_in_several_ways(
    issuer: Issuer, clock: VirtualClock, tmp_path: Path, kind: str
) -> None:
    """`typ` is that of RFC 7519 or of RFC 9068."""
    header = {"alg": "RS256", "kid": "rsa", "typ": kind}
    assert made(issuer, clock, tmp_path).verify(issuer.token(clock, header=header))


def test_a_known_token_ends_when_it_says(issuer: Issuer, clock: VirtualClock, tmp_path: Path) -> None:
    """Being remembered makes no token last longer than its `exp` and the leeway."""
    checked = made(issuer, clock, tmp_path)
    token = issuer.token(clock, exp=clock.now() + 100)
    first = checked.verify(token)
    assert checked.verify(token) is first
    clock.advance(129.0)
    assert checked.verify(token) is checked.known(token) is first
    clock.advance(1.0)
    assert checked.known(token) is None
    assert refusal(checked, token) == 401


def test_leeway_is_for_clocks_that_differ(issuer: Issuer, clock: VirtualClock, tmp_path: Path) -> None:
    """A token is taken so many seconds after its end and before its beginning, and none by default of 0."""
    early = {"nbf": clock.now() + 20, "iat": clock.now() + 20}
    assert made(issuer, clock, tmp_path).verify(issuer.token(clock, **early))
    assert made(issuer, clock, tmp_path).verify(issuer.token(clock, exp=clock.now() - 20))
    assert refusal(made(issuer, clock, tmp_path, leeway=0.0), issuer.token(clock, exp=clock.now())) == 401


def test_a_token_without_an_end_is_taken_only_where_that_is_said(
    issuer: Issuer, clock: VirtualClock, tmp_path: Path
) -> None:
    """`require_exp` off lets it pass; an odd `exp` is refused all the same."""
    checked = made(issuer, clock, tmp_path, require_exp=False)
    assert checked.verify(issuer.token(clock, exp=None)).until == float("inf")
    assert refusal(checked, issuer.token(clock, exp="never")) == 401


def test_known_tokens_take_a_bounded_memory(
    issuer: Issuer, clock: VirtualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those not used for long are forgotten, those in use stay."""
    monkeypatch.setattr(verifier, "MAX_KNOWN", 40)
    checked = made(issuer, clock, tmp_path)
    used = issuer.token(clock, algorithm="EdDSA", sub="used")
    first = checked.verify(used)
    for number in range(100):
        checked.verify(issuer.token(clock, algorithm="EdDSA", sub=f"u{number}"))
        assert checked.verify(used) is first
    assert len(checked._young) + len(checked._old) <= 40
    assert used not in repr(vars(checked))


@pytest.mark.parametrize(
    ("value", "header"),
    [
        ("ada", b"ada"),
        ("Zo\xeb", b"Zo\xeb"),
        (42, b"42"),
        (1.5, b"1.5"),
        (True, b"true"),
        (["a", "b c"], b"a,b c"),
        ("", b""),
    ],
)
def test_claims_go_on_as_headers(
    issuer: Issuer, clock: VirtualClock, tmp_path: Path, value: object, header: bytes
) -> None:
    """Text, numbers, true and false, and lists of text; a claim that is absent is no header."""
    checked = made(issuer, clock, tmp_path, claims=(("x", "X-Claim"), ("y", "X-Other")))
    assert checked.verify(issuer.token(clock, x=value)).headers == ((b"x-claim", header),)
    assert checked.headers == {b"x-claim", b"x-other"}


@pytest.mark.parametrize(
    "value",
    [
        "a\r\nX-Admin: true",
        "a\nb",
        "a\0b",
        "a\x7fb",
        "a\x85b",
        "\u0430dmin",
        "\u010d\u010a",
        " ada",
        "ada ",
        "\xa0ada",
        ["a,b"],
        ["a", 1],
        {"a": 1},
        [["a"]],
    ],
)
def test_a_claim_that_could_be_read_in_two_ways_is_refused(
    issuer: Issuer, clock: VirtualClock, tmp_path: Path, value: object, told: list[Signal]
) -> None:
    """Line breaks, NUL, what is not Latin and the like make the token invalid for this provider; they never become a header."""
    checked = made(issuer, clock, tmp_path, claims=(("x", "X-Claim"),))
    assert refusal(checked, issuer.token(clock, x=value)) == 401
    assert told == [TokenRefused(provider="id", check="claim")]


@pytest.mark.parametrize("value", ["null", "1e999"])
def test_a_claim_that_is_no_value_does_not_go_on(
    issuer: Issuer, clock: VirtualClock, tmp_path: Path, value: str
) -> None:
    """Null is neither a value nor absent, and what is beyond all numbers is none: both are refused."""
    checked = made(issuer, clock, tmp_path, claims=(("x", "X-Claim"),))
    claims = f'{{"iss": "https://id.example", "aud": "shop", "exp": {clock.now() + 60}, "x": {value}}}'
    assert refusal(checked, issuer.token(clock, claims=claims)) == 401


def test_bearers_are_counted_by_provider_and_subject(issuer: Issuer, clock: VirtualClock, tmp_path: Path) -> None:
    """The key is short whatever the subject, differs by provider, is empty without a subject, and is no address."""
    one, other = made(issuer, clock, tmp_path), made(issuer, clock, tmp_path, name="other")
    ada, long = issuer.token(clock), issuer.token(clock, sub="x" * 4000)
    assert one.verify(ada).key == "id\nada"
    assert one.verify(ada).key != other.verify(ada).key
    assert len(one.verify(long).key) < 80
    assert one.verify(issuer.token(clock, sub=None)).key == ""


# --- the guard of a route


def guard(issuer: Issuer, clock: VirtualClock, folder: Path, *others: Any, **auth: Any) -> Guard:
    providers = Providers([provider(folder, issuer.jwks()), *others], clock=clock)
    return providers.guard(Auth(**{"providers": ("id",), **auth}))


def test_the_token_stands_in_the_authorization_header(issuer: Issuer, clock: VirtualClock, tmp_path: Path) -> None:
    """After the word Bearer, in any case, and spaces."""
    checked = guard(issuer, clock, tmp_path)
    for start in ("Bearer ", "bearer ", "BEARER   "):
        found = checked.admit((start + issuer.token(clock)).encode())
        assert found is not None
        assert found.subject == "ada"


@pytest.mark.parametrize("value", [None, b"", b"Basic YTpi", b"Bearer", b"Bearer\tx", b"Token x", b"eyJ.eyJ.abc"])
def test_without_a_token_a_route_says_what_it_needs(
    issuer: Issuer, clock: VirtualClock, tmp_path: Path, value: bytes | None
) -> None:
    """401 with a challenge that names no error (RFC 6750, section 3.1); where none is required, nobody is asking."""
    with pytest.raises(Problem) as refused:
        guard(issuer, clock, tmp_path).admit(value)
    assert (refused.value.status, refused.value.code) == (401, "token_required")
    assert refused.value.headers == [(b"www-authenticate", b'Bearer realm="gateway"')]
    assert guard(issuer, clock, tmp_path, required=False).admit(value) is None


@pytest.mark.parametrize("value", [b"Bearer ", b"Bearer x", b"Bearer \xff.a.b", b"bearer a.b.c"])
def test_a_wrong_token_is_refused_even_where_none_is_required(
    issuer: Issuer, clock: VirtualClock, tmp_path: Path, value: bytes
) -> None:
    """Who brings one means it."""
    with pytest.raises(Problem) as refused:
        guard(issuer, clock, tmp_path, required=False).admit(value)
    assert (refused.value.status, refused.value.code) == (401, "invalid_token")


def test_all_scopes_of_a_route_are_needed(
    issuer: Issuer, clock: VirtualClock, tmp_path: Path, told: list[Signal]
) -> None:
    """403 says which there are; a token that has them all, in either claim, passes."""
    value = b"Bearer " + issuer.token(clock, scp=["admin"]).encode()
    assert guard(issuer, clock, tmp_path, scopes=("read", "admin")).admit(value) is not None
    with pytest.raises(Problem) as refused:
        guard(issuer, clock, tmp_path, scopes=("read", "root")).admit(value)
    assert refused.value.status == 403
    challenge = b'Bearer realm="gateway", error="insufficient_scope", scope="read root"'
    assert refused.value.headers == [(b"www-authenticate", challenge)]
    assert told == [TokenRefused(provider="id", check="scope")]


def test_of_several_providers_the_issuers_own_verifies(
    issuer: Issuer, clock: VirtualClock, tmp_path: Path, told: list[Signal]
) -> None:
    """A provider's key vouches for its own issuer only; an issuer that nobody knows is refused."""
    second = Issuer()
    (tmp_path / "b").mkdir()
    other = provider(tmp_path / "b", second.jwks(), name="other", issuer="https://b.example")
    checked = guard(issuer, clock, tmp_path, other, providers=("id", "other"))
    for _ in range(2):
        found = checked.admit(b"Bearer " + second.token(clock, iss="https://b.example").encode())
        assert found is not None
        assert found.provider == "other"
    for wrong in (
        second.token(clock),
        issuer.token(clock, iss="https://b.example"),
        issuer.token(clock, iss="https://c.example"),
    ):
        with pytest.raises(Problem):
            checked.admit(b"Bearer " + wrong.encode())
    assert [signal.check for signal in told if isinstance(signal, TokenRefused)] == ["signature", "signature", "issuer"]


def test_two_providers_of_one_issuer_are_both_asked(issuer: Issuer, clock: VirtualClock, tmp_path: Path) -> None:
    """They may differ in audiences."""
    other = provider(tmp_path, issuer.jwks(), name="other", audiences=("mail",))
    checked = guard(issuer, clock, tmp_path, other, providers=("id", "other"))
    found = checked.admit(b"Bearer " + issuer.token(clock, aud="mail").encode())
    assert found is not None
    assert found.provider == "other"


def test_a_token_without_an_issuer_is_no_providers(issuer: Issuer, clock: VirtualClock, tmp_path: Path) -> None:
    """Nor is one that cannot be read, of several providers."""
    other = provider(tmp_path, issuer.jwks(), name="other", issuer="https://b.example")
    checked = guard(issuer, clock, tmp_path, other, providers=("id", "other"))
    for token in (issuer.token(clock, iss=None), issuer.token(clock, iss=["https://b.example"]), "a.b"):
        with pytest.raises(Problem) as refused:
            checked.admit(b"Bearer " + token.encode())
        assert refused.value.status == 401


@pytest.mark.parametrize(
    "auth",
    [{"providers": ()}, {"providers": ("nobody",)}, {"scopes": ("a b",)}, {"scopes": ("",)}, {"scopes": ('a"b',)}],
)
def test_a_route_that_nobody_could_take_is_refused(
    issuer: Issuer, clock: VirtualClock, tmp_path: Path, auth: dict[str, Any]
) -> None:
    """A provider that is not there, and a scope that no token can have, are errors when the gateway starts."""
    with pytest.raises(ConfigurationError, match="auth:"):
        guard(issuer, clock, tmp_path, **auth)


def test_two_providers_of_one_name_are_refused(issuer: Issuer, clock: VirtualClock, tmp_path: Path) -> None:
    """A route could not say which it means."""
    one = provider(tmp_path, issuer.jwks())
    with pytest.raises(ConfigurationError, match="the same name"):
        Providers([one, one], clock=clock)
