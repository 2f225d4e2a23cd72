"""`skerry run --reload`: services go on with their code as it changes, and nobody who calls them notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
from systems import BOUND, alive, get, until

from skerry.deploy import Reloader, Supervisor
from skerry.deploy.processes import Process
from skerry.deploy.reloading import MAX_WAITING
from skerry.signals import ProcessChanged, ProcessReplaced, Signal
from skerry.topology import load

SERVICE = """
import os
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from skerry import Service

import words


async def said(request):
    return PlainTextResponse({said!r} + words.END + os.environ.get("TWO", ""))


service = Service({name!r}, app=Starlette(routes=[Route("/said", said)]))
"""
FILE = """
[system]
name = "changing"
[services.one]
app = "one.app:service"
database = "sqlite:///one.db"
[services.two]
app = "two.app:service"
env = { TWO = "1" }
"""


def write(folder: Path, name: str, said: str) -> None:
    """The service's code, replaced in one step, as editors do."""
    put(folder / name / "app.py", SERVICE.replace("{said!r}", repr(said)).replace("{name!r}", repr(name)))


def put(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    partial = file.with_name(f".{file.name}.new")
    partial.write_text(text)
    partial.replace(file)


class Changing:
    """A running system of two services whose code can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signals: list[Signal] = []
        self.said: list[str] = []
        self.supervisor = Supervisor(load(folder / "skerry.toml"), data=folder / "var", emit=self.signals.append)
        self.reloader = Reloader(self.supervisor, say=self.said.append)

    def pids(self) -> dict[str, int | None]:
        return {process.name: process.pid for process in self.supervisor.ps()}

    def url(self, name: str) -> str:
        return next(process.url for process in self.supervisor.ps() if process.name == name)

    def replaced(self) -> list[tuple[str, bool]]:
        """Who was to be replaced, and whether that came about."""
        return [(each.name, not each.error) for each in self.signals if isinstance(each, ProcessReplaced)]


@asynccontextmanager
async def changing(folder: Path) -> AsyncIterator[Changing]:
    (folder / "skerry.toml").write_text(FILE)
    (folder / "words.py").write_text("END = '.'")
    for name in ("one", "two"):
        write(folder, name, "before")
    system = Changing(folder)
    async with system.supervisor:
        reloading = asyncio.create_task(system.reloader.run())
        await until_it_watches(system)
        yield system
        reloading.cancel()
        await asyncio.wait({reloading})


async def until_it_watches(system: Changing) -> None:
    """It says so of a change that concerns no service: the system's file with another name in it."""
    text = FILE.replace('"changing"', '"other"')
    async with asyncio.timeout(BOUND):
        while not system.said:
            put(system.folder / "skerry.toml", text)
            await asyncio.sleep(0.2)
    put(system.folder / "skerry.toml", FILE)


async def until_said(system: Changing, name: str, text: str) -> None:
    """Whoever takes over is not alone at once: the one before still answers those that come meanwhile."""
    async with asyncio.timeout(BOUND):
        while await asyncio.to_thread(get, f"{system.url(name)}/said") != text:
            await asyncio.sleep(PAUSE)


PAUSE = 0.02
"""Seconds between an answer and the next request: whoever is to start has to have its turn, too."""


class Callers:
    """Clients that never stop asking, each with a connection of its own that is kept or a new one each time."""

    def __init__(self, url: str) -> None:
        self.answers: list[str] = []
        self.failures: list[str] = []
        self._url = url
        self._tasks: list[asyncio.Task[None]] = []

    async def _ask(self, *, keep: bool) -> None:
        headers = {} if keep else {"connection": "close"}
        async with httpx2.AsyncClient(timeout=BOUND, trust_env=False) as client:
            while True:
                try:
                    answer = await client.get(f"{self._url}/said", headers=headers)
                    self.answers.append(answer.text)
                    if answer.status_code != 200:
                        self.failures.append(f"{answer.status_code} {answer.text}")
                except httpx2.HTTPError as error:
                    self.failures.append(repr(error))
                await asyncio.sleep(PAUSE)

    async def __aenter__(self) -> Callers:
        self._tasks = [asyncio.create_task(self._ask(keep=number % 2 == 0)) for number in range(4)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


def test_a_change_costs_no_request(tmp_path: Path) -> None:
    """Under load the new code takes over, only where it changed, and every request is answered by the one or the other."""

    async def main() -> None:
        async with changing(tmp_path) as system, Callers(system.url("one")) as callers:
            before = system.pids()
            await until(lambda: len(callers.answers) > 10)
            write(tmp_path, "one", "after")
            await until(lambda: callers.answers[-1] == "after.")
            seen = len(callers.answers)
            await until(lambda: len(callers.answers) > seen + 10)
            await until(system.replaced)  # its first answers come before anybody is told
            after = system.pids()
            assert callers.failures == []
            assert set(callers.answers) == {"before.", "after."}
            assert system.replaced() == [("one", True)]
            assert after["one"] != before["one"]
            assert after["two"] == before["two"]
        states = [each.state for each in system.signals if isinstance(each, ProcessChanged) and each.name == "one"]
        assert states == ["starting", "ready", "stopping", "stopped"]

    asyncio.run(main())


def test_changes_in_quick_succession_cost_no_request(tmp_path: Path) -> None:
    """Whoever took over a moment ago is not stopped because the one before, which still drains, answered in its place."""

    async def main() -> None:
        async with changing(tmp_path) as system, Callers(system.url("one")) as callers:
            await until(lambda: len(callers.answers) > 10)
            for _ in range(5):
                assert await system.supervisor.replace("one") == ""
            seen = len(callers.answers)
            await until(lambda: len(callers.answers) > seen + 10)
            assert callers.failures == []
        states = [each.state for each in system.signals if isinstance(each, ProcessChanged) and each.name == "one"]
        assert states == ["starting", "ready", "stopping", "stopped"]

    asyncio.run(main())


def test_code_that_does_not_start_changes_nothing(tmp_path: Path) -> None:
    """The old process stays and serves, it is said why, and the next change is tried again."""

    async def main() -> None:
        async with changing(tmp_path) as system, Callers(system.url("one")) as callers:
            before = system.pids()
            (tmp_path / "one" / "app.py").write_text("import nothing_of_that_name\n")
            await until(lambda: ("one", False) in system.replaced())
            failed = next(each for each in system.signals if isinstance(each, ProcessReplaced))
            assert "nothing_of_that_name" in failed.error
            assert (failed.before, failed.pid) == (before["one"], before["one"])
            seen = len(callers.answers)
            await until(lambda: len(callers.answers) > seen + 5)
            write(tmp_path, "one", "mended")
            await until(lambda: callers.answers[-1] == "mended.")
            assert callers.failures == []

    asyncio.run(main())


def test_what_both_import_and_what_is_in_a_table(tmp_path: Path) -> None:
    """A file that both import replaces both; a service's own table in the system file only that one."""

    async def main() -> None:
        async with changing(tmp_path) as system:
            put(tmp_path / "words.py", "END = '!'")
            await until(lambda: {("one", True), ("two", True)} <= set(system.replaced()))
            await until_said(system, "one", "before!")
            await until_said(system, "two", "before!1")
            before, count = system.pids(), system.replaced().count(("two", True))
            put(tmp_path / "skerry.toml", FILE.replace('TWO = "1"', 'TWO = "2"'))
            await until(lambda: system.replaced().count(("two", True)) > count)
            await until_said(system, "two", "before!2")
            assert system.pids()["one"] == before["one"]

    asyncio.run(main())


def test_of_more_changes_than_can_be_remembered_none_is_lost(tmp_path: Path) -> None:
    """So many files changed at once that some are forgotten: every service is started anew."""

    async def main() -> None:
        async with changing(tmp_path) as system:
            system.reloader.tell({tmp_path / f"{number}.txt" for number in range(MAX_WAITING)})
            system.reloader.tell({tmp_path / "one" / "app.py"})
            await until(lambda: {("one", True), ("two", True)} <= set(system.replaced()))

    asyncio.run(main())


def test_a_table_that_is_of_no_use_changes_nothing(tmp_path: Path) -> None:
    """A setting that no process could read is told as the reason, and the next change of the table is tried again."""

    async def main() -> None:
        async with changing(tmp_path) as system:
            before = system.pids()
            put(tmp_path / "skerry.toml", FILE.replace('TWO = "1"', 'SKERRY_DRAIN = "soon"'))
            await until(lambda: ("two", False) in system.replaced())
            failed = next(each for each in system.signals if isinstance(each, ProcessReplaced) and each.error)
            assert "SKERRY_DRAIN" in failed.error
            assert system.pids() == before
            put(tmp_path / "skerry.toml", FILE.replace('TWO = "1"', 'TWO = "2"'))
            await until(lambda: ("two", True) in system.replaced())
            await until_said(system, "two", "before.2")

    asyncio.run(main())


def test_what_waits_for_a_restart_holds_up_nothing_else(tmp_path: Path) -> None:
    """A port of its own that a service is given meanwhile, also one for gRPC, is told; the rest of its table holds at once."""

    async def main() -> None:
        async with changing(tmp_path) as system:
            url = system.url("two")
            put(tmp_path / "skerry.toml", FILE.replace('TWO = "1" }', 'TWO = "2" }\ngrpc = true\nport = 9'))
            await until(lambda: ("two", True) in system.replaced())
            await until_said(system, "two", "before.2")
            assert "services.two.grpc, services.two.port" in system.said[-2]
            assert system.url("two") == url

    asyncio.run(main())


def test_a_process_that_is_down_is_started_at_once(tmp_path: Path) -> None:
    """Whoever is held stays down; whoever waits for its restart has it as soon as the code is another."""

    async def main() -> None:
        async with changing(tmp_path) as system:
            await system.supervisor.hold("one")
            write(tmp_path, "one", "after")
            await until(lambda: ("one", True) in system.replaced())
            assert system.pids()["one"] is None
            system.supervisor.release("one")
            await until(lambda: all(process.ready for process in system.supervisor.ps()))
            assert await asyncio.to_thread(get, f"{system.url('one')}/said") == "after."

    asyncio.run(main())


def test_a_successor_that_is_ready_too_late_is_ended(tmp_path: Path) -> None:
    """Whoever waits for it is cancelled at the moment that it is ready: it ends, and the process before stays."""

    async def main() -> None:
        async with changing(tmp_path) as system:
            before = system.pids()
            keeper = system.supervisor._keepers["one"]
            waiting = asyncio.create_task(system.supervisor.replace("one"))
            await until(lambda: keeper._replacing)
            successor = keeper._replacing
            assert successor is not None
            successor.add_done_callback(lambda _: waiting.cancel())
            await asyncio.wait({waiting})
            assert waiting.cancelled()
            process = successor.result()
            assert isinstance(process, Process)
            assert not alive(process.pid)
            assert system.pids() == before

    asyncio.run(main())


def test_a_stop_in_the_midst_of_it_leaves_nobody(tmp_path: Path) -> None:
    """A system that is stopped while a service is being replaced ends both processes of it."""

    async def main() -> None:
        async with changing(tmp_path) as system:
            (tmp_path / "one" / "app.py").write_text("import time\ntime.sleep(600)\n")
            await until(lambda: any("one changed" in line for line in system.said))
        assert [process.state for process in system.supervisor.ps()] == ["stopped", "stopped"]

    asyncio.run(main())
