"""What a gateway.yaml states is evidence for the calls of the gateway, and for nobody else's."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest
from repository import Memory, model_of, subject_of

from skerry.architecture.code.facts import Bound
from skerry.architecture.manifests import gateway_yaml
from skerry.architecture.manifests.reader import Reader
from skerry.architecture.rules import Finding, Severity, Verdict
from skerry.architecture.rules.no_circuit_breaker import no_circuit_breaker
from skerry.architecture.rules.no_timeout import no_timeout
from skerry.gateway import reading
from skerry.gateway.model import Aggregate, PolicySpec

EXAMPLES = Path(__file__).parents[4] / "examples"
SYSTEM = {
    "skerry.toml": '[gateway]\nspec = "gateway.yaml"\n[services.order]\napp = "order.app:service"\n',
    "order/app.py": "service = 1\n",
}
ROUTE = "routes:\n  - {path: /orders, methods: [GET], service: order"


def verdict(rule, spec: str, name: str = "gateway") -> Finding:
    """What a rule says of one service of a system whose gateway has this specification."""
    (found,) = (each for each in rule.check(subject_of({**SYSTEM, "gateway.yaml": spec})) if name in each.services)
    return found


def test_the_deadline_of_a_route_bounds_the_calls_of_the_gateway() -> None:
    """The place is where the limit stands: at the route, or at the defaults that it does not change."""
    spec = f"defaults:\n  policy:\n    total: 4\n{ROUTE}}}\n  - {{path: /, service: order, policy: {{total: 1.5}}}}\n"
    found = verdict(no_timeout, spec)
    assert found.verdict is Verdict.CLEAN
    assert "between 1.5 s and 4 s" in found.message
    assert [str(each.place) for each in found.evidence] == ["gateway.yaml:3", "gateway.yaml:6"]
    assert {each.source.value for each in found.evidence} == {"spec"}


def test_a_route_without_a_limit_waits_for_ever() -> None:
    """`null` is no bound; the fault is the gateway's, at the line of the defaults that is its cause."""
    found = verdict(no_timeout, f"defaults:\n  policy: {{total: null, attempt: null}}\n{ROUTE}}}\n")
    assert (found.verdict, found.severity) == (Verdict.VIOLATION, Severity.ERROR)
    assert found.services == ("gateway", "order")
    assert {str(each.place) for each in found.evidence} == {"gateway.yaml:2", "gateway.yaml:4"}
    assert "`total`" in found.fix


def test_attempts_without_a_total_end_too() -> None:
    """Each of a number of attempts has an end, so all have."""
    assert "after 6 s" in verdict(no_timeout, f"{ROUTE}, policy: {{total: null, attempt: 3, attempts: 2}}}}\n").message


def test_a_limit_that_is_none_is_unknown() -> None:
    """What the gateway itself would refuse proves nothing."""
    assert verdict(no_timeout, f"{ROUTE}, policy: {{total: soon}}}}\n").verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(("policy", "expected"), [("breaker: false", Verdict.VIOLATION), ("total: 2", Verdict.CLEAN)])
def test_a_route_has_a_breaker_unless_it_says_that_it_has_none(policy: str, expected: Verdict) -> None:
    """The gateway's own default counts as what it is."""
    assert verdict(no_circuit_breaker, f"{ROUTE}, policy: {{{policy}}}}}\n").verdict is expected


def test_calls_within_services_are_not_bounded_by_it() -> None:
    """A gateway that gives up does not end what a service waits for."""
    code = "import requests\nfrom flask import Flask\napp = Flask('a')\n@app.get('/')\ndef show():\n    requests.get('http://pay')\n"
    texts = {**SYSTEM, "gateway.yaml": f"{ROUTE}}}\n", "order/app.py": code}
    verdicts = {each.services: each.verdict for each in no_timeout.check(subject_of(texts))}
    assert verdicts["order",] is Verdict.VIOLATION
    assert verdicts["gateway",] is Verdict.CLEAN


