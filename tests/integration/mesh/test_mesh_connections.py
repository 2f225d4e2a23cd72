"""Single sidecars in front of what is no sidecar: connections that end, callees that are somebody else."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mesh_stage import SHOP, Reply, free_port, request, sidecar

from skerry.clock import SYSTEM
from skerry.envoy.mesh import Authority, Callee, Identity, Sidecar
from skerry.envoy.messages import Messages
from skerry.testing import VirtualClock


class Plain:
    """A service over HTTP/1.1, at a unix socket or behind a certificate; it counts requests."""

    def __init__(self) -> None:
        self.count = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                self.count += 1
                writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\nok")
        writer.close()


def shown(identity: Identity) -> ssl.SSLContext:
    """A server's side, with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(identity.chain + identity.key)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def called_as_bank(authority: Authority, callee: Identity) -> tuple[Reply, int]:
    """What a call to the bank is answered when somebody with the certificate `callee` is there, and how many bytes went there."""
    read = 0

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal read
        with suppress(OSError):
            read += len(await reader.read(1000))
        writer.close()

    async def main() -> Reply:
        async with await asyncio.start_server(listen, "127.0.0.1", 0, ssl=shown(callee)) as server:
            there, here = server.sockets[0].getsockname()[1], free_port()
            told = replace(SHOP, calls=(Callee(service="bank", listen=here, port=there),))
            async with sidecar(authority, told):
                return await request(here, "/", method="POST")

    return asyncio.run(main()), read


def test_a_callee_with_another_name_gets_nothing(tmp_path: Path) -> None:
    """A certificate of the same authority is not enough: it has to be the callee's, and valid. The caller is answered 503."""
    authority = Authority(tmp_path, system="tiny")
    for identity in (
        authority.identity("evil"),
        Authority(tmp_path, system="circus").identity("bank"),
        Authority(tmp_path / "other", system="tiny").identity("bank"),
        Authority(tmp_path, system="tiny", clock=VirtualClock(start=SYSTEM.now() - 7200.0)).identity("bank"),
    ):
        reply, read = called_as_bank(authority, identity)
        assert (reply.status, read) == (503, 0)
        assert reply.headers["content-type"] == "application/problem+json"
    _, read = called_as_bank(authority, authority.identity("bank"))
    assert read > 0  # it was believed, although it speaks no HTTP/2


def test_a_connection_ends_without_a_lost_request(tmp_path: Path) -> None:
    """One that has been used for long enough is replaced by another, as often as need be, under calls that nobody repeats."""
    authority = Authority(tmp_path, system="tiny")
    service = Plain()

    async def main() -> None:
        socket, port, here = tmp_path / "bank.http", free_port(), free_port()
        bank = Sidecar(system="tiny", service="bank", port=port, socket=socket, callers=("shop",), longest=0.2)
        shop = replace(SHOP, calls=(Callee(service="bank", listen=here, port=port),), longest=0.15)
        async with (
            await asyncio.start_unix_server(service.serve, socket),
            sidecar(authority, bank),
            sidecar(authority, shop) as process,
        ):
            sent, connections = 0, 0
            while connections < 10:
                replies = await asyncio.gather(*(request(here, "/", method="POST") for _ in range(8)))
                assert {reply.status for reply in replies} == {200}
                sent += len(replies)
                stats = await process.admin.stats(r"^cluster\.to-bank\.upstream_cx_total$")
                connections = stats["cluster.to-bank.upstream_cx_total"]
            assert service.count == sent

    asyncio.run(main())


def test_a_callee_that_cannot_be_reached_is_left_alone(tmp_path: Path) -> None:
    """After five failures in a row it is ejected, although it is the only one, and not even tried."""
    authority = Authority(tmp_path, system="tiny")

    async def main() -> None:
        here = free_port()
        told = replace(SHOP, calls=(Callee(service="bank", listen=here, port=free_port()),))
        async with sidecar(authority, told) as process:

            async def counted(name: str) -> int:
                return (await process.admin.stats(rf"^cluster\.to-bank\.{name}$"))[f"cluster.to-bank.{name}"]

            while not await counted("outlier_detection.ejections_active"):
                assert (await request(here, "/", method="POST")).status == 503
            tried = await counted("upstream_cx_total")
            reply = await request(here, "/", method="POST")
            assert reply.status == 503
            assert "no healthy upstream" in reply.json()["detail"]
            assert await counted("upstream_cx_total") == tried >= 5

    asyncio.run(main())


def test_all_of_it_is_in_envoys_own_words(tmp_path: Path) -> None:
    """Every field of the configuration is one that Envoy's API has."""
    bank = Sidecar(
        system="tiny",
        service="bank",
        port=1,
        socket=tmp_path / "http",
        grpc=tmp_path / "grpc",
        callers=("shop",),
        calls=(Callee(service="other", listen=2, port=3),),
    )
    resources, messages = bank.resources(), Messages()
    for kind in ("clusters", "listeners"):
        assert messages.packed(kind, resources.of(kind)).keys() == resources.of(kind).keys()
