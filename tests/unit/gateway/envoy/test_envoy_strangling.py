"""A strangled route becomes routes and clusters of Envoy: who gets what share, and where it is counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from skerry.gateway.envoy import Compiled
from skerry.gateway.envoy import compile as compiled
from skerry.gateway.envoy.strangling import TOTAL, behind, uncompared
from skerry.gateway.model import (
    Backend,
    Forward,
    GatewaySpec,
    HeaderEdit,
    Match,
    PathMatch,
    Route,
    Shadow,
    Sticky,
    Strangle,
)
from skerry.gateway.strangler import Share, Shares, applied

ADDRESSES = {"old": ("http://10.0.0.1:8000",), "new": ("http://10.0.0.2:8000",)}


def strangled(share: Share, *, methods: frozenset[str] | None = None, **plan: Any) -> tuple[Compiled, GatewaySpec]:
    action = Forward((Backend("old"),), sticky=Sticky("cookie", "session"), strangle=Strangle("old", "new", **plan))
    route = Route("shop", (Match(PathMatch("prefix", "/shop"), methods),), action)
    spec = applied(GatewaySpec(routes=(route,)), Shares(7, {"shop": share}))
    return compiled(spec, addresses=ADDRESSES), spec


def routes(made: Compiled) -> list[dict[str, Any]]:
    (table,) = made.resources.routes.values()
    (host,) = table["virtual_hosts"]
    return [route for route in host["routes"] if route.get("name") == "shop"]


def weights(route: dict[str, Any]) -> dict[str, int]:
    """By the part of a cluster's name that says whose it is."""
    clusters = route["route"].get("weighted_clusters", {"clusters": [{"name": route["route"].get("cluster")}]})
    return {one["name"].split("~", 2)[-1]: one.get("weight", TOTAL) for one in clusters["clusters"]}


def methods(route: dict[str, Any]) -> str:
    """Of the first matcher of headers."""
    wanted = route["match"]["headers"][0]["string_match"]
    return str(wanted.get("exact") or wanted["safe_regex"]["regex"])


def test_the_sample_is_taken_first_and_the_rest_goes_by_weight() -> None:
    """A tenth of the safe requests goes to the engine behind, of the others a quarter to the candidate; the total stays."""
    made, _ = strangled(Share(25.0, compared=True))
    sampled, safe, *_ = routes(made)
    assert sampled["match"]["runtime_fraction"]["default_value"] == {"numerator": 100_000, "denominator": "MILLION"}
    assert sampled["route"]["cluster"] == "skerry-behind"
    assert methods(sampled) == methods(safe) == "GET|HEAD|OPTIONS"
    assert weights(safe) == {"candidate~or-control": 249_996, "control": TOTAL - 249_996}
    assert safe["route"]["weighted_clusters"]["use_hash_policy"]


def test_the_candidate_stands_first_so_that_its_part_of_all_hashes_only_grows() -> None:
    """Who is sent to the candidate at 1 % is sent there at 5 %, too: its part begins at nothing and has no gap."""
    for percent in (1.0, 5.0, 50.0):
        _, safe, *_ = routes(strangled(Share(percent, compared=True))[0])
        assert list(weights(safe)) == ["candidate~or-control", "control"]


def test_unsafe_requests_go_to_the_owner_whatever_the_weights_are() -> None:
    """All of them to the control, and to the candidate once that owns the writes, in clusters apart from the reading ones."""
    for owner, cluster in (("control", "control~unsafe"), ("candidate", "candidate~unsafe")):
        share = Share(50.0, compared=True, owner=owner)  # type: ignore[arg-type]
        made, _ = strangled(share)
        written = [route for route in routes(made) if "unsafe" in str(route["route"])]
        assert written
        assert all(weights(route) == {cluster: TOTAL} for route in written)


def test_a_route_that_ramps_its_writes_has_them_by_weight() -> None:
    """With `writes: ramp` both sides get unsafe requests, and these are evidence too."""
    made, _ = strangled(Share(25.0, compared=True), writes="ramp", methods=frozenset({"POST"}))
    (written,) = routes(made)
    assert weights(written) == {"candidate~unsafe": 249_996, "control~unsafe": TOTAL - 249_996}
    assert made.counted[0].weighed


