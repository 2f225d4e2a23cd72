from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.client.balancing import MAX_EJECTED, SUBSET, Balancer, Instance, subset
from skerry.client.balancing.instance import DECAY, EJECTION, FAILURES, LONGEST_EJECTION
from skerry.client.discovery import Endpoint
from skerry.signals import InstanceEjected, InstanceReturned, Signal
from skerry.testing import VirtualClock


def at(number: int, **told: object) -> Endpoint:
    return Endpoint(f"10.0.{number // 250}.{number % 250 + 1}", 80, **told)  # type: ignore[arg-type]


def balancer(endpoints: Sequence[Endpoint], *, zone: str = "", seed: int = 0) -> tuple[Balancer, VirtualClock]:
    clock = VirtualClock(seed=seed)
    made = Balancer("stock", clock=clock, zone=zone)
    made.update(endpoints)
    return made, clock


def instance_at(made: Balancer, number: int) -> Instance:
    return next(each for each in made.instances if each.endpoint.host == at(number).host)


def fail(made: Balancer, number: int, times: int = FAILURES) -> Instance:
    instance = instance_at(made, number)
    for _ in range(times):
        made.failed(instance, 0.01, reason="test")
    return instance


def chosen(made: Balancer, times: int = 1000) -> Counter[str]:
    """How often each host is chosen by calls that end at once and teach nothing."""
    hosts: Counter[str] = Counter()
    for _ in range(times):
        instance = made.choose()
        assert instance is not None
        hosts[instance.endpoint.host] += 1
    return hosts


# --- the choice


def test_calls_spread_over_equal_instances() -> None:
    """With calls that take equally long none gets much more than its share."""
    made, clock = balancer([at(n) for n in range(4)])
    counts: Counter[str] = Counter()
    for _ in range(4000):
        instance = made.choose()
        assert instance is not None
        counts[instance.endpoint.host] += 1
        made.succeeded(instance, 0.01 + clock.random() / 1000)
        clock.advance(0.01)
    assert min(counts.values()) > 0.15 * 4000


def test_the_busier_of_two_is_passed_by() -> None:
    """Of two instances the one with more calls under way, for what calls take there, is not chosen."""
    made, _ = balancer([at(0), at(1)])
    for instance in made.instances:
        made.succeeded(instance, 0.01)
    instance_at(made, 0).busy = 3
    assert chosen(made) == {at(1).host: 1000}


def test_an_instance_that_slows_down_is_noticed_at_the_first_slow_call_and_forgiven_slowly() -> None:
    """The average jumps up with a slow call and comes down over the seconds of its decay, as a peak EWMA does."""
    instance = Instance(at(0))
    instance.observe(0.01, 0.0)
    instance.observe(2.0, 1.0)
    assert instance.load(1.0) == 2.0
    instance.observe(0.01, 1.0)
    assert instance.load(1.0) == pytest.approx(2.0)
    assert instance.load(1.0 + DECAY) == pytest.approx(2.0 / 2.71828, rel=0.01)


def test_a_new_instance_gets_one_call_to_be_known_by() -> None:
    """Nothing is known of it, so it is chosen; while that call is under way it is not chosen again."""
    made, _ = balancer([at(0), at(1)])
    made.succeeded(instance_at(made, 0), 0.01)
    new = made.choose()
    assert new is instance_at(made, 1)
    new.busy = 1
    assert chosen(made) == {at(0).host: 1000}


def test_instances_that_fail_at_once_do_not_draw_calls_by_being_quick() -> None:
    """A failed call counts as a slow one: of what nothing is known as one of a second, else as twice what calls took."""
    made, _ = balancer([at(0), at(1)])
    made.succeeded(instance_at(made, 0), 0.1)
    fail(made, 1, 1)
    assert chosen(made) == {at(0).host: 1000}
    made.failed(instance_at(made, 0), 0.001, reason="test")
    assert instance_at(made, 0).load(0.0) == pytest.approx(0.2)


def test_one_failure_alone_is_soon_forgotten() -> None:
    """Among equals, an instance that failed once gets its share again within the seconds of the decay."""
    made, clock = balancer([at(0), at(1)])
    for instance in made.instances:
        made.succeeded(instance, 0.01)
    fail(made, 0, 1)
    assert chosen(made) == {at(1).host: 1000}
    counts: Counter[str] = Counter()
    for _ in range(1000):
        clock.advance(0.1)
        choice = made.choose()
        assert choice is not None
        made.succeeded(choice, 0.01)
        counts[choice.endpoint.host] += 1
    assert counts[at(0).host] > 400


