from __future__ import annotations

from skerry.gateway import Forward, GatewaySpec, Match, Respond, Route, Strangle
from skerry.gateway.model import Backend
from skerry.gateway.strangler import Share, Shares, applied

PLAN = Strangle("monolith", "catalogue")


def spec(plan: Strangle = PLAN) -> GatewaySpec:
    strangled = Forward((Backend(plan.control), Backend(plan.candidate, 0)), strangle=plan)
    return GatewaySpec(routes=(Route("books", (Match(),), strangled), Route("other", (Match(),), Respond(204))))


def served(share: Share, plan: Strangle = PLAN) -> Forward:
    action = applied(spec(plan), Shares(7, {"books": share})).routes[0].action
    assert isinstance(action, Forward)
    return action


def test_a_specification_tells_which_shares_were_put_into_it() -> None:
    """The version of the shares travels with the specification, for that is what a gateway confirms."""
    assert applied(spec(), Shares(7)).version == 7


def test_a_specification_without_a_strangled_route_stays_as_it_is() -> None:
    """Nothing is applied to it, so it has no version, and nothing is counted."""
    plain = GatewaySpec(routes=(Route("other", (Match(),), Respond(204)),))
    assert applied(plain, Shares(7)) is plain


def test_weights_are_hundredths_of_a_percent() -> None:
    """A share of 0.01 percent is one request of ten thousand."""
    assert [backend.weight for backend in served(Share(0.01)).backends] == [9999, 1]


def test_a_route_that_is_compared_keeps_its_plan() -> None:
    """The plan stays only while the route is to be counted and compared."""
    assert served(Share(compared=True)).strangle is PLAN
    assert served(Share(compared=False)).strangle is None


def test_unsafe_requests_go_to_the_owner_and_wait_while_there_is_none() -> None:
    """Who owns the writes takes them whatever the weights are; nobody means that they wait."""
    for owner, service, waits in (("control", "monolith", False), ("candidate", "catalogue", False)):
        action = served(Share(50.0, owner=owner))  # type: ignore[arg-type]
        assert action.writes is not None
        assert [backend.service for backend in action.writes] == [service]
        assert bool(action.hold) is waits
    assert served(Share(50.0, owner="nobody")).hold > 0


def test_writes_by_the_ramp_have_no_owner() -> None:
    """Where the weights divide unsafe requests, too, none are set apart and none wait."""
    action = served(Share(50.0, owner="nobody"), Strangle("monolith", "catalogue", writes="ramp"))
    assert action.writes is None
    assert action.hold == 0


def test_a_share_is_for_the_service_that_earned_it() -> None:
    """Who puts another candidate into a ramp that is under way begins anew: it gets nothing, and owns nothing."""
    share = Share(50.0, compared=True, owner="candidate", control="monolith", candidate="catalogue")
    assert [backend.weight for backend in served(share).backends] == [5000, 5000]
    other = served(share, Strangle("monolith", "another"))
    assert [(backend.service, backend.weight) for backend in other.backends] == [("monolith", 10_000), ("another", 0)]
    assert other.strangle is None
    assert other.writes is not None
    assert [backend.service for backend in other.writes] == ["monolith"]
