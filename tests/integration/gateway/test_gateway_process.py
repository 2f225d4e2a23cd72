from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import late
import pytest
from name_server import address, name_server, service
from peers import Behaviour, Peer, answers, listening, receive, refusing_url, reply

SPEC = "name: front\nroutes:\n  - {path: /api, service: stock, policy: {total: 60, attempt: 60}}\n"


class Process:
    """A gateway as its own process."""

    def __init__(self, process: asyncio.subprocess.Process, client: httpx2.AsyncClient, stock: Peer) -> None:
        self.process = process
        self.client = client
        self.stock = stock

    async def logged(self, word: str) -> None:
        """Wait until a line of the log has this word."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            if word in json.loads(line).values():
                return
        raise AssertionError(f"the process ended without saying {word!r}")

    async def refuses_connections(self) -> bool:
        async with httpx2.AsyncClient(trust_env=False) as stranger:
            try:
                await stranger.get(self.client.base_url.join("/health/live"))
            except httpx2.ConnectError:
                return True
            return False


@asynccontextmanager
async def running(spec: Path, behaviour: Behaviour, **environ: str) -> AsyncIterator[Process]:
    url = refusing_url()
    async with listening(behaviour) as stock, httpx2.AsyncClient(base_url=url, trust_env=False, timeout=60.0) as client:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "skerry.gateway",
            str(spec),
            env={**os.environ, "SKERRY_PORT": url.rpartition(":")[2], "SKERRY_URL_STOCK": stock.url, **environ},
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            running_process = Process(process, client, stock)
            await running_process.logged("ready")
            while await running_process.refuses_connections():
                await asyncio.sleep(0.01)
            yield running_process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()
            process._transport.close()  # type: ignore[attr-defined]


def play(tmp_path: Path, behaviour: Behaviour, act: Callable[[Process], Awaitable[None]], **environ: str) -> None:
    spec = tmp_path / "gateway.yaml"
    spec.write_text(SPEC)

    async def main() -> None:
        async with running(spec, behaviour, **environ) as process:
            await act(process)

    asyncio.run(main())


class Gate:
    """A service that answers when it is told to."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def __call__(self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await receive(peer, reader)
            await self.open.wait()
            writer.write(reply(200, b"done"))
            await writer.drain()


def test_a_stop_finishes_what_is_under_way(tmp_path: Path) -> None:
    """On SIGTERM a request under way gets its reply, whoever comes later is refused, and the exit status is 0."""
    gate = Gate()

    async def act(process: Process) -> None:
        under_way = asyncio.create_task(process.client.get("/api/x"))
        while not process.stock.requests:
            await asyncio.sleep(0.01)
        process.process.send_signal(signal.SIGTERM)
        await process.logged("draining")
        while not await process.refuses_connections():
            await asyncio.sleep(0.01)
        gate.open.set()
        response = await under_way
        assert (response.status_code, response.content) == (200, b"done")
        assert await process.process.wait() == 0

    play(tmp_path, gate, act)


def test_a_stop_does_not_wait_for_ever(tmp_path: Path) -> None:
    """What is still under way after the drain time is cancelled, and the process ends all the same."""

    async def act(process: Process) -> None:
        under_way = asyncio.create_task(process.client.get("/api/x"))
        while not process.stock.requests:
            await asyncio.sleep(0.01)
        process.process.send_signal(signal.SIGTERM)
        assert await process.process.wait() == 0
        await asyncio.wait([under_way])

    play(tmp_path, Gate(), act, SKERRY_DRAIN="1")


def test_a_stop_under_load_loses_nothing(tmp_path: Path) -> None:
    """While a stopping gateway is called without pause, every request that got a connection gets a whole reply."""
    gate = Gate()
    gate.open.set()

    async def act(process: Process) -> None:
        served = 0

        async def call_without_pause() -> None:
            nonlocal served
            while True:
                response = await late.post(process.client, "/api/x")
                if response is None:
                    return
                assert response.status_code == 200
                served += 1

        callers = [asyncio.create_task(call_without_pause()) for _ in range(4)]
        while len(process.stock.requests) < 20:
            await asyncio.sleep(0.01)
        process.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*callers)
        assert served == len(process.stock.requests)
        assert await process.process.wait() == 0

    play(tmp_path, gate, act)


def test_a_supervised_process_stops_with_its_supervisor(tmp_path: Path) -> None:
    """When supervised, the end of standard input means stop, and SIGINT, meant for the supervisor, is ignored."""
    gate = Gate()
    gate.open.set()

    async def act(process: Process) -> None:
        process.process.send_signal(signal.SIGINT)
        assert (await process.client.get("/api/x")).status_code == 200
        assert process.process.stdin is not None
        process.process.stdin.close()
        assert await process.process.wait() == 0

    play(tmp_path, gate, act, SKERRY_SUPERVISED="1")


def test_a_person_stops_it_with_an_interrupt(tmp_path: Path) -> None:
    """When not supervised SIGINT is a clean stop, and the end of standard input is nothing."""
    gate = Gate()
    gate.open.set()

    async def act(process: Process) -> None:
        assert process.process.stdin is not None
        process.process.stdin.close()
        assert (await process.client.get("/api/x")).status_code == 200
        process.process.send_signal(signal.SIGINT)
        assert await process.process.wait() == 0

    play(tmp_path, gate, act)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("routes:\n  - {path: /a, service: a, colour: red}\n", "gateway.yaml:2: routes[0]: unknown key 'colour'"),
        ("routes:\n  - {path: /a, service: elsewhere}\n", "SKERRY_URL_ELSEWHERE"),
    ],
    ids=["mistake", "no address"],
)
def test_a_wrong_specification_is_told_in_one_line(tmp_path: Path, spec: str, words: str) -> None:
    """A mistake ends the process with status 2 and one line that says what and where, without a traceback."""
    (tmp_path / "gateway.yaml").write_text(spec)
    ended = subprocess.run(
        [sys.executable, "-m", "skerry.gateway", "gateway.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert words in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_instances_are_followed_where_a_discovery_says_they_are(tmp_path: Path) -> None:
    """A service that is found by SRV records is called where they say; when they change, where they say then."""
    spec = tmp_path / "gateway.yaml"
    spec.write_text(SPEC)
    record = "_http._tcp.stock.test"

    def at(peer: Peer) -> list[bytes]:
        return [service("i.stock.test", int(peer.url.rpartition(":")[2]))]

    async def main() -> None:
        one, two = answers(reply(200, b"one")), answers(reply(200, b"two"))
        async with listening(one) as first, listening(two) as second, name_server() as names:
            names.zone = {"i.stock.test": [address("127.0.0.1")], record: at(first)}
            url = f"srv+http://{record}?nameserver={names.where}"
            async with running(spec, one, SKERRY_URL_STOCK=url) as process:
                assert (await process.client.get("/api/x")).content == b"one"
                names.zone[record] = at(second)
                while (await process.client.get("/api/x")).content != b"two":
                    await asyncio.sleep(0.02)

    asyncio.run(main())
