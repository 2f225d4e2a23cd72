"""A gRPC service in a process of its own that is killed, stopped, and comes back."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc_peers
import pytest
from grpc_peers import OWN, one

from skerry.client.grpc import grpc_channel
from skerry.errors import AttemptTimeout, CallError, ConnectionLost, Unreachable
from skerry.resilience import Policy, Retry

BOUND = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def process(port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    program = str(Path(grpc_peers.__file__))
    started = await asyncio.create_subprocess_exec(sys.executable, program, str(port), stdout=asyncio.subprocess.PIPE)
    try:
        assert started.stdout is not None
        assert await started.stdout.readline() == b"up\n"
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


def test_a_service_that_is_killed_is_called_again_when_it_is_back() -> None:
    """Calls fail as never sent, or as of unknown outcome, and the same channel finds the next process."""

    async def main() -> None:
        port = free_port()
        patient = Policy("peer", total=OWN, attempt=OWN, retry=None)
        async with (
            asyncio.timeout(BOUND),
            grpc_channel("peer", url=f"http://127.0.0.1:{port}", policy=patient) as channel,
        ):
            async with process(port) as first:
                assert await one(channel)(b"x") == b"x"
                os.kill(first.pid, signal.SIGKILL)
                await first.wait()
                failures: list[Exception] = []
                while not isinstance(failures[-1] if failures else None, Unreachable):
                    with pytest.raises(CallError) as failed:
                        await one(channel)(b"x")
                    failures.append(failed.value)
                assert {type(each) for each in failures} <= {ConnectionLost, Unreachable}
            async with process(port):
                answer = None
                while answer is None:
                    try:
                        answer = await one(channel)(b"back")
                    except Unreachable:
                        await asyncio.sleep(0.05)
                assert answer == b"back"

    asyncio.run(main())


def test_any_call_waits_for_a_service_that_starts() -> None:
    """Nothing was sent, so even a call that is not safe to repeat is repeated, within its time."""

    async def main() -> None:
        port = free_port()
        patient = Policy("peer", total=BOUND, retry=Retry(1000, base=0.05, cap=0.1))
        async with (
            asyncio.timeout(BOUND),
            grpc_channel("peer", url=f"http://127.0.0.1:{port}", policy=patient) as channel,
        ):

            async def ask() -> bytes:
                return await one(channel)(b"x")

            asking = asyncio.create_task(ask())
            await asyncio.sleep(0)
            async with process(port):
                assert await asking == b"x"

    asyncio.run(main())


def test_a_service_that_is_stopped_costs_the_limit_and_no_more() -> None:
    """With SIGSTOP the connection stays, and nothing comes back: the attempt ends by its time-out; then it goes on."""

    async def main() -> None:
        port = free_port()
        hurried = Policy("peer", total=OWN, attempt=0.3)
        async with (
            asyncio.timeout(BOUND),
            process(port) as peer,
            grpc_channel("peer", url=f"http://127.0.0.1:{port}", policy=hurried) as channel,
        ):
            await answers_again(channel)
            os.kill(peer.pid, signal.SIGSTOP)
            with pytest.raises(AttemptTimeout):
                await one(channel)(b"x")
            os.kill(peer.pid, signal.SIGCONT)
            await answers_again(channel)

    asyncio.run(main())


async def answers_again(channel: object) -> None:
    """Ask until there is an answer, for how fast this machine is decides nothing here."""
    while True:
        try:
            assert await one(channel)(b"x") == b"x"
        except (AttemptTimeout, CallError):
            await asyncio.sleep(0.05)
        else:
            return
