"""A strangled route on the embedded engine: where requests go, and what they count for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from peers import Received, blackhole, breaks_after, reply
from strangled_stage import REFUSING, Raw, Strangling, strangling, told

from skerry.gateway.engine.call import Call
from skerry.gateway.strangler import Share, tally

NO_SHADOW: dict[str, Any] = {"shadow": False}
HALF = Share(50.0, compared=True)
ALL = Share(100.0, compared=True)


def test_weights_are_obeyed_and_counted(tmp_path: Path) -> None:
    """Each side gets its share, and counts what it got."""

    async def play(stage: Strangling) -> None:
        for _ in range(400):
            assert (await stage.client.get("/")).status_code == 200
        sums = stage.sums
        assert sums.control.requests == len(stage.control.requests)
        assert sums.candidate.requests == len(stage.candidate.requests)
        assert 130 < sums.candidate.requests < 270
        assert sum(sums.candidate.times) == sums.candidate.requests
        assert sums.candidate.errors == sums.candidate.refused == sums.control.errors == 0

    strangling(tmp_path, play, control={}, candidate={}, share=HALF, **NO_SHADOW)


def test_without_shares_all_goes_to_the_control_uncounted(tmp_path: Path) -> None:
    """A route that nobody has started is served as before."""

    async def play(stage: Strangling) -> None:
        for method in ("GET", "POST"):
            await stage.client.request(method, "/")
        assert (len(stage.control.requests), len(stage.candidate.requests)) == (2, 0)
        assert stage.sums.control.requests == 0

    strangling(tmp_path, play, control={}, candidate={})


def test_a_plan_alone_is_an_ordinary_route(tmp_path: Path) -> None:
    """Of a specification that no shares were put into nothing is counted or compared, and its requests cost what others do."""

    async def play(stage: Strangling) -> None:
        stage.gateway.reload(stage.spec)
        assert stage.gateway.runtime.plans[id(stage.gateway.runtime.spec.routes[0])].call is Call
        assert (await stage.client.get("/")).status_code == 200
        await stage.client.post("/")
        assert (len(stage.control.requests), stage.candidate.requests) == (2, [])
        assert stage.sums.control.requests == stage.sums.writing == 0

    strangling(tmp_path, play, control={}, candidate={}, shadow={"sample": "100%"})


def test_the_tally_tells_the_version_that_is_served(tmp_path: Path) -> None:
    """As soon as other shares are served the file says so, and at the end it has all that was counted."""

    async def play(stage: Strangling) -> None:
        await stage.until(lambda: stage.written.version == 0)
        stage.share(HALF)
        await stage.until(lambda: stage.written.version == 1)
        await stage.client.get("/")

    strangling(tmp_path, play, control={}, candidate={}, share=HALF, **NO_SHADOW)
    (told_last,) = tally.read(tmp_path).values()
    assert told_last.version == 1
    sums = told_last.routes["books"]
    assert sums.control.requests + sums.candidate.requests == 1


def test_refusals_and_errors_are_counted_apart(tmp_path: Path) -> None:
    """4xx are refusals, 5xx are errors; other answers are neither."""
    statuses = iter([200, 304, 404, 422, 500, 503])

    async def play(stage: Strangling) -> None:
        for _ in range(6):
            await stage.client.get("/")
        arm = stage.sums.candidate
        assert (arm.requests, arm.refused, arm.errors) == (6, 2, 2)

    def answer(_: Received) -> bytes:
        status = next(statuses)
        return reply(status, b"" if status == 304 else b"{}")

    strangling(tmp_path, play, control={}, candidate=answer, share=ALL, **NO_SHADOW)


@pytest.mark.parametrize(
    "candidate",
    [
        lambda _: told({"who": "candidate"}, status=500),
        lambda _: told({"who": "candidate"}, status=501),
        Raw(breaks_after()),
        Raw(breaks_after(b"HTTP/1.1 200")),
        Raw(breaks_after(b"no HTTP\r\n\r\n")),
        Raw(blackhole),
        REFUSING,
    ],
    ids=["500", "501", "lost", "broken", "no HTTP", "silent", "refused"],
)
def test_what_the_candidate_fails_is_asked_of_the_control(tmp_path: Path, candidate: Any) -> None:
    """A safe request that fails counts as the candidate's error, and its client has the control's answer, without retries too."""

    async def play(stage: Strangling) -> None:
        for _ in range(2):
            answer = await stage.client.get("/")
            assert (answer.status_code, answer.json()) == (200, {"who": "control"})
        assert (stage.sums.candidate.requests, stage.sums.candidate.errors) == (2, 2)
        assert stage.sums.control.requests == 0

    policy = {"policy": {"retry": False, "attempt": 0.5, "total": 3}}
    strangling(tmp_path, play, control={"who": "control"}, candidate=candidate, share=ALL, route=policy, **NO_SHADOW)


def test_the_candidate_is_told_that_it_need_not_try_again(tmp_path: Path) -> None:
    """Only one layer repeats: a request that the control answers if need be is marked, though the route has no retries."""

    async def play(stage: Strangling) -> None:
        await stage.client.get("/")
        assert stage.candidate.requests[0].headers["skerry-retried"] == "1"
        assert "skerry-retried" not in stage.control.requests[0].headers

    policy = {"policy": {"retry": False}}
    broken = Raw(breaks_after())
    strangling(tmp_path, play, control={}, candidate=broken, share=ALL, route=policy, **NO_SHADOW)


def test_an_open_circuit_counts_against_its_side_and_no_client_pays(tmp_path: Path) -> None:
    """Once nothing is sent to a dead candidate any more its requests still count as errors, and the control answers them."""

    async def play(stage: Strangling) -> None:
        for _ in range(60):
            assert (await stage.client.get("/")).json() == {"who": "control"}
        assert (stage.sums.candidate.requests, stage.sums.candidate.errors) == (60, 60)

    policy = {"policy": {"breaker": {"consecutive": 5}}}
    strangling(tmp_path, play, control={"who": "control"}, candidate=REFUSING, share=ALL, route=policy, **NO_SHADOW)


def test_an_answer_that_breaks_off_is_an_error(tmp_path: Path) -> None:
    """What began well and ended early counts once, as an error."""

    async def play(stage: Strangling) -> None:
        with pytest.raises(Exception, match=r"(?i)closed|incomplete|peer|disconnect"):
            await stage.client.get("/")
        assert (stage.sums.candidate.requests, stage.sums.candidate.errors) == (1, 1)

    broken = Raw(breaks_after(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"))
    strangling(tmp_path, play, control={}, candidate=broken, share=ALL, **NO_SHADOW)


def test_a_client_that_leaves_does_not_count(tmp_path: Path) -> None:
    """Nobody knows how the request would have ended."""

    async def play(stage: Strangling) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await stage.client.get("/")
        await stage.until(lambda: not stage.gateway.clients)
        assert stage.sums.candidate.requests == stage.sums.candidate.errors == 0

    strangling(tmp_path, play, control={}, candidate=Raw(blackhole), share=ALL, **NO_SHADOW)


def test_unsafe_requests_go_to_their_owner_whatever_the_weights_are(tmp_path: Path) -> None:
    """And count for neither side: the other side has none like them."""

    async def play(stage: Strangling) -> None:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            await stage.client.request(method, "/")
        assert (len(stage.control.requests), len(stage.candidate.requests)) == (4, 0)
        stage.share(Share(0.0, compared=True, owner="candidate"))
        await stage.client.post("/")
        assert (len(stage.control.requests), len(stage.candidate.requests)) == (4, 1)
        assert stage.sums.writes == 1
        assert stage.sums.control.requests == stage.sums.candidate.requests == 0

    strangling(tmp_path, play, control={}, candidate={}, share=ALL, **NO_SHADOW)


def test_a_failed_unsafe_request_is_not_given_to_the_control(tmp_path: Path) -> None:
    """The candidate may have acted on it: the client is told, and nobody does it twice."""

    async def play(stage: Strangling) -> None:
        assert (await stage.client.post("/")).status_code == 500
        assert (len(stage.control.requests), len(stage.candidate.requests)) == (0, 1)
        assert (stage.sums.writes, stage.sums.candidate.errors) == (1, 1)

    strangling(
        tmp_path, play, control={}, candidate=lambda _: told({}, status=500), share=ALL, writes="ramp", **NO_SHADOW
    )


def test_retries_of_a_request_stay_on_its_side(tmp_path: Path) -> None:
    """The policy's retries of an unsafe request that may be repeated never reach the other side."""

    async def play(stage: Strangling) -> None:
        await stage.client.put("/", headers={"idempotency-key": "1"})
        assert (len(stage.control.requests), len(stage.candidate.requests)) == (0, 3)
        assert (stage.sums.candidate.requests, stage.sums.candidate.errors) == (1, 1)

    strangling(
        tmp_path,
        play,
        control={},
        candidate=lambda _: told({}, status=503),
        share=ALL,
        writes="ramp",
        route={"policy": {"attempts": 3, "retry": {"budget": 1, "per_second": 100}}},
        **NO_SHADOW,
    )
