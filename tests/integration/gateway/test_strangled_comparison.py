"""Answers of a strangled route compared by the embedded engine: what is found, what is not asked, and what it never does."""

from __future__ import annotations

import asyncio
import gzip
import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from peers import Peer, Reader, Received, Writer, blackhole, breaks_after, drip, receive, reply
from strangled_stage import REFUSING, ROUTE, Raw, Strangling, strangling, told

from skerry import signals
from skerry.gateway.strangler import Share, samples

COMPARED = Share(0.0, compared=True)
EVERY = {"sample": "100%"}


def test_the_client_has_the_controls_answer_and_the_wrong_field_is_named(tmp_path: Path) -> None:
    """Whatever the weights are, the sampled request is answered by the control; the candidate is asked afterwards."""

    async def play(stage: Strangling) -> None:
        for number in range(1, 6):
            answer = await stage.client.get(f"/7?q={number}", headers={"x-own": "kept"})
            assert answer.json()["lines"][1]["price"] == 10.5
            await stage.compared(number)
        sums = stage.sums.compared
        assert (sums.pairs, sums.differing, sums.control_pairs, sums.control_differing) == (5, 5, 5, 0)
        assert sums.paths == {"$.lines[*].price": [5, 0]}
        asked = stage.candidate.requests[0]
        assert (asked.method, asked.target, asked.headers["x-own"]) == ("GET", "/7?q=1", "kept")
        assert [request.headers.get("skerry-shadow") for request in stage.control.requests] == [None, "1"] * 5
        assert {request.headers["skerry-shadow"] for request in stage.candidate.requests} == {"1"}
        assert (stage.sums.control.requests, stage.sums.candidate.requests) == (5, 0)

    control = {"lines": [{"price": 1}, {"price": 10.5}]}
    candidate = {"lines": [{"price": 1.0}, {"price": 10.49}]}
    share = Share(100.0, compared=True)
    strangling(tmp_path, play, control=control, candidate=candidate, share=share, shadow=EVERY)
    (sample, *_) = samples.read(tmp_path, ROUTE)["$.lines[*].price"]
    assert (sample.place, sample.request, sample.control, sample.candidate) == (
        "$.lines[1].price",
        "GET /7?q=...",
        "10.5",
        "10.49",
    )


def test_a_candidate_that_is_alike_never_differs(tmp_path: Path) -> None:
    """Order of keys, spaces, notation of numbers and headers that were not chosen say nothing."""

    async def play(stage: Strangling) -> None:
        for number in range(1, 4):
            await stage.client.get("/")
            await stage.compared(number)
        assert (stage.sums.compared.pairs, stage.sums.compared.differing, stage.sums.compared.paths) == (3, 0, {})

    def candidate(_: Received) -> bytes:
        return reply(200, b'{"b" : [1.0, 2e0], "a":1}', content_type="application/json; charset=utf-8", x_own="1")

    strangling(tmp_path, play, control={"a": 1, "b": [1, 2]}, candidate=candidate, share=COMPARED, shadow=EVERY)


def test_noise_is_learnt_from_the_control_and_a_wrong_field_is_seen_through_it(tmp_path: Path) -> None:
    """A number that is another one each time counts against nobody, and hides nothing else."""
    numbers = count()

    async def play(stage: Strangling) -> None:
        for number in range(1, 11):
            await stage.client.get("/")
            await stage.compared(number)
        sums = stage.sums.compared
        assert (sums.differing, sums.noisy) == (0, 10)
        stage.candidate.requests.clear()
        wrong.append(True)
        for number in range(11, 16):
            await stage.client.get("/")
            await stage.compared(number)
        assert (sums.differing, sums.noisy) == (5, 10)
        assert sums.paths["$.total"] == [5, 0]

    wrong: list[bool] = []

    def answer(total: Any) -> Any:
        return lambda _: told({"request": next(numbers), "total": total()})

    strangling(
        tmp_path,
        play,
        control=answer(lambda: 100),
        candidate=answer(lambda: 101 if wrong else 100),
        share=COMPARED,
        shadow=EVERY,
    )