def test_weight_is_a_share() -> None:
    """An instance of three times the weight gets about three times the calls when all are equally busy."""
    made, _ = balancer([at(0, weight=3), at(1), at(2), at(3)])
    counts: Counter[str] = Counter()
    for _ in range(6000):
        instance = made.choose()
        assert instance is not None
        made.succeeded(instance, 0.01)
        instance.busy += 1
        counts[instance.endpoint.host] += 1
    assert counts[at(0).host] == pytest.approx(3000, rel=0.05)


def test_who_was_tried_is_not_chosen_again() -> None:
    """The next address is another, an ejected one if nothing else is left, and in the end there is none."""
    made, _ = balancer([at(0), at(1), at(2)])
    ejected = fail(made, 0)
    tried: list[Instance] = []
    for _ in range(3):
        instance = made.choose(tried)
        assert instance is not None
        tried.append(instance)
    assert len({id(instance) for instance in tried}) == 3
    assert tried[-1] is ejected
    assert made.choose(tried) is None


# --- ejection


def test_an_instance_whose_calls_fail_in_a_row_is_left_alone_for_a_while(signals: list[Signal]) -> None:
    """Five failures eject it, ten seconds later it is back, and both are told."""
    made, clock = balancer([at(0), at(1), at(2)])
    fail(made, 0, FAILURES - 1)
    assert signals == []
    fail(made, 0, 1)
    assert signals == [InstanceEjected(service="stock", instance=at(0).address, reason="test", seconds=EJECTION)]
    assert at(0).host not in chosen(made)
    clock.advance(EJECTION)
    chosen(made, 1)
    assert signals[1:] == [InstanceReturned(service="stock", instance=at(0).address)]


def test_a_success_in_between_starts_the_count_anew(signals: list[Signal]) -> None:
    """Failures count in a row."""
    made, _ = balancer([at(0), at(1)])
    for _ in range(3):
        made.succeeded(fail(made, 0, FAILURES - 1), 0.01)
    assert signals == []


def test_each_ejection_in_a_row_lasts_twice_as_long_up_to_a_bound(signals: list[Signal]) -> None:
    """One failure after its return is enough; the time doubles from 10 s to 300 s and begins anew after a quiet time."""
    made, clock = balancer([at(0), at(1)])
    fail(made, 0)
    for _ in range(6):
        told = signals[-1]
        assert isinstance(told, InstanceEjected)
        clock.advance(told.seconds)
        chosen(made, 1)
        fail(made, 0, 1)
    lasted = [signal.seconds for signal in signals if isinstance(signal, InstanceEjected)]
    assert lasted == [10.0, 20.0, 40.0, 80.0, 160.0, LONGEST_EJECTION, LONGEST_EJECTION]
    clock.advance(2 * LONGEST_EJECTION + 1.0)
    chosen(made, 1)
    fail(made, 0, 1)
    told = signals[-1]
    assert isinstance(told, InstanceEjected)
    assert told.seconds == EJECTION


def test_when_fewer_than_half_work_all_are_used(signals: list[Signal]) -> None:
    """At most half are ejected; when more fail, the trouble is not theirs, and the rest is not left to drown alone."""
    made, _ = balancer([at(n) for n in range(4)])
    for number in (0, 1):
        fail(made, number)
    assert set(chosen(made)) == {at(2).host, at(3).host}
    third = fail(made, 2)
    assert sum(isinstance(signal, InstanceEjected) for signal in signals) == 2
    for instance in made.instances:  # that they fail counts as slow; forget it
        instance.observe(1000.0, 0.0)
    assert len(chosen(made)) == 4
    made.succeeded(third, 1000.0)
    assert set(chosen(made)) == {at(2).host, at(3).host}


def test_the_only_instance_is_never_ejected(signals: list[Signal]) -> None:
    """There is no other to take its calls: that is for the breaker."""
    made, _ = balancer([at(0)])
    fail(made, 0, 100)
    assert signals == []
    assert made.choose() is instance_at(made, 0)


def test_what_was_learned_survives_a_change_of_the_set(signals: list[Signal]) -> None:
    """An ejected instance that is told of again stays ejected; another that listens at its address begins anew."""
    made, _ = balancer([at(0, instance="a"), at(1), at(2)])
    fail(made, 0)
    made.update([at(0, instance="a"), at(1), at(3)])
    assert at(0).host not in chosen(made)
    made.update([at(0, instance="b"), at(1), at(3)])
    assert not instance_at(made, 0).ejected


# --- zones, priorities, subsets


def zoned(*zones: str) -> list[Endpoint]:
    return [at(number, zone=zone) for number, zone in enumerate(zones)]


