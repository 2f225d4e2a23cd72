"""`serve` as users meet it: a process that reads a file, watches it, drains, and leaves nobody behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from envoy_stage import Answer, Peer, Stage, children, free_port
from name_server import address, name_server, service

SPEC = """
name: test
listeners: [{{port: {port}}}]
limits: {{body_timeout: 20}}
access_log: {{}}
services:
  a: {{url: "{url}"}}
routes:
  - path: /fixed
    respond: {{status: 200, body: {text}}}
  - path: /a
    service: a
    policy: {{attempts: 1}}
  - path: /both/{{id}}
    methods: [GET]
    aggregate:
      deadline: 5
      parts:
        one: {{service: a, path: "/one/{{id}}", required: true}}
        two: {{service: a, path: "/two/{{id}}"}}
"""

FOUND = """
name: test
listeners: [{{port: {port}}}]
routes:
  - {{path: /, service: stock}}
"""


class Gateway:
    """A gateway's process, and what it wrote."""

    def __init__(self, process: asyncio.subprocess.Process, file: Path, peer: Peer, port: int) -> None:
        self.process = process
        self.file = file
        self.peer = peer
        self.port = port
        self.lines: list[str] = []
        self.text = SPEC
        self.stage = Stage(port, {"a": peer}, None, None, {})  # type: ignore[arg-type]

    def write(self, text: str) -> None:
        beside = self.file.with_suffix(".new")
        beside.write_text(self.text.format(port=self.port, url=self.peer.url, text=text))
        beside.replace(self.file)

    async def ask(self, target: str) -> Answer:
        return await self.stage.ask(target)

    def children(self) -> dict[int, str]:
        """The processes that it started, by what they are."""
        return children(self.process.pid)


@asynccontextmanager
async def serving(folder: Path, *, text: str = SPEC, **environ: str) -> AsyncIterator[Gateway]:
    peer = Peer("a")
    peer.behaviour = lambda seen: Answer(
        headers={"content-type": "application/json"}, body=json.dumps({"path": seen.target}).encode()
    )
    await peer.listen()
    gateway = Gateway(None, folder / "gateway.yaml", peer, await free_port())  # type: ignore[arg-type]
    gateway.text = text
    gateway.write("first")
    command = (sys.executable, "-m", "skerry", "gateway", "run", str(gateway.file), "--engine", "envoy", "--watch")
    gateway.process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        env={**os.environ, **environ},
    )
    reading = asyncio.create_task(_read(gateway))
    try:
        async with asyncio.timeout(60):
            while not any("listens on" in line for line in gateway.lines):
                assert not reading.done(), gateway.lines
                await asyncio.sleep(0.01)
        yield gateway
    finally:
        if gateway.process.returncode is None:
            gateway.process.kill()
            await gateway.process.wait()
        await reading
        await peer.close()


async def _read(gateway: Gateway) -> None:
    assert gateway.process.stdout is not None
    async for line in gateway.process.stdout:
        gateway.lines.append(line.decode())


async def _until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not (await condition()):
            await asyncio.sleep(0.01)


def test_a_file_that_changes_is_served_and_one_that_is_wrong_changes_nothing(tmp_path: Path) -> None:
    """A new text is answered as soon as Envoy has taken it; a broken file is told in the log, and all goes on."""

    async def main() -> None:
        async with serving(tmp_path) as gateway:
            assert (await gateway.ask("/fixed")).body == b"first"
            gateway.write("second")

            async def changed() -> bool:
                return (await gateway.ask("/fixed")).body == b"second"

            await _until(changed)
            gateway.file.write_text("routes: {")

            async def told() -> bool:
                return any("not valid YAML" in line for line in gateway.lines)

            await _until(told)
            assert (await gateway.ask("/fixed")).body == b"second"
            assert "Traceback" not in "".join(gateway.lines)

    asyncio.run(main())