def test_rules_of_the_route_are_obeyed(tmp_path: Path) -> None:
    """Ignored paths and normalised values are alike; a chosen header counts."""

    async def play(stage: Strangling) -> None:
        await stage.client.get("/")
        await stage.compared(1)
        assert stage.sums.compared.paths == {"header etag": [1, 0]}

    shadow = {**EVERY, "ignore": ["$.ts"], "normalise": [{"path": "$.p", "round": 1}], "headers": ["etag"]}
    strangling(
        tmp_path,
        play,
        control=lambda _: told({"ts": 1, "p": 1.01}, etag='"a"'),
        candidate=lambda _: told({"ts": 2, "p": 1.02}, etag='"b"'),
        share=COMPARED,
        shadow=shadow,
    )


def test_what_is_late_only_is_asked_again(tmp_path: Path) -> None:
    """A candidate that learns by events a moment later is alike once it has settled; one that stays wrong is not."""
    asked = count()

    async def play(stage: Strangling) -> None:
        await stage.client.get("/")
        await stage.compared(1)
        sums = stage.sums.compared
        assert (sums.pairs, sums.settled, sums.differing) == (1, 1, 0)
        late.clear()
        await stage.client.get("/")
        await stage.compared(2)
        assert (sums.pairs, sums.settled, sums.differing) == (2, 1, 1)

    late = [True]
    strangling(
        tmp_path,
        play,
        control={"stock": 1},
        candidate=lambda _: told({"stock": 0 if next(asked) == 0 or not late else 1}),
        share=COMPARED,
        shadow={**EVERY, "settle": "50 ms"},
    )


def test_what_is_wrong_now_and_then_is_not_taken_for_late(tmp_path: Path) -> None:
    """Every fifth answer of the candidate is wrong while the control stays what it is: no waiting makes that right."""
    asked = count()

    async def play(stage: Strangling) -> None:
        await stage.client.get("/")
        await stage.compared(1)
        sums = stage.sums.compared
        assert (sums.pairs, sums.settled, sums.differing) == (1, 0, 1)
        assert sums.paths == {"$.stock": [1, 0]}

    strangling(
        tmp_path,
        play,
        control={"stock": 1},
        candidate=lambda _: told({"stock": 1 if next(asked) % 5 else 0}),
        share=COMPARED,
        shadow={**EVERY, "settle": "50 ms"},
    )


def test_a_control_that_goes_on_leaves_a_late_candidate_late(tmp_path: Path) -> None:
    """While facts keep coming the candidate is behind again and again: nothing is said against it."""
    asked, turn = count(), count()

    async def play(stage: Strangling) -> None:
        await stage.client.get("/")
        await stage.compared(1)
        sums = stage.sums.compared
        assert (sums.pairs, sums.settled, sums.differing) == (1, 1, 0)

    strangling(
        tmp_path,
        play,
        control=lambda _: told({"stock": 1 if next(asked) < 3 else 2}),
        candidate=lambda _: told({"stock": {0: 0, 1: 1}.get(next(turn), 2)}),
        share=COMPARED,
        shadow={**EVERY, "settle": "50 ms"},
    )


def test_unsafe_requests_are_never_replayed(tmp_path: Path) -> None:
    """Whatever is sampled: a POST goes to its owner, once."""

    async def play(stage: Strangling) -> None:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            await stage.client.request(method, "/", content=b"{}" if method != "DELETE" else b"")
        await asyncio.sleep(0.3)
        assert (len(stage.control.requests), len(stage.candidate.requests)) == (4, 0)
        assert stage.sums.compared.pairs == 0

    strangling(tmp_path, play, control={}, candidate={}, share=COMPARED, shadow=EVERY)


def test_a_harmless_candidate_gets_a_copy_of_unsafe_requests(tmp_path: Path) -> None:
    """Once, with its body; the control is not asked again, for it does act on them."""

    async def play(stage: Strangling) -> None:
        await stage.client.post("/", content=b'{"n": 1}')
        await stage.compared(1)
        assert [request.body for request in stage.candidate.requests] == [b'{"n": 1}']
        assert len(stage.control.requests) == 1
        sums = stage.sums.compared
        assert (sums.pairs, sums.differing, sums.control_pairs) == (1, 1, 0)
        assert stage.sums.writes == 0

    strangling(tmp_path, play, control={"a": 1}, candidate={"a": 2}, share=COMPARED, shadow={**EVERY, "harmless": True})


