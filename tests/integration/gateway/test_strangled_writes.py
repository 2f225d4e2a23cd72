"""Unsafe requests while ownership is handed over: they wait for the new owner, and none is lost, doubled or overtaken."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from peers import Peer, Reader, Writer, receive
from strangled_stage import ROUTE, Raw, Strangling, strangling, told

from skerry.gateway.strangler import Share
from skerry.gateway.strangler.applying import HOLD

OWNED = Share(100.0, owner="control")
HELD = Share(100.0, owner="nobody")
WRITES = 8 * 40
HANDED = Share(100.0, owner="candidate")


def test_what_waits_goes_to_the_new_owner(tmp_path: Path) -> None:
    """With its body, once; reads go on meanwhile."""

    async def play(stage: Strangling) -> None:
        waiting = asyncio.create_task(stage.client.post("/orders", content=b'{"n": 1}'))
        await stage.until(lambda: len(stage.gateway.waiting) == 1)
        assert (await stage.client.get("/")).status_code == 200
        assert (stage.control.requests, len(stage.candidate.requests)) == ([], 1)
        stage.share(HANDED)
        assert (await waiting).status_code == 200
        assert [request.body for request in stage.candidate.requests] == [b"", b'{"n": 1}']
        assert stage.control.requests == []

    strangling(tmp_path, play, control={}, candidate={}, share=HELD)


def test_what_waits_goes_back_to_the_old_owner_when_nothing_is_handed_over(tmp_path: Path) -> None:
    """A hand-over that was called off costs a client nothing but the wait."""

    async def play(stage: Strangling) -> None:
        waiting = asyncio.create_task(stage.client.post("/orders"))
        await stage.until(lambda: len(stage.gateway.waiting) == 1)
        stage.share(OWNED)
        assert (await waiting).status_code == 200
        assert (len(stage.control.requests), len(stage.candidate.requests)) == (1, 0)

    strangling(tmp_path, play, control={}, candidate={}, share=HELD)


def test_who_waits_too_long_is_told_to_come_back(tmp_path: Path) -> None:
    """After the time of the hold the answer is 503 with `Retry-After`, and nothing reached a service."""

    async def play(stage: Strangling) -> None:
        answer = await stage.client.post("/orders")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["code"] == "handed_over"
        assert stage.control.requests == stage.candidate.requests == []
        assert stage.gateway.waiting == {}

    strangling(tmp_path, play, control={}, candidate={}, share=HELD)


def test_changes_of_other_things_do_not_prolong_the_wait(tmp_path: Path) -> None:
    """A request that begins again and has to wait again waits as long as it had left."""

    async def play(stage: Strangling) -> None:
        waiting = asyncio.create_task(stage.client.post("/orders"))
        for _ in range(200):
            await asyncio.sleep(0.1)
            if waiting.done():
                break
            stage.share(HELD)
        assert waiting.done()
        assert (await waiting).status_code == 503
        assert stage.version < 15 * HOLD

    strangling(tmp_path, play, control={}, candidate={}, share=HELD)


def test_a_client_that_leaves_waits_no_more(tmp_path: Path) -> None:
    """Its request reaches nobody."""

    async def play(stage: Strangling) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await stage.client.post("/orders")
        await stage.until(lambda: not stage.gateway.waiting)
        stage.share(HANDED)
        await stage.client.get("/")
        assert [request.method for request in stage.candidate.requests] == ["GET"]

    strangling(tmp_path, play, control={}, candidate={}, share=HELD)


def test_a_long_body_waits_with_its_client(tmp_path: Path) -> None:
    """What does not fit into the gateway is not read, and all of it arrives afterwards."""
    body = bytes(range(256)) * 3000

    async def play(stage: Strangling) -> None:
        waiting = asyncio.create_task(stage.client.post("/orders", content=body))
        await stage.until(lambda: any(client.waits for client in stage.gateway.clients))
        stage.share(HANDED)
        assert (await waiting).status_code == 200
        assert [request.body for request in stage.candidate.requests] == [body]

    strangling(tmp_path, play, control={}, candidate={}, share=HELD)


def test_writes_of_a_client_keep_their_order_under_load(tmp_path: Path) -> None:
    """Of many clients that write all the time, through a hand-over and back: each write arrives once, in its client's order."""
    done: list[tuple[str, int]] = []

    def owner(request: Any) -> bytes:
        told_by = json.loads(request.body)
        done.append((told_by["client"], told_by["n"]))
        return told({})

    async def writing(stage: Strangling, client: str) -> None:
        for number in range(40):
            answer = await stage.client.post("/orders", content=json.dumps({"client": client, "n": number}))
            assert answer.status_code == 200

    async def changing(stage: Strangling) -> None:
        for share in (HELD, HANDED, HELD, OWNED) * 5:
            stage.share(share)
            before = len(done)
            if share is HELD:
                await stage.until(lambda: bool(stage.gateway.waiting) or len(done) == WRITES)
            else:
                await stage.until(lambda before=before: len(done) > before or len(done) == WRITES)
        stage.share(HANDED)

    async def play(stage: Strangling) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(changing(stage))
            for client in "abcdefgh":
                group.create_task(writing(stage, client))
        assert len(done) == WRITES
        for client in "abcdefgh":
            assert [number for name, number in done if name == client] == list(range(40))

    strangling(tmp_path, play, control=owner, candidate=owner, share=OWNED)


def test_the_tally_tells_what_is_still_under_way(tmp_path: Path) -> None:
    """Holding is confirmed at once, and writes of before are told until the last has ended: then the owner has all."""
    go_on = asyncio.Event()

    async def slow(peer: Peer, reader: Reader, writer: Writer) -> None:
        while True:
            await receive(peer, reader)
            await go_on.wait()
            writer.write(told({}))

    async def play(stage: Strangling) -> None:
        await stage.until(lambda: stage.written.version == 0)
        under_way = asyncio.create_task(stage.client.post("/orders"))
        await stage.until(lambda: len(stage.control.requests) == 1)
        stage.share(HELD)
        await stage.until(lambda: stage.written.version == 1)
        assert stage.written.routes[ROUTE].writing == 1
        waiting = asyncio.create_task(stage.client.post("/orders"))
        await stage.until(lambda: len(stage.gateway.waiting) == 1)
        assert stage.sums.writing == 1
        go_on.set()
        assert (await under_way).status_code == 200
        await stage.until(lambda: stage.written.routes[ROUTE].writing == 0)
        stage.share(HANDED)
        assert (await waiting).status_code == 200

    strangling(
        tmp_path, play, control=Raw(slow), candidate={}, share=OWNED, route={"policy": {"attempt": 30, "total": 30}}
    )