def test_aggregates_are_answered_behind_envoy_also_after_their_engine_was_killed(tmp_path: Path) -> None:
    """The embedded engine puts the parts together; when it dies, another one takes its place at the same address."""

    async def main() -> None:
        async with serving(tmp_path) as gateway:
            answer = await gateway.ask("/both/7")
            assert answer.status == 200
            assert answer.json() == {"one": {"path": "/one/7"}, "two": {"path": "/two/7"}, "missing": []}
            behind = next(pid for pid, name in gateway.children().items() if "skerry.gateway.envoy" in name)
            os.kill(behind, signal.SIGKILL)

            async def again() -> bool:
                return (await gateway.ask("/both/8")).status == 200 and behind not in gateway.children()

            await _until(again)

    asyncio.run(main())


def test_nobody_is_left_when_the_gateway_is_killed(tmp_path: Path) -> None:
    """After SIGKILL of the process that supervises, neither Envoy nor the embedded engine goes on."""

    async def main() -> None:
        async with serving(tmp_path) as gateway:
            children = gateway.children()
            assert any("envoy" in name and "--concurrency" in name for name in children.values())
            assert len(children) == 2
            gateway.process.kill()
            await gateway.process.wait()

            async def gone() -> bool:
                return not any(_runs(pid) for pid in children)

            await _until(gone)

    asyncio.run(main())


def test_instances_are_followed_where_a_discovery_says_they_are(tmp_path: Path) -> None:
    """A service that is found by SRV records is called where they say; when they change, where they say then."""

    async def main() -> None:
        one, two = Peer("one"), Peer("two")
        await one.listen()
        await two.listen()
        record = "_http._tcp.stock.test"
        async with name_server() as names:
            names.zone = {"i.stock.test": [address("127.0.0.1")], record: [service("i.stock.test", one.port)]}
            url = f"srv+http://{record}?nameserver={names.where}"
            async with serving(tmp_path, text=FOUND, SKERRY_URL_STOCK=url) as gateway:
                assert (await gateway.ask("/")).body == b"one /"
                names.zone[record] = [service("i.stock.test", two.port)]

                async def moved() -> bool:
                    return (await gateway.ask("/")).body == b"two /"

                await _until(moved)
        await one.close()
        await two.close()

    asyncio.run(main())


def test_a_request_under_way_is_answered_before_the_gateway_ends(tmp_path: Path) -> None:
    """At SIGTERM readiness says no, what was begun ends, and the process ends with status 0."""

    async def main() -> None:
        async with serving(tmp_path) as gateway:
            gateway.peer.behaviour = lambda _: Answer(hang=True)
            held = asyncio.create_task(gateway.ask("/a"))

            async def arrived() -> bool:
                return len(gateway.peer.seen) == 1

            await _until(arrived)
            gateway.process.terminate()

            async def drains() -> bool:
                with suppress(OSError, asyncio.IncompleteReadError):
                    return (await gateway.ask("/health/ready")).status == 503
                return True  # it listens no more: it was quicker than we looked

            await _until(drains)
            assert gateway.process.returncode is None
            assert (await held).status == 504  # when its attempt's time is over, and not before
            assert await gateway.process.wait() == 0

    asyncio.run(main())


def test_every_request_is_a_line_of_json(tmp_path: Path) -> None:
    """The access log goes to standard output, a line a request, without the query, where secrets are."""

    async def main() -> None:
        async with serving(tmp_path) as gateway:
            await gateway.ask("/a/x?token=secret")

            async def written() -> bool:
                return any('"/a/x"' in line for line in gateway.lines)

            await _until(written)
            line = json.loads(next(line for line in gateway.lines if '"/a/x"' in line))
            assert (line["method"], line["status"], line["route"], line["peer"]) == ("GET", 200, "/a", "127.0.0.1")
            assert (line["service"], line["attempts"], line["host"]) == ("a", 1, "gateway.test")
            assert not any("secret" in line for line in gateway.lines)

    asyncio.run(main())


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}
