"""The sentence: who is named, since when, what users notice, what is safe."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest

from skerry.console import BreakerFact, EdgeFact, Facts, OutboxFact, SagaFact, Sentence, ServiceFact, diagnose

NOW = 1_750_000_000.0
"""15:06:40 UTC."""
CALLS = (("gateway", "order"), ("order", "payment"), ("order", "inventory"), ("gateway", "product"))


def system(*, calls: tuple[tuple[str, str], ...] = CALLS, **differing: dict[str, Any]) -> tuple[Any, Any]:
    """Services that are all ready since two hours, but for what differs, and the calls between them."""
    names = sorted({name for call in calls for name in call} | differing.keys())
    services = tuple(
        ServiceFact(
            name=name,
            **{
                "kind": "gateway" if name == "gateway" else "service",
                "state": "ready",
                "since": NOW - 7200,
                **differing.get(name, {}),
            },
        )
        for name in names
    )
    return services, tuple(EdgeFact(source=source, target=target) for source, target in calls)


def say(
    *, calls: tuple[tuple[str, str], ...] = CALLS, more: dict[str, Any] | None = None, **differing: Any
) -> Sentence:
    services, edges = system(calls=calls, **differing)
    return diagnose(Facts(at=NOW, services=services, edges=edges, **(more or {})), zone=UTC)


DOWN = {"state": "down", "since": NOW - 180}


def test_a_callee_that_is_down_is_named_and_not_its_loud_callers() -> None:
    """The deepest failing dependency is the subject; the sentence has the time, the damage and what is safe."""
    said = say(
        gateway={"rate": 10.0, "errors": 0.38},
        order={"rate": 5.0, "errors": 0.9},
        payment=DOWN,
        more={"outboxes": (OutboxFact(service="order", rows=212, oldest=171.0),), "sagas": SagaFact(running=4)},
    )
    assert said.text == (
        "payment is down since 15:03:40; 38 % of requests fail; 212 events wait, none is lost, 4 sagas go on afterwards"
    )
    assert (said.level, said.subject, said.since) == ("down", "payment", NOW - 180)
    assert said.damage == "38 % of requests fail"
    assert said.safe == "212 events wait, none is lost, 4 sagas go on afterwards"


def test_a_healthy_system_is_quiet() -> None:
    """One line, since the last of them became ready, and nobody is the subject."""
    said = say(gateway={"rate": 9.0, "errors": 0.001})
    assert (said.level, said.text, said.subject) == ("ok", "All 4 services are healthy for 2 h", None)


def test_nothing_known_is_no_good_news() -> None:
    """Where nothing was heard nothing is claimed."""
    for services in ((), (ServiceFact(name="order"),)):
        said = diagnose(Facts(at=NOW, services=services), zone=UTC)
        assert (said.level, said.text) == ("warn", "Nothing is known yet: no service has been heard of")


def test_a_database_of_one_service_is_that_service_s_trouble() -> None:
    """Its callers fail because of it, and it cannot help it: the sentence says its database."""
    said = say(
        gateway={"rate": 10.0, "errors": 0.2},
        order={"rate": 5.0, "errors": 0.6},
        payment={"state": "unready", "since": NOW - 50, "store": False, "store_since": NOW - 60},
    )
    assert said.text == "payment cannot reach its database since 15:05:40; 20 % of requests fail"
    assert (said.level, said.subject) == ("down", "payment")


def test_a_gateway_alone_is_its_own_root() -> None:
    """When only the gateway is down nobody outside is answered."""
    said = say(gateway=DOWN)
    assert said.text == "gateway is down since 15:03:40; nobody outside is answered"


def test_no_damage_is_claimed_where_nothing_was_heard() -> None:
    """Of a gateway that has told nothing it is not known whether requests fail; of one that has, silence is silence."""
    assert say(payment=DOWN).text == "payment is down since 15:03:40"
    assert say(payment=DOWN, gateway={"failures": 0}).damage == "no requests come in"
    assert say(payment=DOWN, gateway={"failures": 0, "rate": 5.0}).damage == "no request fails"


def test_two_roots_are_both_named() -> None:
    """Neither calls the other, so neither explains the other; since is the earlier one's."""
    said = say(payment=DOWN, inventory={"state": "down", "since": NOW - 60}, order={"rate": 2.0, "errors": 1.0})
    assert said.text.startswith("payment and inventory are down since 15:03:40")
    assert said.subject == "payment"