@pytest.mark.parametrize(
    "headers",
    [{"if-none-match": '"a"'}, {"if-modified-since": "Sun, 29 Nov 2026 10:00:00 GMT"}, {"range": "bytes=0-1"}],
    ids=lambda headers: next(iter(headers)),
)
def test_requests_that_depend_on_an_earlier_answer_are_not_compared(tmp_path: Path, headers: dict[str, str]) -> None:
    """What a client has from one side says nothing about the other's; they are counted, for who compares little has to see it."""

    async def play(stage: Strangling) -> None:
        assert (await stage.client.get("/", headers=headers)).status_code == 200
        await asyncio.sleep(0.3)
        sums = stage.sums.compared
        assert (sums.pairs, sums.shed, sums.unfit, len(stage.candidate.requests)) == (0, 0, 1, 0)

    strangling(tmp_path, play, control={}, candidate={}, share=COMPARED, shadow=EVERY)


def test_heads_are_compared_too(tmp_path: Path) -> None:
    """By status and headers, for they have no body."""

    async def play(stage: Strangling) -> None:
        await stage.client.head("/")
        await stage.compared(1)
        assert stage.sums.compared.paths == {"header content-type": [1, 0]}

    def head(kind: str) -> Any:
        return lambda request: reply(200, b"" if request.method == "HEAD" else b"{}", content_type=kind)

    strangling(
        tmp_path, play, control=head("application/json"), candidate=head("text/html"), share=COMPARED, shadow=EVERY
    )


def test_answers_are_compared_without_their_content_coding(tmp_path: Path) -> None:
    """A compressed body is alike to the same one that is not; one of a coding that cannot be read is unread."""

    async def play(stage: Strangling) -> None:
        await stage.client.get("/")
        await stage.compared(1)
        assert (stage.sums.compared.pairs, stage.sums.compared.differing) == (1, 0)
        coding.append("br")
        await stage.client.get("/", headers={"accept-encoding": "identity"})
        await stage.compared(2)
        assert (stage.sums.compared.pairs, stage.sums.compared.unread) == (1, 1)

    coding = ["gzip"]

    def candidate(_: Received) -> bytes:
        return reply(
            200,
            gzip.compress(json.dumps({"a": 1}).encode()),
            content_encoding=coding[-1],
            content_type="application/json",
        )

    strangling(tmp_path, play, control={"a": 1}, candidate=candidate, share=COMPARED, shadow=EVERY)


def bomb(_: Received) -> bytes:
    return reply(200, gzip.compress(b"0" * 10_000_000), content_encoding="gzip", content_type="application/json")


