"""Who is at the other end: certificates that do not hold, and names with several addresses."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trustme
from patience import LOOP_TIME, run_patiently
from peers import Reader, Writer, answers, listening, reply

from skerry.client import HttpTransport, ServiceClient
from skerry.errors import ConfigurationError, Unreachable, Untrusted
from skerry.resilience import Policy, Retry

PAST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


def patient(**options: Any) -> Policy:
    return Policy(
        "stock", **{"total": 5.0, "retry": Retry(2, base=0.001, clock=LOOP_TIME), "clock": LOOP_TIME, **options}
    )


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def call_over_tls(certificate: trustme.LeafCert, tls: ssl.SSLContext | None) -> tuple[int, int]:
    """The status, and the number of requests the peer has seen."""

    async def main() -> tuple[int, int]:
        async with listening(answers(reply()), tls=server_context(certificate)) as peer:
            async with ServiceClient("stock", url=peer.url, policy=patient(), tls=tls, clock=LOOP_TIME) as client:
                try:
                    status = (await client.get("/")).status
                finally:
                    assert len(peer.requests) <= 1
            return status, len(peer.requests)

    return run_patiently(main())


def test_a_private_authority_can_be_trusted() -> None:
    """`tls` says whom to trust besides, or instead of, the system's authorities."""
    authority = trustme.CA()
    assert call_over_tls(authority.issue_cert("127.0.0.1"), trusting(authority)) == (200, 1)


def test_an_expired_certificate_is_refused() -> None:
    """The error says so, and nothing is sent."""
    authority = trustme.CA()
    expired = authority.issue_cert("127.0.0.1", not_before=PAST, not_after=PAST + dt.timedelta(days=1))
    with pytest.raises(Untrusted, match="expired"):
        call_over_tls(expired, trusting(authority))


def test_a_certificate_for_another_name_is_refused() -> None:
    """A good certificate of somebody else is no certificate."""
    authority = trustme.CA()
    with pytest.raises(Untrusted, match=r"mismatch|not valid for"):
        call_over_tls(authority.issue_cert("127.0.0.9"), trusting(authority))


def test_a_certificate_of_nobody_is_refused() -> None:
    """An authority that was not given is not trusted, be it the certificate's own."""
    with pytest.raises(Untrusted):
        call_over_tls(trustme.CA().issue_cert("127.0.0.1"), None)


def test_verification_cannot_be_turned_off() -> None:
    """A context that checks nothing, or not the name, is a mistake, not an option."""
    nothing, no_name = ssl.create_default_context(), ssl.create_default_context()
    nothing.check_hostname = no_name.check_hostname = False
    nothing.verify_mode = ssl.CERT_NONE
    for context in (nothing, no_name):
        with pytest.raises(ConfigurationError, match="verify"):
            ServiceClient("stock", url="https://stock", tls=context)
        with pytest.raises(ConfigurationError, match="verify"):
            HttpTransport(tls=context)


def test_a_slow_handshake_is_no_connection() -> None:
    """A peer that takes the connection and says nothing of TLS is Unreachable after a second, well within the call's time."""

    async def silence(_: Any, reader: Reader, writer: Writer) -> None:
        await reader.read()
        await reader.read()

    async def main() -> None:
        async with listening(silence) as peer:
            url = peer.url.replace("http:", "https:")
            async with ServiceClient("stock", url=url, policy=patient(retry=None), clock=LOOP_TIME) as client:
                begun = LOOP_TIME.monotonic()
                with pytest.raises(Unreachable):
                    await client.get("/")
                assert LOOP_TIME.monotonic() <= begun + 1.05

    run_patiently(main())


# --- names


@contextmanager
def silent(address: str, port: int) -> Iterator[None]:
    """An address that takes no more connections and does not say so: its queue is full."""
    with socket.socket() as listener:
        listener.bind((address, port))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex((address, port))
        try:
            yield
        finally:
            for each in waiting:
                each.close()


class Names:
    """Answers for one name, in the place of the system's resolver."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self._left = list(answers)
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._answer)

    def _answer(self, host: str, port: int, *rest: Any, **more: Any) -> list[Any]:
        if host != "stock.test":
            return self._real(host, port, *rest, **more)
        addresses = self._left.pop(0) if len(self._left) > 1 else self._left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


async def ask(port: str) -> bytes:
    async with ServiceClient("stock", url=f"http://stock.test:{port}", policy=patient(), clock=LOOP_TIME) as client:
        return (await client.get("/")).content


def test_one_of_three_addresses_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a name's addresses one is silent and one refuses: the call goes to the third, in its time and in one attempt."""
    Names(monkeypatch, ["127.0.0.3", "127.0.0.2", "127.0.0.1"])

    async def main() -> None:
        async with listening(answers(reply(200, b"third"))) as peer:
            port = peer.url.rpartition(":")[2]
            with silent("127.0.0.3", int(port)):
                begun = LOOP_TIME.monotonic()
                assert await ask(port) == b"third"
                assert LOOP_TIME.monotonic() <= begun + 1.0

    run_patiently(main())


def test_a_name_that_has_moved_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """When no address of a name can be reached, the next attempt asks where it is now."""
    Names(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])

    async def main() -> None:
        async with listening(answers(reply(200, b"moved"))) as peer:
            assert await ask(peer.url.rpartition(":")[2]) == b"moved"

    run_patiently(main())


def test_a_name_that_nobody_knows_is_unreachable() -> None:
    """No address, no connection; nothing was sent."""

    async def main() -> None:
        async with ServiceClient("stock", url="http://stock.invalid", policy=patient(), clock=LOOP_TIME) as client:
            with pytest.raises(Unreachable):
                await client.get("/")

    run_patiently(main())
