"""What a process is started with."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from skerry.clock import Clock
from skerry.deploy.keeper import Backoff
from skerry.deploy.processes import command_for, describe_exit, environment_for
from skerry.settings import Settings
from skerry.topology import Gateway, ServiceSpec, System


def system(events: str | None = "sqlite:///events/") -> System:
    services = {
        "order": ServiceSpec(name="order", app="order.app:service", env={"LEVEL": "high", "SKERRY_PORT": "1"}),
        "stock-room": ServiceSpec(name="stock-room", app="stock:service"),
    }
    return System(name="shop", file=Path("/shop/skerry.toml"), services=services, events=events)


def environment(name: str, **environ: str) -> dict[str, str]:
    ports = {"order": 20001, "stock-room": 20002, "gateway": 8080}
    return environment_for(system(), name, data=Path("/data"), ports=ports, environ=environ)


def test_environment_is_what_settings_read() -> None:
    """A supervised process finds its name, its port, its data folder and its neighbours in its settings."""
    found = environment("order", SKERRY_PORT="5", HOME="/home")
    settings = Settings.from_environ(found)
    assert (settings.port, settings.host, settings.data, settings.supervised) == (
        20001,
        "127.0.0.1",
        Path("/data"),
        True,
    )
    assert settings.urls == {"order": "http://127.0.0.1:20001", "stock-room": "http://127.0.0.1:20002"}
    assert (found["SKERRY_SERVICE"], found["SKERRY_EVENTS"]) == ("order", "sqlite:///events/")
    assert (found["LEVEL"], found["HOME"], found["PYTHONUNBUFFERED"]) == ("high", "/home", "1")
    assert "LEVEL" not in environment("stock-room")
    assert environment("gateway")["SKERRY_PORT"] == "8080"


def test_the_port_for_grpc_is_a_second_one() -> None:
    """A service that answers gRPC learns its port for it, and the others its address; nobody inherits one."""
    ports = {"order": 20001, "stock-room": 20002, "stock-room-grpc": 20003}

    def settings(name: str) -> Settings:
        environ = {"SKERRY_GRPC_PORT": "7"}
        return Settings.from_environ(environment_for(system(), name, data=Path("/data"), ports=ports, environ=environ))

    assert settings("stock-room").grpc_port == 20003
    assert settings("order").grpc_port == 50051
    assert settings("order").urls["stock-room-grpc"] == "http://127.0.0.1:20003"


def test_folder_of_the_system_comes_first_on_the_path() -> None:
    """Services are imported from the folder of the system file, before anything the user had on PYTHONPATH."""
    assert environment("order")["PYTHONPATH"] == "/shop"
    assert environment("order", PYTHONPATH="/a")["PYTHONPATH"] == f"/shop{os.pathsep}/a"


def test_no_event_log_is_inherited() -> None:
    """A system without events passes on none, not even the one of an outer system."""
    found = environment_for(system(None), "order", data=Path("/d"), ports={"order": 1}, environ={"SKERRY_EVENTS": "x"})
    assert "SKERRY_EVENTS" not in found


def test_commands() -> None:
    """Services and the gateway run as modules of this interpreter."""
    assert command_for(system().services["order"]) == (sys.executable, "-m", "skerry.service", "order.app:service")
    gateway = (sys.executable, "-m", "skerry.gateway", "/shop/g.yaml", "--engine")
    assert command_for(Gateway(spec=Path("/shop/g.yaml"))) == (*gateway, "embedded")
    assert command_for(Gateway(spec=Path("/shop/g.yaml"), engine="envoy")) == (*gateway, "envoy")


@pytest.mark.parametrize(("code", "words"), [(3, "exit code 3"), (-9, "signal SIGKILL"), (-250, "signal 250")])
def test_exit_in_words(code: int, words: str) -> None:
    """An exit code is told in words that a person knows."""
    assert describe_exit(code) == words


class Fixed(Clock):
    def __init__(self, random: float) -> None:
        self._random = random

    def random(self) -> float:
        return self._random


def test_backoff_doubles_up_to_its_limit() -> None:
    """Restarts wait 0.1 s, doubling up to 5 s."""
    backoff = Backoff(Fixed(0.0))
    assert [backoff.after(0.0) for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_backoff_begins_again_after_a_good_time() -> None:
    """A process that was ready for 10 s starts over with the shortest wait; one that was not, does not."""
    backoff = Backoff(Fixed(0.0))
    assert [backoff.after(seconds) for seconds in (0.0, 9.9, 10.0, 0.0)] == [0.1, 0.2, 0.1, 0.2]


def test_backoff_is_spread() -> None:
    """Up to half of a wait is taken off at random, so that processes do not restart in step."""
    assert Backoff(Fixed(1.0)).after(0.0) == pytest.approx(0.05)


def test_backoff_stays_bounded_for_ever() -> None:
    """A process that never runs does not make the wait overflow."""
    backoff = Backoff(Fixed(0.0))
    assert {backoff.after(0.0) for _ in range(5000)} == {0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0}


def test_the_system_file_names_the_database() -> None:
    """A service gets the database that the system file names, not one that is inherited."""
    one = ServiceSpec(name="order", app="order.app:service", database="sqlite:///order.db")
    whole = System(name="shop", file=Path("/shop/skerry.toml"), services={"order": one})
    found = environment_for(whole, "order", data=Path("/d"), ports={"order": 1}, environ={"SKERRY_DATABASE": "x"})
    assert found["SKERRY_DATABASE"] == "sqlite:///order.db"
