"""The chain as three real processes on the loopback address, asked over HTTP; with both cores to itself, and without."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2

from benchmarks.overload.load import PATIENCE, Outcome, Scenario
from benchmarks.overload.policies import calling
from skerry import ServiceClient
from skerry.errors import SkerryError

ROOT = Path(__file__).parents[2]
START_WITHIN = 30.0
"""Seconds that a process may take to answer."""
ATTEMPTS = 3
"""At a round on a machine that has other things to do."""
WARM_UP = 10
"""Calls before the first that counts."""

Ask = Callable[[], Awaitable[bool]]


def fair_chain(who: str, scenario: Scenario, *, seed: int, burners: int = 0) -> tuple[Outcome, int]:
    """A round that tells of the chain, and how many were thrown away before; the last one, when none does."""
    discarded = 0
    while True:
        outcome = run_chain(who, scenario, seed=seed, burners=burners)
        if outcome.fair or discarded + 1 >= ATTEMPTS:
            return outcome, discarded
        discarded += 1


def run_chain(who: str, scenario: Scenario, *, seed: int, burners: int = 0) -> Outcome:
    """One round; `burners` more processes do nothing but keep a core busy."""
    with ExitStack() as stack:
        ports = {name: stack.enter_context(_reserved()) for name in "abc"}
        urls = {f"SKERRY_URL_{name.upper()}": f"http://127.0.0.1:{port}" for name, port in ports.items()}
        for name, port in ports.items():
            program = ["-m", "benchmarks.overload.node", who, name]
            stack.enter_context(_process(program, **urls, SKERRY_PORT=str(port)))
        for _ in range(burners):
            stack.enter_context(_process(["-c", "while True: pass"]))
        return asyncio.run(_round(who, scenario, urls, seed))


@contextmanager
def _reserved() -> Iterator[int]:
    """A port that the kernel gives, kept from others until the end; servers bind to it with SO_REUSEPORT too."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield reserved.getsockname()[1]


@contextmanager
def _process(program: list[str], **variables: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, *program], cwd=ROOT, env=os.environ | variables)
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def _round(who: str, scenario: Scenario, urls: dict[str, str], seed: int) -> Outcome:
    async with httpx2.AsyncClient(timeout=PATIENCE, limits=httpx2.Limits(max_connections=None)) as plain:
        for url in urls.values():
            await _until_up(plain, url)
        if who == "naive":

            async def ask() -> bool:
                return (await plain.get(f"{urls['SKERRY_URL_A']}/work")).status_code == 200

            return await _measure(scenario, ask, plain, urls["SKERRY_URL_C"], seed)
        async with ServiceClient("a", url=urls["SKERRY_URL_A"], policy=calling("a")) as client:

            async def ask() -> bool:
                return (await client.get("/work")).status == 200

            return await _measure(scenario, ask, plain, urls["SKERRY_URL_C"], seed)


async def _until_up(client: httpx2.AsyncClient, url: str) -> None:
    until = time.monotonic() + START_WITHIN
    while True:
        try:
            await client.get(f"{url}/seen")
        except httpx2.HTTPError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.1)
        else:
            return


async def _measure(scenario: Scenario, ask: Ask, plain: httpx2.AsyncClient, c: str, seed: int) -> Outcome:
    """An open loop, and once a second how much has come to C; first a few calls one by one, for connections and imports."""
    for _ in range(WARM_UP):
        with contextlib.suppress(SkerryError, httpx2.HTTPError):
            await ask()
    outcome, dice, begun = Outcome(scenario), random.Random(seed), time.monotonic()

    async def one(due: float) -> None:
        at = time.monotonic() - begun
        outcome.late = max(outcome.late, at - due)
        try:
            ok = await asyncio.wait_for(ask(), PATIENCE)
        except (SkerryError, httpx2.HTTPError, TimeoutError):
            ok = False
        outcome.note(min(at, scenario.seconds), ok=ok)

    async def count() -> None:
        seen = 0
        for second in range(scenario.seconds):
            await asyncio.sleep(max(0.0, begun + second + 1 - time.monotonic()))
            now = (await plain.get(f"{c}/seen", timeout=30.0)).json()
            outcome.reached[second], seen = now - seen, now

    counting = asyncio.create_task(count())
    at = 0.0
    async with asyncio.TaskGroup() as group:
        while at < scenario.seconds:
            group.create_task(one(at))
            at += dice.expovariate(scenario.rate(at))
            await asyncio.sleep(max(0.0, begun + at - time.monotonic()))
    await asyncio.wait([counting], timeout=30.0)
    counting.cancel()
    return outcome
