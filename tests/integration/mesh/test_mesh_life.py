"""Sidecars as processes: they are kept alive, and none is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mesh_stage import BOUND, SYSTEM, Town, in_town, until

from skerry.deploy import Mesh, Supervisor, running
from skerry.errors import ConfigurationError, DeployError
from skerry.topology import load

DRIVE = Path(__file__).with_name("mesh_drive.py")


def processes_in(data: Path) -> list[str]:
    """The processes that work on the folder `data`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            environ = (entry / "environ").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if f"SKERRY_DATA={data}".encode() in environ:
            found.append(entry.name)
    return found


def test_a_killed_sidecar_comes_back(tmp_path: Path) -> None:
    """At its port, as another process, with a certificate; calls pass again."""

    async def play(town: Town) -> None:
        for name in ("bank-sidecar", "shop-sidecar", "gateway-sidecar"):
            before = town.info(name)
            os.kill(before.pid, signal.SIGKILL)
            await until(lambda n=name: town.info(n).restarts == 1 and town.info(n).ready)
            assert town.info(name).pid != before.pid
            assert town.info(name).url == before.url
            while (await town.call("/to/shop/to/bank/", method="GET")).status != 200:
                await asyncio.sleep(0.05)

    in_town(tmp_path, play)


def test_a_sidecar_that_is_held_down_gets_its_certificate_when_it_comes(tmp_path: Path) -> None:
    """A rotation does not wait for it, and status says that it has not what it was given."""

    async def play(town: Town) -> None:
        await town.system.hold("bank-sidecar")
        await town.ask("renew")
        told = await town.status("bank")
        assert told["acknowledged"] is False
        assert (await town.status("shop"))["acknowledged"] is True
        town.system.release("bank-sidecar")
        while not (await town.status("bank"))["acknowledged"]:
            await asyncio.sleep(0.02)
        assert (await town.status("bank"))["serial"] == told["serial"]

    in_town(tmp_path, play)


def test_a_killed_mesh_leaves_no_orphan(tmp_path: Path) -> None:
    """When the process that supervises is killed, services and sidecars end; the next one starts on the same data."""
    (tmp_path / "gateway.yaml").write_text("")
    (tmp_path / "skerry.toml").write_text(SYSTEM)
    data = tmp_path / "var"
    for _ in range(2):
        command = [sys.executable, str(DRIVE), str(tmp_path / "skerry.toml"), str(data)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            ready = (json.loads(line) for line in process.stdout)
            assert next(event for event in ready if event["event"] == "system" and event["state"] == "ready")
            assert len(processes_in(data)) == 8  # four sidecars, three services, the gateway
            [entry] = [entry for entry in running() if entry.data == str(data)]
            sockets = Path(entry.socket).with_suffix(".mesh")
            assert sockets.is_dir()
            process.kill()
            process.wait(BOUND)
        asyncio.run(until(lambda: not processes_in(data)))
        assert data not in {entry.data for entry in running()}
        assert not sockets.exists()  # who looks for running systems takes away what is left of dead ones


def test_an_ordinary_stop_leaves_nothing(tmp_path: Path) -> None:
    """Neither processes nor sockets."""

    async def play(town: Town) -> Path:
        assert len(processes_in(town.system.data)) == 8
        return Path(town.info("bank").url.removeprefix("unix:")).parent

    folder = in_town(tmp_path, play)
    assert not processes_in(tmp_path / "var")
    assert not folder.exists()


def test_a_system_without_a_mesh_says_so(tmp_path: Path) -> None:
    """What `skerry mesh` asks is answered with how to start one."""
    (tmp_path / "gateway.yaml").write_text("")
    (tmp_path / "skerry.toml").write_text(SYSTEM)
    supervisor = Supervisor(load(tmp_path / "skerry.toml"), data=tmp_path / "var")
    with pytest.raises(DeployError, match="skerry run --mesh"):
        asyncio.run(supervisor._handle("mesh", ""))


def test_a_service_cannot_have_the_name_of_a_sidecar(tmp_path: Path) -> None:
    """Two processes of one name would be one too few."""

    async def play(town: Town) -> None:
        raise AssertionError("it started")

    with pytest.raises(ConfigurationError, match="bank-sidecar"):
        in_town(tmp_path, play, mesh=Mesh(), text=SYSTEM + '[services.bank-sidecar]\napp = "x:y"\n')
