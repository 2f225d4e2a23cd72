"""What stands between a service and the world, exchanged for a test: time, network, event log, threads, environment.

Services are made by code that knows nothing of tests, so nothing can be handed to them. All places that are exchanged are
here, and each is put back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from skerry.client import client, plan
from skerry.client.transport import Transport
from skerry.clock import Clock
from skerry.events import Broker
from skerry.resilience import _wheel
from skerry.service import service
from skerry.store import sqlite
from skerry.testing.virtual_time import VirtualClock

DOMAIN: Final = "skerry.test"
"""Addresses of services in the process end with it (RFC 2606 keeps `.test` free)."""


def host_of(name: str) -> str:
    """The host that a service is."""
    return f"{name}.{DOMAIN}"


def address_of(name: str) -> str:
    """Where a service is found."""
    return f"http://{host_of(name)}"


@contextmanager
def wired(
    clock: VirtualClock,
    *,
    data: Path,
    transport: Transport,
    broker: Callable[[str], Broker],
    channel: Callable[..., Any],
) -> Iterator[None]:
    """Time is the test's, calls go over `transport` and `channel`, events to `broker`; what the shell says to skerry is not
    heard, and what the test itself makes keeps its files in `data`.
    """
    with ExitStack() as back:
        for name, replacement in _time(clock).items():
            _exchange(back, Clock, name, replacement)
        # each policy then has timers of its own: one that dies must not take those of the others along
        _exchange(back, _wheel, "SYSTEM", None)
        _exchange(back, client, "HttpTransport", lambda **_: transport)
        _exchange(back, client, "given", _given)
        _exchange(back, plan, "given", _given)
        _exchange(back, service, "connect", lambda _url, *, source, **_: broker(source))
        _exchange(back, sqlite.SQLiteDatabase, "_connect", _unflushed(sqlite.SQLiteDatabase._connect))
        if find_spec("grpc") is not None:
            _exchange(back, import_module("skerry.client.grpc"), "grpc_channel", channel)
        if find_spec("anyio") is not None:
            _exchange(back, import_module("anyio.to_thread"), "run_sync", _run_here)
        with _environment_kept():
            for name in [name for name in os.environ if name.startswith("SKERRY_")]:
                del os.environ[name]
            os.environ["SKERRY_DATA"] = str(data)
            yield


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """The process's environment with these variables in the block."""
    with _environment_kept():
        os.environ.update(values)
        yield


@contextmanager
def _environment_kept() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _time(clock: VirtualClock) -> dict[str, Any]:
    """The methods of the clock that everybody has by default."""

    async def sleep(_self: Clock, seconds: float) -> None:
        await clock.sleep(seconds)

    return {
        "now": lambda _self: clock.now(),
        "monotonic": staticmethod(clock.monotonic),
        "sleep": sleep,
        "sleep_sync": lambda _self, seconds: clock.sleep_sync(seconds),
        "wait": lambda _self, event, seconds: clock.wait(event, seconds),
        "random": lambda _self: clock.random(),
        "random_bytes": lambda _self, n: clock.random_bytes(n),
        "hex_id": staticmethod(clock.hex_id),
    }


def _given(name: str, url: str | None) -> str:
    """An address that was given stays; any other service is one in this process."""
    return url or address_of(name)


def _unflushed(connect: Callable[[sqlite.SQLiteDatabase], None]) -> Callable[[sqlite.SQLiteDatabase], None]:
    """What a service commits need not be on disk: the file is there for the next life, for the machine lives on."""

    def connected(database: sqlite.SQLiteDatabase) -> None:
        connect(database)
        if database._writer is not None:
            database._writer.execute("PRAGMA synchronous=OFF")

    return connected


async def _run_here(function: Callable[..., Any], *args: Any, **_options: Any) -> Any:
    """What FastAPI would send to a thread, such as an endpoint without `async`, runs at once."""
    return function(*args)


def _exchange(back: ExitStack, owner: Any, name: str, replacement: Any) -> None:
    before = vars(owner)[name]
    setattr(owner, name, replacement)
    back.callback(setattr, owner, name, before)