@pytest.mark.parametrize(
    "candidate",
    [
        lambda _: told("x" * 5000),
        bomb,
        lambda _: reply(200, b"no gzip", content_encoding="gzip"),
        REFUSING,
        Raw(blackhole),
        Raw(drip),
        Raw(breaks_after()),
        Raw(breaks_after(b"no HTTP\r\n\r\n")),
        Raw(breaks_after(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")),
        Raw(breaks_after(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")),
        Raw(breaks_after(b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")),
    ],
    ids=[
        *(
            "long",
            "unpacks to much",
            "not packed",
            "away",
            "silent",
            "slow",
            "lost",
            "no HTTP",
            "half",
            "chunks",
            "another protocol",
        )
    ],
)
def test_an_answer_that_cannot_be_had_is_unread(tmp_path: Path, candidate: Any) -> None:
    """Too long, too long once unpacked, not there, or not in time: it counts as nothing else, and delays no client."""

    async def play(stage: Strangling) -> None:
        assert (await stage.client.get("/")).json() == {"a": 1}
        await stage.until(lambda: stage.sums.compared.unread == 1)
        assert stage.sums.compared.pairs == 0
        await stage.until(lambda: stage.comparing == 0)

    strangling(tmp_path, play, control={"a": 1}, candidate=candidate, share=COMPARED, shadow={**EVERY, "body": 1024})


def test_a_long_answer_of_the_control_streams_and_is_unread(tmp_path: Path) -> None:
    """The client has all of it; of what is too long nothing is kept, and the candidate is not asked."""

    async def play(stage: Strangling) -> None:
        answer = await stage.client.get("/")
        assert len(answer.content) == 3_000_000
        await stage.until(lambda: stage.sums.compared.unread == 1)
        assert stage.candidate.requests == []

    strangling(
        tmp_path, play, control=lambda _: reply(200, b"x" * 3_000_000), candidate={}, share=COMPARED, shadow=EVERY
    )


def test_an_answer_without_an_end_is_not_waited_for(tmp_path: Path) -> None:
    """A stream of events is given up as soon as it begins, and its place is another request's."""
    sent: list[Writer] = []

    async def control(peer: Peer, reader: Reader, writer: Writer) -> None:
        while True:
            await receive(peer, reader)
            sent.append(writer)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            writer.write(b"6\r\ndata: \r\n")

    async def play(stage: Strangling) -> None:
        async with stage.client.stream("GET", "/") as answer:
            assert answer.status_code == 200
            assert (stage.sums.compared.unread, stage.candidate.requests) == (1, [])
            sent[0].write(b"0\r\n\r\n")

    strangling(tmp_path, play, control=Raw(control), candidate={}, share=COMPARED, shadow=EVERY)


def test_a_new_difference_is_a_signal(tmp_path: Path) -> None:
    """Once for each path, not for each request."""
    heard: list[signals.Signal] = []

    async def play(stage: Strangling) -> None:
        for number in range(1, 4):
            await stage.client.get("/")
            await stage.compared(number)

    unsubscribe = signals.subscribe(heard.append)
    try:
        strangling(tmp_path, play, control={"a": 1}, candidate={"a": 2}, share=COMPARED, shadow=EVERY)
    finally:
        unsubscribe()
    differed = [each for each in heard if isinstance(each, signals.AnswersDiffered)]
    assert differed == [signals.AnswersDiffered(route=ROUTE, path="$.a", kind="value")]


def test_comparisons_are_shed_first(tmp_path: Path) -> None:
    """So many at once; a request beyond them is an ordinary one, served and counted by its weight."""

    async def play(stage: Strangling) -> None:
        answers = [(await stage.client.get("/")).status_code for _ in range(10)]
        assert answers == [200] * 10
        sums = stage.sums.compared
        assert (sums.shed, sums.pairs) == (8, 0)
        assert stage.sums.control.requests == 10

    shadow = {**EVERY, "concurrency": 2}
    strangling(tmp_path, play, control={}, candidate=Raw(blackhole), share=COMPARED, shadow=shadow)


def test_a_busy_worker_compares_nothing(tmp_path: Path) -> None:
    """When its event loop is late the requests are served, and it is counted that they were not compared."""

    async def play(stage: Strangling) -> None:
        assert stage.gateway.counting is not None
        stage.gateway.counting.busy = True
        assert (await stage.client.get("/")).status_code == 200
        assert (stage.sums.compared.shed, stage.sums.control.requests) == (1, 1)
        await stage.until(lambda: stage.gateway.counting is not None and not stage.gateway.counting.busy)
        await stage.client.get("/")
        await stage.compared(1)
        assert stage.sums.compared.pairs == 1

    strangling(tmp_path, play, control={}, candidate={}, share=COMPARED, shadow=EVERY)


def test_a_client_that_leaves_gives_its_place_back(tmp_path: Path) -> None:
    """A comparison that never comes to be holds up no other."""
    silent = [True]

    async def control(peer: Peer, reader: Reader, writer: Writer) -> None:
        while True:
            await receive(peer, reader)
            if not silent:
                writer.write(told({}))

    async def play(stage: Strangling) -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await stage.client.get("/")
        await stage.until(lambda: not stage.gateway.clients)
        silent.clear()
        await stage.client.get("/")
        await stage.compared(1)
        assert stage.sums.compared.pairs == 1

    shadow = {**EVERY, "concurrency": 1}
    strangling(tmp_path, play, control=Raw(control), candidate={}, share=COMPARED, shadow=shadow)


def test_a_client_cannot_pass_for_a_shadow(tmp_path: Path) -> None:
    """The mark that a service may trust never comes from outside."""

    async def play(stage: Strangling) -> None:
        await stage.client.get("/", headers={"skerry-shadow": "1", "Skerry_Shadow": "1"})
        assert {"skerry-shadow", "skerry_shadow"}.isdisjoint(stage.control.requests[0].headers)

    strangling(tmp_path, play, control={}, candidate={}, share=COMPARED, shadow=EVERY)


def test_no_secret_gets_into_the_state_folder(tmp_path: Path) -> None:
    """Neither from a body, by path, name or shape, nor from a header, a path or a query."""
    secrets = ["tok-1234", "someone@example.org", "4111111111111111", "named-by-path", "from-a-cookie", "from-a-query"]

    def answer(extra: str) -> Any:
        body = {
            "token": secrets[0] + extra,
            "text": f"write to {secrets[1]} {extra}",
            "number": secrets[2] + extra,
            "owner": {"name": secrets[3] + extra},
            "by": {secrets[1]: extra},
        }
        return lambda _: told(body, set_cookie=f"s={secrets[4]}{extra}")

    async def play(stage: Strangling) -> None:
        await stage.client.get(f"/{secrets[1]}?key={secrets[5]}", headers={"cookie": f"s={secrets[4]}"})
        await stage.compared(1)
        assert stage.sums.compared.differing == 1

    shadow = {**EVERY, "redact": ["$.owner"], "headers": ["set-cookie"]}
    strangling(tmp_path, play, control=answer(" "), candidate=answer("!"), share=COMPARED, shadow=shadow)
    kept = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert samples.read(tmp_path, ROUTE)
    assert [secret for secret in secrets if secret in kept] == []


def test_long_bodies_are_compared_beside_the_loop(tmp_path: Path) -> None:
    """A body that takes time to compare is compared all the same, and found out."""
    rows = [{"id": number, "price": number / 7} for number in range(4000)]

    async def play(stage: Strangling) -> None:
        await stage.client.get("/")
        await stage.compared(1)
        assert stage.sums.compared.paths == {"$[*].price": [1, 0]}

    wrong = [*rows[:-1], {**rows[-1], "price": 0}]
    strangling(tmp_path, play, control=rows, candidate=wrong, share=COMPARED, shadow=EVERY)


def test_nothing_is_compared_once_the_candidate_owns_the_data(tmp_path: Path) -> None:
    """The control may be behind then: it is neither asked nor given to clients."""

    async def play(stage: Strangling) -> None:
        await stage.client.get("/")
        await asyncio.sleep(0.3)
        assert (len(stage.control.requests), len(stage.candidate.requests)) == (0, 1)

    share = Share(100.0, compared=True, owner="candidate")
    strangling(tmp_path, play, control={}, candidate={}, share=share, shadow=EVERY)


def test_another_ramp_learns_anew(tmp_path: Path) -> None:
    """What was noise, or was wrong, in a ramp before this one says nothing about its candidate; nor do its samples stay."""
    noisy = [True]

    async def play(stage: Strangling) -> None:
        for number in range(1, 4):
            await stage.client.get("/")
            await stage.compared(number)
        noisy.clear()
        stage.share(Share())
        stage.share(COMPARED)
        await stage.client.get("/")
        await stage.compared(4)
        assert (stage.sums.compared.noisy, stage.sums.compared.differing) == (3, 1)

    numbers = count()
    strangling(
        tmp_path,
        play,
        control=lambda _: told({"a": next(numbers) if noisy else 0}),
        candidate={"a": 1.5},
        share=COMPARED,
        shadow=EVERY,
    )
    assert {path: len(kept) for path, kept in samples.read(tmp_path, ROUTE).items()} == {"$.a": 1}