@pytest.mark.parametrize("example", ["shop", "strangler"])
def test_it_is_read_as_the_gateway_reads_it(example: str) -> None:
    """Limits, breakers and attempts are those with which the gateway would run."""
    path = EXAMPLES / example / "gateway.yaml"
    spec = reading.read(path)
    expected = []
    for route in spec.routes:
        if isinstance(route.action, Aggregate):
            expected += [
                (part.service, min(route.action.deadline, part.policy.total or 0)) for part in route.action.parts
            ]
        elif route.action.strangle is not None:
            plan = route.action.strangle
            expected += [(plan.control, route.policy.total), (plan.candidate, route.policy.total)]
        else:
            expected += [(each.service, route.policy.total) for each in route.action.backends]
    calls = gateway_yaml.read(Reader(Memory({"gateway.yaml": path.read_text()})), "gateway.yaml")
    assert [(each.target.service, each.timeout.seconds) for each in calls] == expected
    assert all(each.breaker and each.retry for each in calls)


def test_defaults_are_those_of_the_gateway() -> None:
    """A route that says nothing has what the gateway gives it."""
    (call,) = gateway_yaml.read(Reader(Memory({"gateway.yaml": f"{ROUTE}}}\n"})), "gateway.yaml")
    policy = PolicySpec()
    assert (call.timeout.bound, call.timeout.seconds) == (Bound.DEFAULT, policy.total)
    (bare,) = gateway_yaml.read(
        Reader(Memory({"gateway.yaml": f"{ROUTE}, policy: {{total: null}}}}\n"})), "gateway.yaml"
    )
    assert bare.timeout.seconds == policy.attempt * policy.retry.attempts
    assert (call.breaker is not None, call.retry is not None) == (policy.breaker is not None, policy.retry.attempts > 1)


def test_aliases_that_grow_are_refused_and_cost_nothing_else() -> None:
    """A bomb of aliases is named as unread; the services are there all the same."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{below}'] * 10)}]" for below, name in zip("abcdef", "bcdefg", strict=True)
    ]
    model = model_of({**SYSTEM, "gateway.yaml": "\n".join(lines) + f"\n{ROUTE}}}\n"})
    assert model.services.keys() == {"gateway", "order"}
    assert any("aliases are followed" in each.text for each in model.unknown)
    assert not model.routed


def test_whose_gateway_it_is_without_a_skerry_toml() -> None:
    """The workload whose command names the file, else the service in whose folder it lies; else it is said to be unknown."""
    spec = f"{ROUTE}}}\n"
    order = "services:\n  order: {build: ./order}\n"
    files = {"order/Dockerfile": "FROM python\n", "order/app.py": "x = 1\n"}
    by_command = f"{order}  edge: {{build: ./edge, command: skerry gateway run /etc/gateway.yaml}}\n"
    edge = {"edge/Dockerfile": "FROM python\n", "edge/run.py": "x = 1\n"}
    assert model_of({**files, **edge, "compose.yaml": by_command, "conf/gateway.yaml": spec}).routed.keys() == {"edge"}
    beside = f"{order}  edge: {{build: ./edge}}\n"
    assert model_of({**files, **edge, "compose.yaml": beside, "edge/gateway.yaml": spec}).routed.keys() == {"edge"}
    alone = model_of({**files, "compose.yaml": order, "conf/gateway.yaml": spec})
    assert any("whose gateway it describes is not said" in each.text for each in alone.unknown)


def test_other_gateways_are_not_read() -> None:
    """A file of that name which is a Kubernetes manifest, or has routes of another kind, says nothing here."""
    for text in (
        "apiVersion: v1\nkind: Gateway\nroutes: [{service: a}]\n",
        "routes:\n  - {id: a, uri: 'lb://order'}\n",
    ):
        assert gateway_yaml.read(Reader(Memory({"gateway.yaml": text})), "gateway.yaml") == ()
