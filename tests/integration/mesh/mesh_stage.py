"""A system of small services with real sidecars, and callers from outside that show what certificates they like."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skerry.deploy import Mesh, Supervisor, ask, running
from skerry.envoy import AdsServer, EnvoyProcess
from skerry.envoy.mesh import Authority, Identity, Rotation, Sidecar
from skerry.signals import Signal
from skerry.testing import VirtualClock
from skerry.topology import Gateway, ServiceSpec, load

ECHO = Path(__file__).with_name("mesh_echo.py")
BOUND = 60.0
SYSTEM = """
[system]
name = "tiny"
[gateway]
spec = "gateway.yaml"
calls = ["shop"]
[services.shop]
app = "shop:app"
calls = ["bank"]
[services.bank]
app = "bank:app"
[services.other]
app = "other:app"
"""


def command(spec: ServiceSpec | Gateway) -> Sequence[str]:
    return (sys.executable, "-S", str(ECHO))


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Refused(Exception):
    """No answer: the connection was not taken, or ended."""


class Town:
    """A running system in a mesh: the gateway may call `shop`, `shop` may call `bank`; `other` may call nobody."""

    def __init__(self, supervisor: Supervisor, heard: list[Signal]) -> None:
        self.system = supervisor
        self.heard = heard

    @property
    def url(self) -> str:
        return self.system.url

    def port(self, name: str) -> int:
        return int(self.info(name).url.rpartition(":")[2])

    def info(self, name: str) -> Any:
        return next(one for one in self.system.ps() if one.name == name)

    async def ask(self, op: str, name: str = "") -> Any:
        """What the control socket answers, as `skerry mesh` asks it."""
        entry = next(one for one in running() if one.data == str(self.system.data))
        return await asyncio.to_thread(ask, Path(entry.socket), op, name)

    async def status(self, service: str) -> Any:
        return next(one for one in (await self.ask("mesh"))["sidecars"] if one["service"] == service)

    async def call(self, path: str, *, method: str = "GET", body: bytes = b"", **headers: str) -> Reply:
        """One request to the system's entry, on a connection of its own; `x_y=` is the header x-y."""
        return await request(int(self.url.rpartition(":")[2]), path, method=method, body=body, **headers)

    def identity(
        self, service: str, *, system: str = "tiny", before: float = 0.0, folder: Path | None = None
    ) -> Identity:
        """A certificate by the mesh's own authority, or by that in `folder`; `before` many seconds ago."""
        clock = VirtualClock(start=time.time() - before)
        return Authority(folder or self.system.data / "mesh", system=system, clock=clock).identity(service)

    async def intrude(self, service: str, identity: Identity | None, **options: Any) -> Reply:
        """A call to the sidecar of `service` itself. Raises `Refused`."""
        return await request(self.port(f"{service}-sidecar"), "/hello", tls=client(identity, **options))


def in_town(
    folder: Path, play: Callable[[Town], Awaitable[Any]], *, mesh: Mesh | None = None, text: str = SYSTEM
) -> Any:
    """Run `play` in such a system, and its result."""
    (folder / "gateway.yaml").write_text("")
    (folder / "skerry.toml").write_text(text)
    heard: list[Signal] = []

    async def main() -> Any:
        supervisor = Supervisor(
            load(folder / "skerry.toml"),
            data=folder / "var",
            command=command,
            mesh=mesh or Mesh(),
            emit=heard.append,
        )
        async with supervisor:
            return await play(Town(supervisor, heard))

    return asyncio.run(main())


def client(identity: Identity | None, *, most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """A client that believes everybody and shows `identity`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = most
    if identity is not None:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(identity.chain + identity.key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


async def request(
    port: int,
    path: str,
    *,
    method: str = "GET",
    body: bytes = b"",
    tls: ssl.SSLContext | None = None,
    **headers: str,
) -> Reply:
    """One request on a connection of its own. Raises `Refused` when there is no answer."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n{lines}\r\n"
    try:
        async with asyncio.timeout(BOUND):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
            try:
                writer.write(head.encode() + body)
                return await _reply(reader)
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except (OSError, asyncio.IncompleteReadError) as error:
        raise Refused(repr(error)) from error


async def _reply(reader: asyncio.StreamReader) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Reply(int(first.split(" ")[1]), headers, await reader.readexactly(int(headers.get("content-length", 0))))


async def served(port: int, identity: Identity) -> str:
    """The serial number of the certificate that a sidecar shows to a caller, in hexadecimal."""
    from cryptography import x509

    context = client(identity)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return f"{x509.load_der_x509_certificate(shown).serial_number:x}"
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def until(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds; a generous bound guards against a hang."""
    async with asyncio.timeout(BOUND):
        while not condition():
            await asyncio.sleep(0.02)


SHOP = Sidecar(system="tiny", service="shop")


@asynccontextmanager
async def sidecar(authority: Authority, told: Sidecar) -> AsyncIterator[EnvoyProcess]:
    """A real one."""
    with tempfile.TemporaryDirectory(prefix="skerry-test-") as name:
        async with AdsServer(Path(name) / EnvoyProcess.ADS_SOCKET) as ads:
            Rotation([told], authority, ads).begin()
            async with EnvoyProcess(Path(name), node=told.service, drain=1.0) as process:
                yield process


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])
