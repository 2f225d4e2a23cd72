from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.errors import ConfigurationError
from skerry.gateway.model import RateSpec
from skerry.gateway.rate import MAX_KEYS, SHARED, Limiter, peer_key, refused
from skerry.testing import VirtualClock


def limiter(clock: VirtualClock, requests: int = 2, per: float = 10.0, burst: int | None = None) -> Limiter:
    return Limiter(RateSpec(requests=requests, per=per, burst=burst), clock)


def test_a_burst_goes_through_and_then_one_in_each_interval() -> None:
    """`burst` at once, then `requests` in `per` seconds; waiting as long as is told is enough."""
    clock = VirtualClock()
    rate = limiter(clock, requests=2, per=10.0, burst=3)
    assert [rate.take("a") for _ in range(4)] == pytest.approx([0.0, 0.0, 0.0, 5.0])
    clock.advance(rate.take("a"))
    assert rate.take("a") == 0.0
    assert rate.take("a") == pytest.approx(5.0)


def test_being_refused_uses_nothing() -> None:
    """Who goes on asking while blocked is not blocked for longer."""
    clock = VirtualClock()
    rate = limiter(clock, requests=1, per=10.0)
    rate.take("a")
    waits = []
    for _ in range(10):
        waits.append(rate.take("a"))
        clock.advance(1.0)
    assert waits == pytest.approx([10.0 - second for second in range(10)])
    assert rate.take("a") == 0.0


def test_each_key_has_its_own_allowance() -> None:
    """What one key used is nothing to another."""
    rate = limiter(VirtualClock(), requests=1)
    assert (rate.take("a"), rate.take("b")) == (0.0, 0.0)
    assert rate.take("a") > 0.0


@pytest.mark.parametrize("step", [0.3, 1.0, 4.9, 7.0, 10.0, 25.0])
def test_no_more_than_the_rate_passes_in_the_long_run(step: float) -> None:
    """However the requests are spread, a key gets through at most its burst and its rate."""
    clock = VirtualClock()
    rate = limiter(clock, requests=2, per=10.0)
    passed = 0
    for _ in range(500):
        passed += rate.take("a") == 0.0
        passed += rate.take("a") == 0.0
        passed += rate.take("a") == 0.0
        clock.advance(step)
    assert passed <= 2 + 2 * 500 * step / 10.0 + 1


def test_forgetting_gives_nothing_away() -> None:
    """A key is forgotten only when its bucket is full again: one blocked stays so through every turn-over of the table."""
    clock = VirtualClock()
    rate = limiter(clock, requests=1, per=100.0)
    clock.advance(60.0)
    assert rate.take("a") == 0.0
    for second in range(1, 100):
        clock.advance(1.0)
        rate.take(f"other {second}")
        if second % 30 == 0:
            assert rate.take("a") == pytest.approx(100.0 - second)
    clock.advance(1.0)
    assert rate.take("a") == 0.0


def test_what_is_full_again_is_forgotten() -> None:
    """Keys that nobody uses any more take no memory after twice the time that a bucket takes to fill."""
    clock = VirtualClock()
    rate = limiter(clock, requests=1, per=10.0)
    for number in range(1000):
        rate.take(f"k{number}")
    clock.advance(10.0)
    rate.take("a")
    clock.advance(10.0)
    rate.take("a")
    assert len(rate._young) + len(rate._old) == 1


def test_many_keys_neither_fill_the_memory_nor_free_one_that_is_blocked() -> None:
    """With more keys than the table holds, it stops growing, the blocked stay blocked, and newcomers share."""
    rate = limiter(VirtualClock(), requests=1, per=1000.0)
    rate.take("blocked")
    passed = sum(rate.take(f"k{number}") == 0.0 for number in range(MAX_KEYS + 5 * SHARED))
    assert len(rate._young) == MAX_KEYS
    assert len(rate._shared) <= SHARED
    assert MAX_KEYS - 1 < passed < MAX_KEYS + SHARED
    assert rate.take("blocked") > 0.0
    assert rate.take("k0") > 0.0


def test_after_such_an_attack_newcomers_have_their_own_again() -> None:
    """The shared buckets are left when the table has room."""
    clock = VirtualClock()
    rate = limiter(clock, requests=1, per=10.0)
    for number in range(MAX_KEYS + 100):
        rate.take(f"k{number}")
    clock.advance(10.0)
    rate.take("a")
    clock.advance(10.0)
    assert all(rate.take(f"n{number}") == 0.0 for number in range(2 * SHARED))
    assert not rate._shared


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:0:ffff::", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:c000:201", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("no: address", "no: other", False),
    ],
)
def test_a_peer_is_its_address_or_its_network(one: str, other: str, same: bool) -> None:
    """IPv6 peers are told apart by their /64, and one address written in two ways is one key."""
    assert (peer_key(one) == peer_key(other)) is same


def test_a_refusal_says_when_to_come_back() -> None:
    """429 with `Retry-After` in whole seconds, rounded up, never 0."""
    assert refused(0.001).headers == [(b"retry-after", b"1")]
    assert (refused(1.5).status, refused(1.5).headers) == (429, [(b"retry-after", b"2")])


@pytest.mark.parametrize(
    "spec",
    [
        RateSpec(requests=0),
        RateSpec(requests=1, per=0.0),
        RateSpec(requests=1, per=float("inf")),
        RateSpec(requests=1, burst=0),
    ],
)
def test_a_rate_of_nothing_is_refused(spec: RateSpec) -> None:
    """A limit that lets nothing through, or all, is an error when it is made."""
    with pytest.raises(ConfigurationError, match="rate:"):
        Limiter(spec)


@given(st.text(min_size=60) | st.text() | st.from_regex(r"[0-9a-f:.%]{0,50}"))
def test_whatever_a_proxy_says_is_a_key(text: str) -> None:
    """An address that is none is a key of its own, and a short one; nothing fails."""
    assert len(peer_key(text)) <= 64
