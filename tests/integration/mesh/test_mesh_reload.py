"""`skerry run --mesh --reload`: a service goes on with its code as it changes, behind the same sidecar, and no caller notices."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import httpx2
from mesh_stage import BOUND, until

from skerry.deploy import Mesh, Reloader, Supervisor
from skerry.signals import ProcessChanged, ProcessReplaced, Signal
from skerry.topology import load

BANK = """
import grpc
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from skerry import Service

SAID = "before"


async def said(request):
    return PlainTextResponse(SAID)


async def one(request, context):
    return SAID.encode()


service = Service("bank", app=Starlette(routes=[Route("/said", said, methods=["POST"])]))
handlers = {"One": grpc.unary_unary_rpc_method_handler(one)}
service.grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Bank", handlers),))
"""
SHOP = """
from skerry import Service

service = Service("shop")
"""
SYSTEM = """
[system]
name = "tiny"
[services.shop]
app = "shop.app:service"
calls = ["bank"]
[services.bank]
app = "bank.app:service"
grpc = true
"""
PAUSE = 0.02
"""Seconds between an answer and the next call: whoever is to start has to have its turn, too."""


def put(file: Path, text: str) -> None:
    """In one step, as editors do."""
    file.parent.mkdir(exist_ok=True)
    partial = file.with_name(f".{file.name}.new")
    partial.write_text(text)
    partial.replace(file)


class Street:
    """A running shop that may call a bank through sidecars, and callers that do so at the shop's own and never stop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.heard: list[Signal] = []
        self.said: list[str] = []
        self.answers: list[str] = []
        self.failures: list[str] = []
        file = load(folder / "skerry.toml")
        self.system = Supervisor(file, data=folder / "var", mesh=Mesh(), emit=self.heard.append)
        self.reloader = Reloader(self.system, say=self.said.append)

    def put(self, said: str) -> None:
        put(self.folder / "bank" / "app.py", BANK.replace('"before"', repr(said)))

    def pids(self) -> dict[str, int | None]:
        return {process.name: process.pid for process in self.system.ps()}

    def replaced(self) -> list[tuple[str, bool]]:
        """Who was to be replaced, and whether that came about."""
        return [(each.name, not each.error) for each in self.heard if isinstance(each, ProcessReplaced)]

    async def until_answered(self, text: str, *, times: int = 10) -> None:
        """So many times from now on, as the last answers."""
        seen = len(self.answers)
        await until(lambda: len(self.answers) >= seen + times and set(self.answers[-times:]) == {text})

    @asynccontextmanager
    async def called(self) -> AsyncIterator[None]:
        sidecars = self.system._sidecars
        assert sidecars is not None
        url = sidecars.variables("shop")["SKERRY_URL_BANK"]
        callers = [self._by_http(url, keep=True), self._by_http(url, keep=False), self._by_grpc(url)]
        tasks = [asyncio.create_task(caller) for caller in callers]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _by_http(self, url: str, *, keep: bool) -> None:
        headers = {} if keep else {"connection": "close"}
        async with httpx2.AsyncClient(timeout=BOUND, trust_env=False) as client:

            async def call() -> str:  # a POST, which no sidecar repeats
                answer = await client.post(f"{url}/said", headers=headers)
                return answer.text if answer.status_code == 200 else f"{answer.status_code} {answer.text}"

            await self._again(call)

    async def _by_grpc(self, url: str) -> None:
        async with grpc.aio.insecure_channel(url.removeprefix("http://")) as channel:

            async def call() -> str:
                return (await channel.unary_unary("/Bank/One")(b"", timeout=BOUND)).decode()

            await self._again(call)

    async def _again(self, call: Callable[[], Awaitable[str]]) -> None:
        while True:
            try:
                text = await call()
                (self.answers if len(text.split()) == 1 else self.failures).append(text)
            except (httpx2.HTTPError, grpc.aio.AioRpcError) as error:
                self.failures.append(repr(error))
            await asyncio.sleep(PAUSE)


def on_the_street(folder: Path, play: Callable[[Street], Awaitable[None]]) -> Street:
    put(folder / "skerry.toml", SYSTEM)
    put(folder / "shop" / "app.py", SHOP)
    put(folder / "bank" / "app.py", BANK)
    street = Street(folder)

    async def main() -> None:
        async with street.system, street.called():
            await street.until_answered("before")
            await play(street)

    asyncio.run(main())
    return street


def test_changes_cost_no_request(tmp_path: Path) -> None:
    """Each new process takes over behind the sidecar that is there, over HTTP and gRPC; code that fails does not."""

    async def play(street: Street) -> None:
        reloading = asyncio.create_task(street.reloader.run())
        before = street.pids()
        async with asyncio.timeout(BOUND):
            while not street.said:  # it watches once it tells of a change
                street.put("second")
                await asyncio.sleep(0.2)
        await street.until_answered("second")
        (tmp_path / "bank" / "app.py").write_text("import nothing_of_that_name\n")
        await until(lambda: ("bank", False) in street.replaced())
        await street.until_answered("second")
        street.put("third")
        await street.until_answered("third")
        reloading.cancel()
        await asyncio.wait({reloading})
        after = street.pids()
        assert after.pop("bank") != before.pop("bank")
        assert after == before
        assert street.failures == []

    street = on_the_street(tmp_path, play)
    states = [each.state for each in street.heard if isinstance(each, ProcessChanged) and each.name == "bank"]
    assert states == ["starting", "ready", "stopping", "stopped"]


def test_what_took_over_is_kept_alive_where_its_sidecar_calls_it(tmp_path: Path) -> None:
    """Killed, it comes back at its own socket; a sidecar that was down is told where; who was held starts there."""

    async def play(street: Street) -> None:
        assert await street.system.replace("bank") == ""
        await street.system.hold("bank-sidecar")
        street.put("second")
        assert await street.system.replace("bank") == ""
        street.system.release("bank-sidecar")
        await street.until_answered("second")
        pid = street.pids()["bank"]
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: street.pids()["bank"] not in {None, pid})
        await street.until_answered("second")
        await street.system.hold("bank")
        street.put("third")
        assert await street.system.replace("bank") == ""
        street.system.release("bank")
        await street.until_answered("third")

    on_the_street(tmp_path, play)


def test_who_is_called_waits_for_a_restart(tmp_path: Path) -> None:
    """A sidecar has a port for each that its service may call, reserved at the start: another is told, and the rest taken."""
    put(tmp_path / "skerry.toml", SYSTEM)
    street = Street(tmp_path)
    put(
        tmp_path / "skerry.toml", SYSTEM.replace('app = "bank.app:service"', 'app = "bank.app:other"\ncalls = ["shop"]')
    )
    assert street.reloader._tables({tmp_path / "skerry.toml"}) == {"bank"}
    assert street.said == ["skerry.toml: services.bank.calls: takes effect when the system is started again"]
    assert street.system.system.services["bank"].calls == ()
