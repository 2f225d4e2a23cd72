"""Certificates and authorities that change while calls are under way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from mesh_stage import Refused, Town, in_town, served, until

from skerry.deploy import Mesh
from skerry.envoy.mesh import Authority, write_folder
from skerry.errors import ConfigurationError, DeployError
from skerry.signals import AuthoritiesChanged, IdentityRenewed, Signal

CALLERS = 4
SERVICES = ("shop", "bank", "other", "gateway")


async def under_load(town: Town, act: Callable[[], Awaitable[object]], *, enough: int = 200) -> None:
    """Have `act` done while callers call; then what they sent, what they were answered and what the bank saw is one number.

    The calls are POSTs, which no sidecar repeats.
    """
    answers: Counter[int] = Counter()
    done = False

    async def call() -> None:
        while not done or answers.total() < enough:
            reply = await town.call("/to/shop/to/bank/pay", method="POST", body=b"1")
            answers[reply.status] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(call())
        await until(lambda: answers.total() >= CALLERS)
        await act()
        done = True
    assert answers.keys() == {200}
    seen = [asked for asked in (await town.call("/to/shop/to/bank/seen")).json() if asked["path"] == "/pay"]
    assert len(seen) == answers.total() >= enough


def test_rotation_under_load_loses_no_request(tmp_path: Path) -> None:
    """Ten times all certificates, and each time the new one is what a sidecar shows as soon as `rotate` has returned."""

    async def play(town: Town) -> None:
        numbers = set()

        async def rotate() -> None:
            for _ in range(10):
                await town.ask("renew")
                for service in ("shop", "bank"):
                    told = (await town.status(service))["serial"]
                    assert await served(town.port(f"{service}-sidecar"), town.identity("gateway")) == told
                    numbers.add(told)

        await under_load(town, rotate)
        assert len(numbers) == 20
        assert {one.error for one in town.heard if isinstance(one, IdentityRenewed)} == {""}

    in_town(tmp_path, play)


def test_a_new_authority_under_load_loses_no_request(tmp_path: Path) -> None:
    """First both are believed, then only the new one: what the old one signed is refused afterwards."""

    async def play(town: Town) -> None:
        before = town.identity("shop")

        async def replace() -> None:
            for _ in range(3):
                await town.ask("replace-authority")

        await under_load(town, replace)
        with pytest.raises(Refused):
            await town.intrude("bank", before)
        assert (await town.intrude("bank", town.identity("shop"))).status == 200
        assert [one.count for one in town.heard if isinstance(one, AuthoritiesChanged)] == [2, 1] * 3

    in_town(tmp_path, play)


def test_certificates_from_files_are_taken_when_they_change(tmp_path: Path) -> None:
    """One that is in order is given on; one that is not is told, and the sidecar goes on with what it has."""
    folder = tmp_path / "certificates"
    authority = Authority(tmp_path / "ca", system="tiny")
    write_folder(folder, authority, SERVICES)

    async def play(town: Town) -> None:
        first = (await town.status("bank"))["serial"]
        assert (await town.call("/to/shop/to/bank/", method="POST")).status == 200
        write_folder(folder, authority, ["bank"])
        await until(lambda: any(isinstance(one, IdentityRenewed) for one in town.heard))
        second = (await town.status("bank"))["serial"]
        assert second != first
        assert await served(town.port("bank-sidecar"), authority.identity("shop")) == second
        town.heard.clear()
        (folder / "bank.pem").write_text((folder / "shop.pem").read_text())
        await until(lambda: any(isinstance(one, IdentityRenewed) for one in town.heard))
        [told] = [one for one in town.heard if isinstance(one, IdentityRenewed)]
        assert (told.service, told.level) == ("bank", "error")
        assert str(folder / "bank.key") in told.error
        assert (await town.status("bank"))["serial"] == second
        with pytest.raises(DeployError, match="come from files"):
            await town.ask("replace-authority")

    in_town(tmp_path, play, mesh=Mesh(certificates=folder))


def test_the_authority_of_certificates_from_files_is_replaced_under_load(tmp_path: Path) -> None:
    """Both in ca.crt first, then new certificates, then the old one taken out: no request is lost, and the old one is over."""
    folder = tmp_path / "certificates"
    authority = Authority(tmp_path / "ca", system="tiny")
    write_folder(folder, authority, SERVICES)
    before = authority.identity("shop")

    async def play(town: Town) -> None:
        def told(kind: type[Signal]) -> int:
            return sum(isinstance(signal, kind) for signal in town.heard)

        async def replace() -> None:
            authority.replace()
            (folder / "ca.crt").write_text(authority.authorities())
            await until(lambda: told(AuthoritiesChanged) == 1)
            assert (await town.intrude("bank", before)).status == 200
            write_folder(folder, authority, SERVICES)
            await until(lambda: told(IdentityRenewed) == len(SERVICES))
            authority.forget()
            (folder / "ca.crt").write_text(authority.authorities())
            await until(lambda: told(AuthoritiesChanged) == 2)

        await under_load(town, replace)
        with pytest.raises(Refused):
            await town.intrude("bank", before)
        assert (await town.intrude("bank", authority.identity("shop"))).status == 200
        assert not [one for one in town.heard if isinstance(one, IdentityRenewed) and one.error]

    in_town(tmp_path, play, mesh=Mesh(certificates=folder))


def test_a_system_does_not_start_with_certificates_that_are_not_in_order(tmp_path: Path) -> None:
    """The error names the file."""
    folder = tmp_path / "certificates"
    write_folder(folder, Authority(tmp_path / "ca", system="circus"), SERVICES)

    async def play(town: Town) -> None:
        raise AssertionError("it started")

    with pytest.raises(ConfigurationError, match=r"shop\.pem: is the certificate of spiffe://circus/shop"):
        in_town(tmp_path, play, mesh=Mesh(certificates=folder))
