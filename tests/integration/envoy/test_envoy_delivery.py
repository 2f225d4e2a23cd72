"""Configuration reaches a real Envoy, and who gives it knows whether it did."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from envoy_stage import NODE, Stage, envoy, free_port, on_envoy, route, specification

from skerry.envoy import AdsServer, EnvoyProcess, FileDelivery, Resources
from skerry.errors import ConfigurationRefused, EnvoyError
from skerry.gateway.envoy import compile as compiled
from skerry.gateway.model import Backend, Forward, Limits, Respond

TO_A, TO_B = Forward((Backend("a"),)), Forward((Backend("b"),))


def test_what_was_taken_is_served() -> None:
    """When `publish` returns, the next request on a new connection is answered by the new rules."""

    async def play(stage: Stage) -> None:
        for number in range(20):
            await stage.change(route("/", Respond(200, f"answer {number}")))
            assert (await stage.ask("/")).body == f"answer {number}".encode()

    on_envoy(route("/", Respond(200, "first")), play=play)


def test_what_envoy_refuses_is_told_in_its_words_and_changes_nothing() -> None:
    """A configuration that Envoy does not take raises, the one before stands, and the next one is taken."""

    async def play(stage: Stage) -> None:
        spec = specification(route("/", TO_A), port=stage.port)
        made = compiled(spec, addresses=stage.addresses).resources
        name, routes = next(iter(made.routes.items()))
        doubled = [*routes["virtual_hosts"], *routes["virtual_hosts"]]
        broken = Resources(made.clusters, made.listeners, {name: {**routes, "virtual_hosts": doubled}})
        with pytest.raises(ConfigurationRefused, match="single wildcard domain"):
            await stage.ads.publish(broken, node=NODE)
        assert (await stage.ask("/")).body == b"first"
        await stage.change(route("/", Respond(200, "second")))
        assert (await stage.ask("/")).body == b"second"

    on_envoy(route("/", Respond(200, "first")), play=play)


def test_a_port_that_is_taken_is_a_refusal() -> None:
    """Envoy's answer says what it could not listen on; the listener that it had stays."""

    async def play(stage: Stage) -> None:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        taken = server.sockets[0].getsockname()[1]
        other = compiled(specification(route("/", TO_A), port=taken), addresses=stage.addresses)
        with pytest.raises(ConfigurationRefused, match=str(taken)):
            await stage.ads.publish(other.resources, node=NODE)
        assert (await stage.ask("/")).body == b"first"
        server.close()

    on_envoy(route("/", Respond(200, "first")), play=play)


def test_a_field_that_does_not_exist_is_refused_before_it_is_sent() -> None:
    """A value that Envoy's API does not have raises with the resource's name."""

    async def main() -> None:
        async with envoy(Resources()) as (ads, _):
            with pytest.raises(ConfigurationRefused, match="'x' of clusters"):
                await ads.publish(Resources(clusters={"x": {"name": "x", "no_such_field": 1}}), node=NODE)

    asyncio.run(main())


def test_nobody_there_is_an_error_in_time(tmp_path: Path) -> None:
    """Without an Envoy of that name, `publish` gives up after the time that it was given."""

    async def main() -> None:
        async with AdsServer(tmp_path / "ads.sock") as ads:
            with pytest.raises(EnvoyError, match="'nobody'"):
                await ads.publish(Resources(), node="nobody", within=0.05)

    asyncio.run(main())


def test_each_envoy_gets_what_is_its_own(tmp_path: Path) -> None:
    """Two Envoys with names of their own are served by one server, each its own configuration."""

    async def main() -> None:
        folders = [tmp_path / name for name in ("one", "two")]
        ports = [await free_port(), await free_port()]
        async with AdsServer(tmp_path / "ads.sock") as ads:
            processes = []
            for folder, port in zip(folders, ports, strict=True):
                folder.mkdir()
                (folder / EnvoyProcess.ADS_SOCKET).symlink_to(tmp_path / "ads.sock")
                made = compiled(specification(route("/", Respond(200, folder.name)), port=port), addresses={})
                ads.offer(made.resources, node=folder.name)
                processes.append(EnvoyProcess(folder, node=folder.name, drain=0.1))
            try:
                await asyncio.gather(*(process.start() for process in processes))
                for folder, port in zip(folders, ports, strict=True):
                    stage = Stage(port, {}, ads, processes[0], {})
                    assert (await stage.ask("/")).body == folder.name.encode()
                    assert ads.connected(folder.name) == 1
            finally:
                await asyncio.gather(*(process.stop() for process in processes))

    asyncio.run(main())


def test_files_deliver_as_well(tmp_path: Path) -> None:
    """Without gRPC, files that are renamed into place are served, the first ones and those after."""

    async def main() -> None:
        port = await free_port()
        files = FileDelivery(tmp_path)

        def write(text: str) -> None:
            files.write(compiled(specification(route("/", Respond(200, text)), port=port), addresses={}).resources)

        write("one")
        async with EnvoyProcess(tmp_path, node=NODE, source="files", drain=0.1) as process:
            stage: Any = Stage(port, {}, None, process, {})  # type: ignore[arg-type]
            assert (await stage.ask("/")).body == b"one"
            write("two")
            async with asyncio.timeout(10):
                while (await stage.ask("/")).body != b"two":
                    pass

    asyncio.run(main())


def test_nothing_is_lost_while_the_rules_change() -> None:
    """Under load, every request is answered by the old rules or by the new ones, whatever part of them changes."""

    async def play(stage: Stage) -> None:
        ended = asyncio.Event()
        answers: list[tuple[int, bytes]] = []

        async def client() -> None:
            while not ended.is_set():
                answer = await stage.ask("/")
                answers.append((answer.status, answer.body))

        clients = [asyncio.create_task(client()) for _ in range(4)]
        for number in range(12):
            # a route, a cluster, and, by its limits, the listener itself
            limits = Limits(headers=100 + number % 3)
            await stage.change(route("/", TO_A if number % 2 else TO_B), limits=limits)
            before = len(answers)
            while len(answers) < before + 20:
                await asyncio.sleep(0)
        ended.set()
        await asyncio.gather(*clients)
        assert set(answers) == {(200, b"a /"), (200, b"b /")}

    on_envoy(route("/", TO_A), play=play)


def test_one_that_is_killed_comes_back_and_has_its_rules() -> None:
    """After SIGKILL it is started again and asks for its configuration by itself."""

    async def play(stage: Stage) -> None:
        await stage.change(route("/", Respond(200, "second")))
        pid = stage.process.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while True:
                try:
                    answer = await stage.ask("/")
                    break
                except (OSError, asyncio.IncompleteReadError):
                    await asyncio.sleep(0)
        assert answer.body == b"second"
        assert stage.process.pid != pid
        await stage.change(route("/", Respond(200, "third")))
        assert (await stage.ask("/")).body == b"third"

    on_envoy(route("/", Respond(200, "first")), play=play)


def test_one_that_cannot_start_says_its_last_words(tmp_path: Path) -> None:
    """A program that ends at once is tried so often, and then the error has what it wrote."""

    async def main() -> None:
        program = tmp_path / "program"
        program.write_text("#!/bin/sh\necho '[error][main] cannot do it' >&2\nexit 1\n")
        program.chmod(0o700)
        process = EnvoyProcess(tmp_path, node=NODE, program=program, most_restarts=1)
        with pytest.raises(EnvoyError, match="cannot do it"):
            await process.start()
        assert process.pid is None

    asyncio.run(main())