def test_what_the_candidate_fails_is_asked_of_the_control_once_until_it_owns_the_writes() -> None:
    """For safe requests only, and not where the control lacks what was written since."""
    made, _ = strangled(Share(25.0, compared=True))
    _, safe, *_ = routes(made)
    first, second = safe["route"]["weighted_clusters"]["clusters"]
    asked = {one["header"]["key"]: one["header"]["value"] for one in first["request_headers_to_add"]}
    assert asked == {"x-envoy-retry-on": "5xx", "x-envoy-max-retries": "1"}
    assert "request_headers_to_add" not in second
    assert "previous_priorities" in str(safe["route"]["retry_policy"]["retry_priority"])
    either = made.resources.clusters[first["name"]]
    assert either["cluster_type"]["typed_config"]["clusters"] == [
        first["name"].removesuffix("~or-control"),
        second["name"],
    ]
    owned, _ = strangled(Share(25.0, compared=True, owner="candidate"))
    assert not any("or-control" in name for name in owned.resources.clusters)


def test_where_the_candidate_owns_the_writes_nothing_is_compared() -> None:
    """The control's answers may be old ones then: no sample, and the engine behind goes by weight."""
    made, spec = strangled(Share(25.0, compared=True, owner="candidate"))
    assert not any("runtime_fraction" in route["match"] for route in routes(made))
    assert isinstance(spec.routes[0].action, Forward)
    there = behind(spec.routes[0], spec.routes[0].action).action
    assert isinstance(there, Forward)
    assert there.backends == spec.routes[0].action.backends


def test_while_ownership_is_handed_over_writes_go_to_who_holds_them() -> None:
    """The engine behind takes them, and one that could not be reached is asked again, for nothing was sent then."""
    made, spec = strangled(Share(100.0, compared=False, owner="nobody"), methods=frozenset({"POST"}))
    (held,) = routes(made)
    assert held["route"]["cluster"] == "skerry-behind"
    assert held["route"]["retry_policy"]["retry_on"] == "connect-failure"
    assert made.behind == ("shop",)
    assert isinstance(spec.routes[0].action, Forward)
    assert spec.routes[0].action.hold > 0


def test_without_a_shadow_nothing_is_sampled() -> None:
    """A route that is only counted has no detour, but the engine behind stands ready to hold its writes."""
    made, _ = strangled(Share(25.0, compared=True), shadow=None)
    assert not any("runtime_fraction" in route["match"] for route in routes(made))
    assert made.behind == ("shop",)


def test_while_nobody_can_compare_nothing_is_sampled() -> None:
    """The engine behind was killed: until it is back, requests go by weight alone."""
    _, spec = strangled(Share(25.0, compared=True))
    made = compiled(uncompared(spec), addresses=ADDRESSES)
    assert not any("runtime_fraction" in route["match"] for route in routes(made))
    assert weights(routes(made)[0]) == {"candidate~or-control": 249_996, "control": TOTAL - 249_996}


def test_a_harmless_candidate_is_compared_by_writes_too_while_the_control_owns_them() -> None:
    """Of a candidate without side effects unsafe requests are sampled, until it has the writes itself."""
    shadow = Shadow(harmless=True)
    sampled = routes(strangled(Share(0.0, compared=True), shadow=shadow)[0])[0]
    assert "POST" in methods(sampled)
    assert "POST" not in methods(routes(strangled(Share(0.0, compared=True, owner="nobody"), shadow=shadow)[0])[0])


def test_what_is_not_compared_keeps_its_clusters() -> None:
    """Held or done, a route has the same sides as before, so that the same people have the same side."""
    (before, _), (after, _) = strangled(Share(25.0, compared=True)), strangled(Share(25.0))
    assert weights(routes(before)[1]) == weights(routes(after)[0])
    assert set(after.resources.clusters) <= set(before.resources.clusters)


def test_the_engine_behind_compares_all_that_it_gets_and_edits_nothing_twice() -> None:
    """There every request is one of the sample, the control answers, and the headers that Envoy has edited stay."""
    _, spec = strangled(Share(25.0, compared=True))
    edited = replace(spec.routes[0], request_headers=HeaderEdit(add=(("x-a", "1"),)))
    assert isinstance(edited.action, Forward)
    there = behind(edited, edited.action)
    assert there.request_headers == HeaderEdit()
    assert isinstance(there.action, Forward)
    assert [backend.weight for backend in there.action.backends] == [1, 0]
    assert there.action.strangle is not None
    assert there.action.strangle.shadow is not None
    assert there.action.strangle.shadow.sample == 1.0
    assert not there.action.strangle.counted


def test_a_plan_without_shares_stays_with_its_control() -> None:
    """A specification as it was read is compiled as if the route only led to the control."""
    action = Forward((Backend("old"),), strangle=Strangle("old", "new"))
    made = compiled(GatewaySpec(routes=(Route("shop", (Match(),), action),)), addresses=ADDRESSES)
    assert set(made.resources.clusters) == {"old"}
    assert made.behind == made.counted == ()