def test_a_root_of_another_kind_comes_after_the_gravest() -> None:
    """Who is down comes before who only fails now and then."""
    said = say(payment=DOWN, product={"rate": 10.0, "errors": 0.07, "failing_since": NOW - 900})
    assert said.subject == "payment"
    assert "payment is down since 15:03:40; product has trouble of its own" in said.text


def test_a_process_that_ended_is_not_explained_by_a_callee_that_errs() -> None:
    """Errors of a callee end no process: both are roots, and who is down is named first."""
    said = say(order=DOWN, payment={"rate": 1.0, "errors": 0.2})
    assert said.subject == "order"
    assert "payment has trouble of its own" in said.text


def test_a_process_that_ended_is_explained_by_a_server_below_that_is_down() -> None:
    """Who cannot start without its database is no root."""
    calls = (*CALLS, ("order", "postgresql"), ("payment", "postgresql"))
    said = say(calls=calls, order=DOWN, payment=DOWN, postgresql={"kind": "external", **DOWN})
    assert said.subject == "postgresql"
    assert said.text == "postgresql is down since 15:03:40"


def test_what_is_held_back_by_hand_is_always_said() -> None:
    """Nobody's trouble explains what a person did."""
    said = say(order={"state": "held", "since": NOW - 10}, payment={"state": "unready", "since": NOW - 100})
    assert said.text.startswith("order is held back since 15:06:30; payment has trouble of its own")


def test_a_service_that_comes_and_goes_is_named_while_it_is_there() -> None:
    """Three falls in some minutes are no health, although it is ready at this moment."""
    said = say(payment={"flaps": 3, "since": NOW - 5})
    assert said.text.startswith("payment comes and goes since 15:06:35")
    assert (said.level, said.subject) == ("warn", "payment")
    assert say(payment={"flaps": 2}).level == "ok"


def test_callers_in_a_circle_have_a_root_all_the_same() -> None:
    """In a circle of calls everybody is behind everybody: the gravest is named, and it ends."""
    calls = (("a", "b"), ("b", "c"), ("c", "a"))
    said = say(calls=calls, a={"rate": 1.0, "errors": 0.5}, b=DOWN, c={"rate": 1.0, "errors": 0.3})
    assert said.subject == "b"


def test_events_are_no_reason_to_fail() -> None:
    """A consumer does not fail because who publishes does: only calls lead to the root."""
    services, _ = system(calls=(("a", "b"), ("b", "c")), a=DOWN, b=DOWN)
    edges = (EdgeFact(source="a", target="b", kind="event"),)
    said = diagnose(Facts(at=NOW, services=services, edges=edges), zone=UTC)
    assert said.text.startswith("a and b are down")


def test_a_stranger_s_service_is_judged_by_its_callers() -> None:
    """Of a service that tells nothing itself the failing calls to it, and breakers around it, are what is known."""
    services, _ = system(calls=(("order", "bank"),), bank={"kind": "external", "state": "unknown", "since": None})
    edges = (EdgeFact(source="order", target="bank", rate=2.0, errors=0.75),)
    said = diagnose(Facts(at=NOW, services=services, edges=edges), zone=UTC)
    assert (said.subject, said.level, said.text) == ("bank", "down", "bank fails 75 % of its calls")
    breaker = BreakerFact(service="order", policy="bank", state="open", since=NOW - 30)
    said = diagnose(Facts(at=NOW, services=services, breakers=(breaker,)), zone=UTC)
    assert said.text == "bank is cut off by circuit breakers since 15:06:10"


def test_few_failures_are_no_alarm() -> None:
    """Below one in twenty nobody is named; from one in twenty on somebody is."""
    assert say(payment={"rate": 10.0, "errors": 0.049}).level == "ok"
    said = say(payment={"rate": 10.0, "errors": 0.05, "failing_since": NOW - 20})
    assert (said.level, said.text.partition(";")[0]) == ("warn", "payment fails 5 % of its calls since 15:06:20")


def test_a_system_that_was_stopped_blames_nobody() -> None:
    """When all are down none of them is the subject, and since is when the last one went."""
    names = ("gateway", "order", "payment", "inventory", "product")
    said = say(**{**dict.fromkeys(names, DOWN), "order": {"state": "down", "since": NOW - 60}})
    assert (said.text, said.subject) == ("all 4 services are down since 15:05:40", None)


