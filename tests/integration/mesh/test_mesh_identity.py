"""Who is let in by a real sidecar, and who is not."""

from __future__ import annotations

import asyncio
import re
import ssl
import stat
from pathlib import Path

import pytest
from mesh_stage import Refused, Town, client, in_town, request

FORGED = 'By=spiffe://tiny/bank;URI="spiffe://tiny/gateway"'


def test_calls_pass_and_say_truly_who_calls(tmp_path: Path) -> None:
    """From end to end, a service is told who called by the mesh itself: what a caller says of its certificate is replaced."""

    async def play(town: Town) -> None:
        reply = await town.call(
            "/to/shop/to/bank/accounts?id=1", method="POST", body=b"money", x_forwarded_client_cert=FORGED
        )
        asked = reply.json()
        assert (reply.status, asked["service"], asked["path"]) == (200, "bank", "/accounts?id=1")
        assert asked["body"] == "money"
        told = re.fullmatch("By=(.+);Hash=[0-9a-f]{64};URI=(.+)", asked["headers"]["x-forwarded-client-cert"])
        assert told is not None
        assert told.groups() == ("spiffe://tiny/bank", "spiffe://tiny/shop")
        asked = (await town.call("/to/shop/", x_forwarded_client_cert=FORGED)).json()
        assert asked["headers"]["x-forwarded-client-cert"].endswith(";URI=spiffe://tiny/gateway")
        assert "bank" not in asked["headers"]["x-forwarded-client-cert"]
        assert not [name for name in asked["headers"] if name.startswith("x-envoy")]
        assert (await town.call("/to/bank/")).json() == "no address"  # nothing leads where the topology has no call
        assert (await town.call("/to/shop/to/shop/")).json() == "no address"

    in_town(tmp_path, play)


def test_a_certificate_has_to_be_of_this_system_and_valid(tmp_path: Path) -> None:
    """Refused before any request: nobody's, another system's, another authority's, an expired one, and TLS below 1.3."""

    async def play(town: Town) -> None:
        right = town.identity("shop")
        assert (await town.intrude("bank", right)).json()["service"] == "bank"
        wrong = {
            "no certificate": (None, {}),
            "another system's": (town.identity("shop", system="circus"), {}),
            "another authority's": (town.identity("shop", folder=tmp_path / "elsewhere"), {}),
            "expired": (town.identity("shop", before=7200.0), {}),
            "not yet valid": (town.identity("shop", before=-7200.0), {}),
            "TLS 1.2": (right, {"most": ssl.TLSVersion.TLSv1_2}),
        }
        for identity, options in wrong.values():
            with pytest.raises(Refused):
                await town.intrude("bank", identity, **options)
        with pytest.raises(Refused):
            await request(town.port("bank-sidecar"), "/hello")  # without TLS
        seen = (await town.call("/to/shop/to/bank/seen")).json()
        assert [asked["path"] for asked in seen] == ["/hello"]  # the right one only

    in_town(tmp_path, play)


def test_a_caller_that_the_topology_does_not_name_is_answered_403(tmp_path: Path) -> None:
    """It has a certificate of the system, even the callee's own, and gets problem details; the callee sees nothing of it."""

    async def play(town: Town) -> None:
        for name in ("other", "gateway", "bank"):
            reply = await town.intrude("bank", town.identity(name))
            assert (reply.status, reply.headers["content-type"]) == (403, "application/problem+json")
            assert reply.json()["status"] == 403
        assert (await town.intrude("other", town.identity("shop"))).status == 403  # nobody may call it
        assert (
            await town.intrude(
                "bank",
                town.identity("shop"),
            )
        ).status == 200
        seen = (await town.call("/to/shop/to/bank/seen")).json()
        assert len(seen) == 1

    in_town(tmp_path, play)


def test_no_session_is_taken_up_again(tmp_path: Path) -> None:
    """A sidecar gives no tickets: with one, a certificate that has expired since would not be looked at."""

    async def play(town: Town) -> None:
        context = client(town.identity("shop"))
        reader, writer = await asyncio.open_connection("127.0.0.1", town.port("bank-sidecar"), ssl=context)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        session = writer.get_extra_info("ssl_object").session
        assert session is None or not session.has_ticket
        writer.close()

    in_town(tmp_path, play)


def test_services_listen_at_no_port(tmp_path: Path) -> None:
    """The only way to a service is its sidecar: its own socket is in a private folder, and so is the authority's key."""

    async def play(town: Town) -> None:
        for name in ("shop", "bank", "other"):
            where = town.info(name).url
            assert where.startswith("unix:")
            assert stat.S_IMODE(Path(where.removeprefix("unix:")).parent.stat().st_mode) == 0o700
        assert stat.S_IMODE((town.system.data / "mesh" / "authority.pem").stat().st_mode) == 0o600

    in_town(tmp_path, play)
