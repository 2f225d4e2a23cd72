"""What no honest client or service sends: nothing is smuggled, nobody is called whom a request named, no path is two paths."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.gateway.abuse import Stage, cases_of, judge, staged
from tests.integration.gateway.abuse_meanings import MEANINGS
from tests.integration.gateway.abuse_replies import REPLIES, Reply, replies_of
from tests.integration.gateway.abuse_replies import judge as judge_reply
from tests.integration.gateway.abuse_table import REQUESTS, Abuse, Expectation

NEUTRAL = Path(__file__).parents[4] / "shared" / "judges" / "http_abuse_cases.json"


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged("embedded") as found:
        yield found


@pytest.mark.parametrize("case", [*REQUESTS, *MEANINGS], ids=lambda case: case.id)
def test_what_no_honest_client_sends(case: Abuse, stage: Stage) -> None:
    """It is refused, or understood in the one way in which the backend understands it too; what comes after it is not harmed."""
    verdict = judge(case, stage)
    assert not verdict.problems, f"{case.raw[:200]!r}: {verdict.statuses}"


def test_the_embedded_engine_is_never_more_lenient_than_envoy(stage: Stage) -> None:
    """Of bytes that are framed oddly, whatever gets through to a service gets through Envoy too; and neither is led astray."""
    lenient, astray = {}, {}
    with staged("envoy") as other:
        for case in [*REQUESTS, *MEANINGS]:
            theirs = judge(case, other, strictly=False)
            if theirs.problems:
                astray[case.id] = theirs.problems
            if case.section == "framing" and not theirs.accepted and (ours := judge(case, stage)).accepted:
                lenient[case.id] = ours.statuses
    assert not lenient
    assert not astray


@pytest.mark.parametrize("case", REPLIES, ids=lambda case: case.id)
def test_what_no_honest_service_answers(case: Reply, stage: Stage) -> None:
    """The client gets the answer, 502 or an end that shows; what is left over is never the answer to another request."""
    assert not judge_reply(case, stage), f"{case.raw[:200]!r}"


ODD = st.sampled_from(
    [
        "\r",
        "\n",
        "\r\n",
        " ",
        "\t",
        "\x00",
        ":",
        "0",
        "1",
        ",",
        ";",
        "/",
        "%2e",
        "..",
        "\x0b",
        "\xff",
        "chunked",
        "Host: b.test",
    ]
)
SHORT = [case.raw for case in [*REQUESTS, *MEANINGS] if "*" not in case.raw]


@settings(max_examples=2000 if os.environ.get("CI") == "true" else 150, suppress_health_check=list(HealthCheck))
@given(raw=st.sampled_from(SHORT), changes=st.lists(st.tuples(st.integers(0, 400), ODD, st.integers(0, 2)), max_size=3))
def test_abuse_that_nobody_wrote_down(raw: str, changes: list[tuple[int, str, int]], stage: Stage) -> None:
    """Known abuse with odd pieces put into it leads nobody astray either, whatever it is answered."""
    for at, piece, cut in changes:
        raw = raw[:at] + piece + raw[at + cut :]
    most = raw.count("HTTP/") + 1
    verdict = judge(
        Abuse("odd", raw, Expectation(reaches=most, answers=most + 1, incomplete=True)), stage, strictly=False
    )
    assert not verdict.problems, f"{raw!r}: {verdict.statuses}"


@pytest.mark.judge
def test_what_a_neutral_table_knows_of_clients(stage: Stage) -> None:
    """Abuse that we did not think of ourselves ends in the same way."""
    found = {case.id: problems for case in cases_of(NEUTRAL) if (problems := judge(case, stage).problems)}
    assert not found


@pytest.mark.judge
def test_what_a_neutral_table_knows_of_services(stage: Stage) -> None:
    """Likewise of services."""
    found = {case.id: problems for case in replies_of(NEUTRAL) if (problems := judge_reply(case, stage))}
    assert not found
