"""A service that answers gRPC by TLS: whom it shows what, whom it believes, and new certificates while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import trustme

from skerry.client.grpc import grpc_channel
from skerry.errors import ConfigurationError, SkerryError
from skerry.resilience import Policy
from skerry.service import Service
from skerry.settings import Settings
from skerry.signals import HUB, CertificateReloaded

BOUND = 60.0


class Files:
    """The files of a service, and the authority they come from by now."""

    def __init__(self, folder: Path, *, ask: bool = False) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.callers = trustme.CA()
        self.callers.cert_pem.write_to_path(folder / "callers.pem")
        self.settings = Settings(
            data=folder,
            host="127.0.0.1",
            grpc_port=0,
            grpc_certificate=str(folder / "own.pem"),
            grpc_key=str(folder / "own.key"),
            grpc_client_ca=str(folder / "callers.pem") if ask else "",
        )
        self.issue(self.authority)

    def issue(self, authority: trustme.CA) -> None:
        own = authority.issue_cert("localhost")
        self._put("own.key", own.private_key_pem.bytes())
        self._put("own.pem", b"".join(blob.bytes() for blob in own.cert_chain_pems))
        self.authority = authority

    def spoil(self) -> None:
        self._put("own.key", trustme.CA().issue_cert("localhost").private_key_pem.bytes())

    def trust(self, authority: trustme.CA | None = None) -> bytes:
        return (authority or self.authority).cert_pem.bytes()

    def _put(self, name: str, content: bytes) -> None:
        beside = self.folder / f"{name}.new"
        beside.write_bytes(content)
        beside.rename(self.folder / name)


@pytest.fixture
def told() -> Iterator[list[CertificateReloaded]]:
    found: list[CertificateReloaded] = []
    end = HUB.subscribe(lambda signal: found.append(signal) if isinstance(signal, CertificateReloaded) else None)
    yield found
    end()


@asynccontextmanager
async def serving(files: Files) -> AsyncIterator[Service]:
    async def echo(request: bytes, _call: Any) -> bytes:
        return request

    service = Service("stock", settings=files.settings)
    methods = {"Do": grpc.unary_unary_rpc_method_handler(echo)}
    service.grpc.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Stock", methods)])
    async with asyncio.timeout(BOUND):
        await service.start()
        try:
            yield service
        finally:
            await service.stop()


async def ask(service: Service, tls: grpc.ChannelCredentials | None) -> bytes:
    """One call on a connection of its own."""
    url = f"{'http' if tls is None else 'https'}://localhost:{service.grpc.port}"
    async with grpc_channel("stock", url=url, tls=tls, policy=Policy("stock", total=BOUND)) as channel:
        answer: bytes = await channel.unary_unary("/shop.Stock/Do")(b"x")
        return answer


def test_it_answers_by_tls_and_by_nothing_else(tmp_path: Path) -> None:
    """Who trusts its authority gets an answer; who trusts another, or speaks without TLS, gets none."""
    files = Files(tmp_path)

    async def main() -> None:
        async with serving(files) as service:
            assert await ask(service, grpc.ssl_channel_credentials(files.trust())) == b"x"
            for wrong in (grpc.ssl_channel_credentials(files.trust(trustme.CA())), None):
                with pytest.raises(SkerryError):
                    await ask(service, wrong)

    asyncio.run(main())


def test_callers_have_to_show_a_certificate_where_that_is_asked(tmp_path: Path) -> None:
    """One of the authority named, and of no other."""
    files = Files(tmp_path, ask=True)

    def shown(authority: trustme.CA) -> grpc.ChannelCredentials:
        own = authority.issue_cert("caller.example")
        chain = b"".join(blob.bytes() for blob in own.cert_chain_pems)
        return grpc.ssl_channel_credentials(files.trust(), own.private_key_pem.bytes(), chain)

    async def main() -> None:
        async with serving(files) as service:
            assert await ask(service, shown(files.callers)) == b"x"
            for wrong in (grpc.ssl_channel_credentials(files.trust()), shown(trustme.CA())):
                with pytest.raises(SkerryError):
                    await ask(service, wrong)

    asyncio.run(main())


def test_a_new_certificate_holds_from_the_next_connection_on(tmp_path: Path, told: list[CertificateReloaded]) -> None:
    """Without a restart; a connection that is there stays."""
    files = Files(tmp_path)

    async def main() -> None:
        async with serving(files) as service:
            url = f"https://localhost:{service.grpc.port}"
            old = grpc.ssl_channel_credentials(files.trust())
            async with grpc_channel("stock", url=url, tls=old, policy=Policy("stock", total=BOUND)) as there:
                assert await there.unary_unary("/shop.Stock/Do")(b"x") == b"x"
                files.issue(trustme.CA())
                assert await ask(service, grpc.ssl_channel_credentials(files.trust())) == b"x"
                assert await there.unary_unary("/shop.Stock/Do")(b"y") == b"y"
            assert told == [CertificateReloaded(service="stock")]

    asyncio.run(main())


def test_files_that_do_not_fit_together_leave_the_last_good_ones(
    tmp_path: Path, told: list[CertificateReloaded]
) -> None:
    """Told once, however many connections come; and the next good ones are taken."""
    files = Files(tmp_path)

    async def main() -> None:
        async with serving(files) as service:
            files.spoil()
            for _ in range(3):
                assert await ask(service, grpc.ssl_channel_credentials(files.trust())) == b"x"
            [trouble] = told
            assert trouble.error
            files.issue(files.authority)
            assert await ask(service, grpc.ssl_channel_credentials(files.trust())) == b"x"
            assert told[1:] == [CertificateReloaded(service="stock")]

    asyncio.run(main())


@pytest.mark.parametrize("wrong", ["missing", "mismatch", "garbage", "authorities"])
def test_what_cannot_be_used_at_the_start_is_said(tmp_path: Path, wrong: str) -> None:
    """With the variables to look at, and nothing of what is in the files."""
    files = Files(tmp_path, ask=True)
    if wrong == "missing":
        (tmp_path / "own.pem").unlink()
    elif wrong == "mismatch":
        files.spoil()
    else:
        (tmp_path / ("own.key" if wrong == "garbage" else "callers.pem")).write_text("s3cret, and no PEM")

    async def main() -> None:
        with pytest.raises(ConfigurationError, match="SKERRY_GRPC_CERTIFICATE") as caught:
            async with serving(files):
                pass
        assert "s3cret" not in str(caught.value)

    asyncio.run(main())


@pytest.mark.parametrize(
    "given",
    [
        {"SKERRY_GRPC_CERTIFICATE": "own.pem"},
        {"SKERRY_GRPC_KEY": "own.key"},
        {"SKERRY_GRPC_CLIENT_CA": "callers.pem"},
    ],
)
def test_half_a_pair_is_an_error(given: dict[str, str]) -> None:
    """Without TLS, unlike somebody meant, nobody should be answered."""
    with pytest.raises(ConfigurationError, match="belong together"):
        Settings.from_environ(given)
