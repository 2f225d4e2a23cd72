"""A supervisor with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from systems import Lines, alive, command, get, until, write_system

from skerry.deploy import Supervisor
from skerry.deploy.processes import Launch, Process
from skerry.errors import ConfigurationError, DeployError
from skerry.signals import ProcessChanged, Signal
from skerry.topology import load


def supervisor(
    folder: Path, *, gateway: bool = False, modes: dict[str, str] | None = None, **options: Any
) -> Supervisor:
    file = write_system(folder, gateway=gateway, **(modes or {"one": "normal", "other": "normal"}))
    options.setdefault("data", folder / "var")
    return Supervisor(load(file), command=command, **options)


def info(system: Supervisor, name: str) -> Any:
    return next(process for process in system.ps() if process.name == name)


def test_all_processes_become_ready_and_stop(tmp_path: Path) -> None:
    """Start returns when all are ready, each with its own port and environment; stop leaves none."""

    async def main() -> None:
        system = supervisor(tmp_path, gateway=True)
        async with system:
            processes = system.ps()
            assert [(p.name, p.state, p.ready, p.restarts) for p in processes] == [
                (name, "ready", True, 0) for name in ("one", "other", "gateway")
            ]
            assert len({p.url for p in processes}) == 3
            assert system.url == processes[-1].url
            answer = await asyncio.to_thread(get, processes[0].url)
            assert answer.split(" ")[:3] == [str(processes[0].pid), processes[1].url, str(tmp_path)]
            assert answer.split(" ")[3].startswith(str(tmp_path))
        assert [p.state for p in system.ps()] == ["stopped"] * 3
        assert not any(alive(p.pid) for p in processes)

    asyncio.run(main())


@pytest.mark.parametrize("circle", [False, True])
def test_a_service_starts_when_those_that_it_calls_are_ready(tmp_path: Path, circle: bool) -> None:
    """In the order of the calls whatever the order of the file; those that call each other in a circle start together."""
    file = write_system(tmp_path, gateway=True, one="normal", two="normal", other="normal")
    text = file.read_text().replace("[services.one]", '[services.one]\ncalls = ["two"]')
    text = text.replace("[services.two]", '[services.two]\ncalls = ["other"]')
    if circle:
        text = text.replace("[services.other]", '[services.other]\ncalls = ["one"]')
    file.write_text(text.replace("[gateway]", '[gateway]\ncalls = ["one"]'))
    seen: list[tuple[str, str]] = []

    def see(signal: Signal) -> None:
        if isinstance(signal, ProcessChanged):
            seen.append((signal.name, signal.state))

    async def main() -> None:
        system = Supervisor(load(file), data=tmp_path / "var", command=command, emit=see)
        async with system:
            assert [process.name for process in system.ps()] == ["one", "two", "other", "gateway"]

    asyncio.run(main())
    begun = [seen.index((name, "starting")) for name in ("other", "two", "one", "gateway")]
    ready = [seen.index((name, "ready")) for name in ("other", "two", "one")]
    if circle:
        assert max(begun[:3]) < min(ready) < max(ready) < begun[3]
    else:
        assert begun[0] < ready[0] < begun[1] < ready[1] < begun[2] < ready[2] < begun[3]


def test_a_service_answers_where_its_table_says(tmp_path: Path) -> None:
    """`port` of a service is where it is, and when somebody else has it the error says where to choose another."""

    async def main() -> None:
        async with supervisor(tmp_path) as first:
            url = info(first, "one").url
        file = tmp_path / "skerry.toml"
        port = url.rpartition(":")[2]
        file.write_text(file.read_text().replace("[services.other]", f"[services.other]\nport = {port}"))
        system = Supervisor(load(file), data=tmp_path / "var", command=command)
        async with system:
            assert info(system, "other").url == url
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before may linger there
            taken.bind(("127.0.0.1", int(port)))
            taken.listen()
            with pytest.raises(ConfigurationError, match=r"choose another with port in \[services\.other\]"):
                await Supervisor(load(file), data=tmp_path / "var", command=command).start()

    asyncio.run(main())


def test_crashed_process_is_restarted_on_its_port(tmp_path: Path) -> None:
    """A crash is counted, its reason is told, and the process comes back at the same address with another id."""
    changes: list[ProcessChanged] = []

    async def main() -> None:
        async with supervisor(tmp_path, emit=changes.append) as system:
            for restarts in (1, 2):
                before = info(system, "one")
                system.kill("one")
                await until(lambda r=restarts: info(system, "one").restarts == r and info(system, "one").ready)
                assert info(system, "one").url == before.url
                assert info(system, "one").pid != before.pid
            assert info(system, "other").restarts == 0

    asyncio.run(main())
    states = [change.state for change in changes if change.name == "one"]
    assert states == [*["starting", "ready", "crashed"] * 2, "starting", "ready", "stopping", "stopped"]
    assert {change.reason for change in changes if change.state == "crashed"} == {"signal SIGKILL"}


def test_held_process_stays_down_until_released(tmp_path: Path) -> None:
    """Hold returns when the process is gone and its port refuses; release brings it back, and neither counts as a restart."""

    async def main() -> None:
        async with supervisor(tmp_path) as system:
            before = info(system, "one")
            held = await system.hold("one")
            assert (held.state, held.pid, held.ready) == ("held", None, False)
            assert not alive(before.pid)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", int(before.url.rpartition(":")[2]))
            assert (await system.hold("one")).state == "held"
            system.release("one")
            await until(lambda: info(system, "one").ready)
            assert info(system, "one").restarts == 0

    asyncio.run(main())


def test_held_process_does_not_hinder_stop(tmp_path: Path) -> None:
    """A system with a held process stops like any other."""

    async def main() -> None:
        async with supervisor(tmp_path) as system:
            await system.hold("one")
        assert info(system, "one").state == "stopped"

    asyncio.run(main())


def test_process_that_fails_its_check_is_running(tmp_path: Path) -> None:
    """A process that was ready and fails its check now is shown as running, is not killed, and can become ready again."""

    async def main() -> None:
        async with supervisor(tmp_path) as system:
            pid = info(system, "one").pid
            sick = tmp_path / "var" / "one.sick"
            sick.touch()
            await until(lambda: info(system, "one").state == "running")
            assert not info(system, "one").ready
            sick.unlink()
            await until(lambda: info(system, "one").ready)
            assert info(system, "one").pid == pid

    asyncio.run(main())


def test_start_fails_when_a_process_keeps_ending(tmp_path: Path) -> None:
    """A service that cannot run makes the start fail with its name and its last lines, written out, and nothing stays behind."""
    changes: list[ProcessChanged] = []

    async def main() -> None:
        system = supervisor(tmp_path, modes={"one": "normal", "two": "broken"}, emit=changes.append)
        with pytest.raises(
            DeployError,
            match=r"(?s)two ended 3 times .*exit code 3.*\n  \S+ ERROR it cannot start\n  no module named order",
        ):
            await system.start()

    asyncio.run(main())
    assert not any(alive(change.pid) for change in changes if change.pid)


def test_start_fails_when_a_process_is_never_ready(tmp_path: Path) -> None:
    """The time to start is bounded; the error names who was late."""

    async def main() -> None:
        system = supervisor(tmp_path, modes={"one": "deaf"}, start_timeout=0.5)
        with pytest.raises(DeployError, match=r"one did not become ready within 0\.5 s"):
            await system.start()
        assert info(system, "one").state == "stopped"

    asyncio.run(main())


def test_command_that_does_not_exist(tmp_path: Path) -> None:
    """A process that cannot even be created is a failed start, not a crash of the supervisor."""

    async def main() -> None:
        file = write_system(tmp_path, gateway=False, one="normal")
        system = Supervisor(load(file), data=tmp_path / "var", command=lambda spec: ("/nonexistent",))
        with pytest.raises(DeployError, match=r"one ended 3 times .*No such file"):
            await system.start()

    asyncio.run(main())


def test_stubborn_process_is_killed_after_its_grace(tmp_path: Path) -> None:
    """A process that ignores SIGTERM is killed when its time to drain is over."""

    async def main() -> None:
        environ = {**os.environ, "SKERRY_DRAIN": "0"}
        async with supervisor(tmp_path, modes={"one": "stubborn"}, environ=environ) as system:
            pid = info(system, "one").pid
        assert not alive(pid)

    asyncio.run(main())


def test_second_request_to_stop_kills_at_once(tmp_path: Path) -> None:
    """Asked twice, the supervisor does not wait for anybody to drain."""

    async def main() -> None:
        environ = {**os.environ, "SKERRY_DRAIN": "3600"}
        async with supervisor(tmp_path, modes={"one": "stubborn"}, environ=environ) as system:
            pid = info(system, "one").pid
            system.request_stop()
            system.request_stop()
        assert not alive(pid)

    asyncio.run(main())


def test_a_process_that_was_killed_may_still_be_asked_to_stop(tmp_path: Path) -> None:
    """How it ended stays known, also while asyncio has not heard of it yet."""

    async def main() -> int:
        sleeper = Launch(
            name="one", port=1, command=("sleep", "600"), folder=tmp_path, environment=os.environ, grace=1.0
        )
        process = await Process.start(sleeper, print)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        process.terminate()
        return await process.wait()

    if sys.version_info < (3, 12):  # later ones have no thread either that may hear of it first
        watcher = asyncio.get_child_watcher()
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
        try:
            assert asyncio.run(main()) == -signal.SIGKILL
        finally:
            asyncio.set_child_watcher(watcher)
    else:
        assert asyncio.run(main()) == -signal.SIGKILL


def test_cancelled_stop_kills_at_once(tmp_path: Path) -> None:
    """A stop that is cancelled leaves no process behind."""

    async def main() -> None:
        environ = {**os.environ, "SKERRY_DRAIN": "3600"}
        system = supervisor(tmp_path, modes={"one": "stubborn"}, environ=environ)
        await system.start()
        pid = info(system, "one").pid
        stopping = asyncio.create_task(system.stop())
        await until(lambda: info(system, "one").state == "stopping")
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert not alive(pid)

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["family", "outbreak"])
def test_children_of_a_killed_process(tmp_path: Path, mode: str) -> None:
    """What a process has started dies with it; what left its session lives on, but cannot hold up the supervisor."""
    lines = Lines()

    def children() -> list[int]:
        return [int(text.removeprefix("child ")) for _, text in lines.all if text.startswith("child ")]

    async def main() -> None:
        async with supervisor(tmp_path, modes={"one": mode}, output=lines) as system:
            await until(lambda: ("one", "born") in lines.all and children())
            child = children()[0]
            await system.hold("one")
            if mode == "family":
                await until(lambda: not alive(child))
            else:
                os.kill(child, signal.SIGKILL)

    asyncio.run(main())


def test_flood_of_output(tmp_path: Path) -> None:
    """A process that writes without end stays ready, its lines are bounded, and the others are not held up."""
    lines = Lines()

    async def main() -> None:
        async with supervisor(tmp_path, modes={"one": "flood", "other": "normal"}, output=lines) as system:
            await until(lambda: len(lines.all) > 50_000)
            system.kill("other")
            await until(lambda: info(system, "other").restarts == 1 and info(system, "other").ready)
            assert info(system, "one").restarts == 0

    asyncio.run(main())
    assert max(len(text) for _, text in lines.all) == 64 * 1024 + len(" [cut]")


def test_data_folder_in_use_is_refused(tmp_path: Path) -> None:
    """Two supervisors cannot share a data folder; the second one changes nothing for the first."""

    async def main() -> None:
        async with supervisor(tmp_path) as first:
            with pytest.raises(ConfigurationError, match=f"in use by a running system .process {os.getpid()}"):
                await supervisor(tmp_path).start()
            assert all(process.ready for process in first.ps())
        async with supervisor(tmp_path) as again:
            assert all(process.ready for process in again.ps())

    asyncio.run(main())


def test_gateway_port_in_use_is_refused(tmp_path: Path) -> None:
    """A port that somebody else listens on is an error that names it, before any process is started."""
    changes: list[ProcessChanged] = []

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(ConfigurationError, match=f"port {port} on 127.0.0.1 is in use"):
                await supervisor(tmp_path, gateway=True, port=port, emit=changes.append).start()

    asyncio.run(main())
    assert all(change.state == "stopped" for change in changes)


def test_gateway_port_is_kept_and_given_back(tmp_path: Path) -> None:
    """The gateway gets the port that was asked for, also right after another run has used it."""

    async def main() -> None:
        async with supervisor(tmp_path, gateway=True) as first:
            port = int(first.url.rpartition(":")[2])
            await asyncio.to_thread(get, first.url)
        async with supervisor(tmp_path, gateway=True, port=port) as second:
            assert second.url == first.url
            with pytest.raises(ConfigurationError, match="is in use"):
                await supervisor(tmp_path, gateway=True, port=port, data=tmp_path / "else").start()

    asyncio.run(main())


def test_unknown_name(tmp_path: Path) -> None:
    """An operation on a process that is not there names those that are."""

    async def main() -> None:
        async with supervisor(tmp_path) as system:
            with pytest.raises(DeployError, match="has no process 'two': it has one, other"):
                await system.hold("two")

    asyncio.run(main())