def share_of(made: Balancer, zone: str, times: int = 4000) -> float:
    zones = {endpoint.endpoint.host: endpoint.endpoint.zone for endpoint in made.instances}
    return sum(count for host, count in chosen(made, times).items() if zones[host] == zone) / times


def test_calls_stay_in_the_zone_while_it_can_carry_them() -> None:
    """With as many instances in each zone nothing leaves."""
    made, _ = balancer(zoned("a", "a", "b", "b", "c", "c"), zone="a")
    assert share_of(made, "a") == 1.0


def test_a_weak_zone_spills_over() -> None:
    """Two instances of six in two zones carry two thirds of the zone's calls; when one is ejected, one third."""
    made, _ = balancer(zoned("a", "a", "b", "b", "b", "b"), zone="a")
    assert share_of(made, "a") == pytest.approx(2 / 3, abs=0.03)
    fail(made, 0)
    assert share_of(made, "a") == pytest.approx(1 / 3, abs=0.03)
    fail(made, 1)
    assert share_of(made, "a") == 0.0


def test_a_zone_without_instances_uses_the_others() -> None:
    """Preferring what is not there means any."""
    made, _ = balancer(zoned("b", "b"), zone="a")
    assert share_of(made, "b") == 1.0


def test_the_lowest_priority_of_which_half_work_is_used() -> None:
    """RFC 2782: those of a higher number wait until the first cannot."""
    made, _ = balancer([at(0, priority=1), at(1, priority=1), at(2, priority=2), at(3, priority=2)])
    assert set(chosen(made)) == {at(0).host, at(1).host}
    fail(made, 0)
    assert set(chosen(made)) == {at(1).host}
    fail(made, 1)
    assert set(chosen(made)) == {at(2).host, at(3).host}


def test_a_subset_spreads_clients_evenly() -> None:
    """As many clients as there are subsets cover every instance once, in every round, each in another way."""
    endpoints = [at(number) for number in range(5 * SUBSET)]
    rounds = [[subset(endpoints, client=5 * turn + n) for n in range(5)] for turn in range(4)]
    for each in rounds:
        assert Counter(endpoint for part in each for endpoint in part) == Counter(endpoints)
    assert len({frozenset(part) for each in rounds for part in each}) == 20


def test_a_subset_hardly_changes_with_one_instance() -> None:
    """An instance more moves at most a handful, so that connections are kept."""
    endpoints = [at(number) for number in range(5 * SUBSET + 1)]
    before, after = (set(subset(some, client=7)) for some in (endpoints[:-1], endpoints))
    assert len(before & after) >= SUBSET // 2
    assert subset(endpoints[: 2 * SUBSET - 1], client=7) == endpoints[: 2 * SUBSET - 1]


# --- whatever happens

ENDPOINTS = st.lists(
    st.builds(
        at,
        st.integers(0, 60),
        zone=st.sampled_from(["", "a", "b"]),
        weight=st.integers(1, 5),
        priority=st.integers(0, 2),
        instance=st.sampled_from(["", "x"]),
    ),
    min_size=1,
    max_size=50,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("fail"), st.integers(0, 49)),
        st.tuples(st.just("succeed"), st.integers(0, 49)),
        st.tuples(st.just("pass"), st.floats(0.0, 400.0)),
        st.tuples(st.just("update"), ENDPOINTS),
    ),
    max_size=40,
)


@given(ENDPOINTS, STEPS, st.sampled_from(["", "a", "c"]), st.integers(0, 2**32))
def test_there_is_always_a_choice_and_at_most_half_are_ejected(
    endpoints: list[Endpoint], steps: list[tuple[str, object]], zone: str, seed: int
) -> None:
    """Whatever fails, returns, comes and goes: while there are instances one is chosen, and the ejected share is bounded."""
    made, clock = balancer(endpoints, zone=zone, seed=seed)
    for step, what in steps:
        instances = list(made.instances)
        if step == "fail" and isinstance(what, int):
            for _ in range(FAILURES):
                made.failed(instances[what % len(instances)], 0.1, reason="test")
        elif step == "succeed" and isinstance(what, int):
            made.succeeded(instances[what % len(instances)], 0.1)
        elif step == "pass" and isinstance(what, float):
            clock.advance(what)
        elif isinstance(what, list):
            made.update(what)
        choice = made.choose()
        assert choice in made.instances
        assert sum(each.ejected for each in made.instances) <= MAX_EJECTED * len(made.instances)
        others = made.choose([choice])
        assert (others is None) == (len(made.instances) == 1)