def test_where_no_request_fails_the_sagas_that_wait_are_the_damage() -> None:
    """Whoever is dead behind a saga hurts no request: the sentence says so, and how many sagas wait for it, or go back."""
    busy = {"rate": 6.0, "errors": 0.0, "failures": 0}
    waiting = {"outboxes": (OutboxFact(service="order", rows=0),), "sagas": SagaFact(running=31, compensating=2)}
    said = say(payment=DOWN, gateway=busy, more=waiting)
    assert said.text == "payment is down since 15:03:40; no request fails; 33 sagas go on afterwards"


def test_what_waits_for_a_person_is_said_beside_what_fails() -> None:
    """That somebody is down hides neither sagas that are stuck nor dead letters; they are not among what is safe."""
    said = say(payment=DOWN, more={"sagas": SagaFact(running=4, stuck=2), "dead": 1})
    waits = "2 sagas are stuck and 1 dead letter waits for a person"
    assert said.text == f"payment is down since 15:03:40; 4 sagas go on afterwards; {waits}"
    assert said.safe == "4 sagas go on afterwards"


def test_without_a_gateway_users_are_at_those_whom_nobody_calls() -> None:
    """The share is of all their requests; where none of them was asked anything nothing is claimed."""
    calls = (("shop", "payment"), ("desk", "payment"))
    doors = {"shop": {"rate": 6.0, "errors": 0.5}, "desk": {"rate": 2.0, "errors": 0.0}}
    said = say(calls=calls, payment={**DOWN, "rate": 9.0, "errors": 1.0}, **doors)
    assert (said.subject, said.damage) == ("payment", "38 % of requests fail")
    assert say(calls=calls, payment=DOWN, shop={"failures": 0}).damage == ""
    assert say(calls=(("a", "b"), ("b", "a")), a=DOWN, b={"rate": 1.0}).damage == ""


def test_nothing_is_said_to_be_kept_in_a_database_that_cannot_be_asked() -> None:
    """That no event waits is claimed of those that answer alone, so of none where one does not."""
    empty = {"outboxes": (OutboxFact(service="order", rows=0),)}
    assert say(payment=DOWN, more=empty).safe == "no event waits"
    assert say(payment={**DOWN, "store": False}, more=empty).safe == ""


def test_one_event_that_waits_is_said_in_the_singular() -> None:
    """Numbers agree with what they count."""
    waiting = {"outboxes": (OutboxFact(service="order", rows=1),), "sagas": SagaFact(running=1)}
    assert say(payment=DOWN, more=waiting).safe == "1 event waits and is not lost, 1 saga goes on afterwards"


def test_one_failure_of_one_proves_nothing() -> None:
    """It takes three failures to say that somebody fails, however large their share is."""
    assert say(payment={"rate": 0.1, "errors": 1.0, "failures": 2}).level == "ok"
    assert say(payment={"rate": 0.2, "errors": 1.0, "failures": 3}).subject == "payment"


def test_what_waits_for_a_person_is_said_while_all_is_well() -> None:
    """Stuck sagas and dead letters are a warning, and that the services are healthy is said too."""
    said = say(more={"sagas": SagaFact(stuck=1), "dead": 3})
    assert said.text == "1 saga is stuck and 3 dead letters wait for a person; all 4 services are healthy for 2 h"
    assert said.level == "warn"
    assert say(more={"dead": 1}).text.startswith("1 dead letter waits for a person; ")


def test_an_outbox_that_is_not_emptied_is_said_while_all_is_well() -> None:
    """Events that wait for half a minute are a warning; those that have just come are none."""
    late = (OutboxFact(service="order", rows=7, oldest=30.0),)
    assert say(more={"outboxes": late}).text.startswith("7 events of order cannot be handed over; all 4")
    assert say(more={"outboxes": (OutboxFact(service="order", rows=7, oldest=2.0),)}).level == "ok"


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (200, "3 min"), (7300, "2 h"), (200_000, "2 d")])
def test_one_unit_says_how_long_all_has_been_well(seconds: int, text: str) -> None:
    """Seconds, minutes, hours or days, the largest that fits."""
    services = (ServiceFact(name="a", state="ready", since=NOW - seconds),)
    assert diagnose(Facts(at=NOW, services=services)).text == f"a is healthy for {text}"


def test_a_long_list_of_suspects_is_cut() -> None:
    """Three are named, the others counted, and a name of any length takes no more than its share."""
    said = say(calls=(("a", "b"),), **dict.fromkeys(("a" * 500, "b", "c", "d", "e"), DOWN))
    assert "and 2 more are down" in said.text
    assert len(said.text) < 300
