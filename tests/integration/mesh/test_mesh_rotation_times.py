"""When certificates are replaced: in virtual time, without sidecars."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from skerry.envoy import AdsServer
from skerry.envoy.mesh import Authority, CertificateFolder, Rotation, Sidecar, write_folder
from skerry.envoy.mesh.authority import LIFETIME
from skerry.errors import ConfigurationError
from skerry.signals import AuthoritiesChanged, IdentityRenewed, Signal
from skerry.testing import VirtualClock, run_virtual

SIDECARS = [Sidecar(system="shop", service=name) for name in ("order", "stock")]


def rotated(
    tmp_path: Path, seconds: float, *, lifetime: float = 3600.0, age: float = 0.0
) -> list[tuple[float, Signal]]:
    """What a rotation tells in so many seconds, and when; the authority has an `age` before it begins."""
    heard: list[tuple[float, Signal]] = []

    async def main(clock: VirtualClock) -> None:
        authority = Authority(tmp_path / "ca", system="shop", lifetime=lifetime, clock=clock)
        clock.advance(age)
        ads = AdsServer(tmp_path / "ads.sock")
        tell = lambda signal: heard.append((clock.monotonic(), signal))  # noqa: E731
        rotation = Rotation(SIDECARS, authority, ads, clock=clock, emit=tell)
        rotation.begin()
        running = asyncio.create_task(rotation.run())
        await clock.sleep(seconds)
        running.cancel()

    run_virtual(main)
    return heard


def test_each_certificate_is_replaced_at_half_of_its_life(tmp_path: Path) -> None:
    """Of an hour after about half an hour, with a look at the clock every half minute; each is told once."""
    heard = rotated(tmp_path, 3 * 3600.0)
    assert {type(signal) for _, signal in heard} == {IdentityRenewed}
    for name in ("order", "stock"):
        times = [at for at, signal in heard if isinstance(signal, IdentityRenewed) and signal.service == name]
        assert len(times) == 6
        for before, after in zip([0.0, *times], times, strict=False):
            assert 1770 <= after - before <= 1800


def test_the_shortest_life_is_no_busy_loop(tmp_path: Path) -> None:
    """Of a minute: after about half a minute, not at once again."""
    heard = rotated(tmp_path, 600.0, lifetime=60.0)
    assert 18 * 2 <= len(heard) <= 24 * 2


def test_a_worn_authority_is_replaced_by_itself(tmp_path: Path) -> None:
    """Before it ends: both are believed first, then the new one alone, and no certificate is ever behind its authority."""
    heard = [signal for _, signal in rotated(tmp_path, 86400.0, lifetime=3 * 86400.0, age=LIFETIME * 0.9 - 43200.0)]
    assert [signal.count for signal in heard if isinstance(signal, AuthoritiesChanged)] == [2, 1]
    both = next(index for index, signal in enumerate(heard) if isinstance(signal, AuthoritiesChanged))
    assert [type(signal) for signal in heard[both : both + 4]] == [
        AuthoritiesChanged,
        IdentityRenewed,
        IdentityRenewed,
        AuthoritiesChanged,
    ]


def test_files_that_vanish_change_nothing(tmp_path: Path) -> None:
    """While they are replaced, or by mistake: everybody goes on, and what is there later is taken."""
    heard: list[Signal] = []

    async def main(clock: VirtualClock) -> None:
        authority = Authority(tmp_path / "ca", system="shop", clock=clock)
        folder = tmp_path / "certificates"
        write_folder(folder, authority, ["order", "stock"])
        source = CertificateFolder(folder, system="shop", clock=clock)
        rotation = Rotation(SIDECARS, source, AdsServer(tmp_path / "ads.sock"), clock=clock, emit=heard.append)
        rotation.begin()
        before = [info.serial for info in rotation.status()]
        running = asyncio.create_task(rotation.run())
        (folder / "ca.crt").unlink()
        await clock.sleep(5.0)
        assert [info.serial for info in rotation.status()] == before
        authority.replace()
        write_folder(folder, authority, ["order", "stock"])
        await clock.sleep(5.0)
        assert not set(before) & {info.serial for info in rotation.status()}
        running.cancel()

    run_virtual(main)
    assert [type(signal) for signal in heard] == [AuthoritiesChanged, IdentityRenewed, IdentityRenewed]


def test_a_certificate_for_nobody_is_an_error(tmp_path: Path) -> None:
    """It names who there is."""

    async def main(clock: VirtualClock) -> None:
        authority = Authority(tmp_path, system="shop", clock=clock)
        rotation = Rotation(SIDECARS, authority, AdsServer(tmp_path / "ads.sock"), clock=clock, emit=lambda _: None)
        rotation.begin()
        with pytest.raises(ConfigurationError, match="no sidecar has the name 'x': there are order, stock"):
            await rotation.renew(["x"])

    run_virtual(main)


def test_a_file_that_nobody_replaces_is_told_once(tmp_path: Path) -> None:
    """When a fifth of the life of its certificate is left, as an error; not again until it was replaced."""
    heard: list[tuple[float, Signal]] = []

    async def main(clock: VirtualClock) -> None:
        folder = tmp_path / "certificates"
        write_folder(folder, Authority(tmp_path / "ca", system="shop", clock=clock), ["order", "stock"])
        source = CertificateFolder(folder, system="shop", clock=clock)
        tell = lambda signal: heard.append((clock.monotonic(), signal))  # noqa: E731
        rotation = Rotation(SIDECARS, source, AdsServer(tmp_path / "ads.sock"), clock=clock, emit=tell)
        rotation.begin()
        running = asyncio.create_task(rotation.run())
        await clock.sleep(3500.0)
        running.cancel()

    run_virtual(main)
    assert len(heard) == 2
    for at, signal in heard:
        assert signal.level == "error"
        assert 2860 <= at <= 2880


def test_an_authority_that_was_half_replaced_is_forgotten_at_the_next_start(tmp_path: Path) -> None:
    """All certificates are new then, so only the newest is believed."""
    authority = Authority(tmp_path / "ca", system="shop")
    authority.replace()
    rotation = Rotation(SIDECARS, Authority(tmp_path / "ca", system="shop"), AdsServer(tmp_path / "ads.sock"))
    rotation.begin()
    assert Authority(tmp_path / "ca", system="shop").authorities().count("BEGIN CERTIFICATE") == 1
    assert authority.authorities().count("BEGIN CERTIFICATE") == 2
