"""TLS on both sides of a real Envoy: who is believed, and who is not."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from envoy_stage import Stage, on_envoy, route

from skerry.gateway.model import Backend, Forward, Listener, PolicySpec, Respond, RetrySpec, Service, Tls

ONCE = PolicySpec(retry=RetrySpec(attempts=1), breaker=None)


@dataclass
class Authority:
    """One that issues certificates into a folder."""

    folder: Path
    ca: trustme.CA

    @property
    def bundle(self) -> str:
        path = self.folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(path))
        return str(path)

    def issue(self, name: str) -> tuple[str, str]:
        chain, key = self.folder / f"{name}-chain.pem", self.folder / f"{name}-key.pem"
        made = self.ca.issue_cert(name)
        chain.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(str(key))
        return str(chain), str(key)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, trustme.CA())


async def secured(stage: Stage, context: ssl.SSLContext, *, name: str = "gateway.test") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port, ssl=context, server_hostname=name)
    try:
        writer.write(f"GET / HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n".encode())
        return (await reader.read()).rpartition(b"\r\n\r\n")[2]
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def test_clients_come_in_by_tls(authority: Authority) -> None:
    """The certificate is the listener's, plain HTTP is not answered, and a certificate that is replaced is used at once."""

    async def play(stage: Stage) -> None:
        context = ssl.create_default_context(cafile=authority.bundle)
        assert await secured(stage, context) == b"in"
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await stage.ask("/")
        other = Authority(authority.folder, trustme.CA())
        other.issue("gateway.test")
        await stage.change(route("/", Respond(200, "in")), listener=listener)
        assert await secured(stage, ssl.create_default_context(cafile=other.bundle)) == b"in"

    chain, key = authority.issue("gateway.test")
    listener = Listener(tls=Tls(chain, key))
    on_envoy(route("/", Respond(200, "in")), play=play, listener=listener)


def test_a_client_without_a_certificate_of_ours_does_not_come_in(authority: Authority) -> None:
    """With `client_ca`, TLS itself refuses strangers."""

    async def play(stage: Stage) -> None:
        context = ssl.create_default_context(cafile=authority.bundle)
        # with TLS 1.3 a client learns of the refusal only when it reads: as an error, or as the end
        refused = b""
        with suppress(OSError):
            refused = await secured(stage, context)
        assert refused == b""
        context.load_cert_chain(*authority.issue("client.test"))
        assert await secured(stage, context) == b"in"

    chain, key = authority.issue("gateway.test")
    listener = Listener(tls=Tls(chain, key, client_ca=authority.bundle))
    on_envoy(route("/", Respond(200, "in")), play=play, listener=listener)


@pytest.mark.parametrize(
    ("certificate", "believed", "status"),
    [("localhost", True, 200), ("evil.test", True, 503), ("localhost", False, 503)],
)
def test_services_are_called_by_tls(
    authority: Authority, tmp_path: Path, certificate: str, believed: bool, status: int
) -> None:
    """A service has to show a certificate of an authority that is believed, for the name that it is called by."""

    async def play(stage: Stage) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
                await writer.drain()
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*authority.issue(certificate))
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        (tmp_path / "other").mkdir()
        ca = authority.bundle if believed else Authority(tmp_path / "other", trustme.CA()).bundle
        service = Service("s", (f"https://localhost:{port}",), ca=ca)
        await stage.change(route("/", Forward((Backend("s"),)), policy=ONCE), services=(service,))
        await _until(stage, status)
        server.close()

    on_envoy(route("/", Respond(200, "in")), play=play, services=())


async def _until(stage: Stage, status: int) -> None:
    """A name may not be resolved yet when the first request comes."""
    async with asyncio.timeout(20):
        while (answer := await stage.ask("/")).status != status:
            assert answer.status == 503
    assert (await stage.ask("/")).status == status
