from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import late
import pytest
from served import APP, Process, run_once, running


def play(tmp_path: Path, *acts: Callable[[Process], Awaitable[None]], **environ: str) -> None:
    """One process after the other on the same data, each for one act."""

    async def main() -> None:
        for act in acts:
            async with running(tmp_path, **environ) as process:
                await act(process)

    asyncio.run(main())


def test_a_stop_finishes_what_is_under_way(tmp_path: Path) -> None:
    """On SIGTERM a service is not ready at once, finishes its requests and steps, takes no more, and exits with 0."""

    async def stop(served: Process) -> None:
        await served.client.post("/sagas/1")
        slow = asyncio.create_task(served.client.get("/slow/1.0"))
        while not (tmp_path / "slow").exists():
            await asyncio.sleep(0.01)
        served.process.send_signal(signal.SIGTERM)
        await served.logged("draining")
        assert (await served.client.get("/health/ready")).status_code == 503
        assert (await slow).json() == {"slept": 1.0}
        assert await served.process.wait() == 0
        assert await served.refuses_connections()

    async def look(served: Process) -> None:
        assert (await served.client.get("/sagas/1")).json() == "completed"

    play(tmp_path, stop, look)


def test_a_stop_under_load_loses_nothing(tmp_path: Path) -> None:
    """While a stopping service is called without pause, every effect is answered and every answer had its effect."""
    served_requests = 0

    async def stop(served: Process) -> None:
        async def call_without_pause() -> None:
            nonlocal served_requests
            while True:
                response = await late.post(served.client, "/quick")
                if response is None:
                    return
                assert response.status_code == 200
                served_requests += 1

        callers = [asyncio.create_task(call_without_pause()) for _ in range(4)]
        while served_requests < 20:
            await asyncio.sleep(0.01)
        served.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*callers)
        assert await served.process.wait() == 0

    async def count(served: Process) -> None:
        assert (await served.client.get("/effects")).json() == served_requests

    play(tmp_path, stop, count)


def test_a_stop_does_not_wait_for_ever(tmp_path: Path) -> None:
    """What is under way beyond the drain time is cut off, and the exit is still clean."""

    async def stop(served: Process) -> None:
        slow = asyncio.create_task(served.client.get("/slow/60"))
        while not (tmp_path / "slow").exists():
            await asyncio.sleep(0.01)
        served.process.send_signal(signal.SIGTERM)
        assert await served.process.wait() == 0
        await asyncio.wait([slow])

    play(tmp_path, stop, SKERRY_DRAIN="1")


def test_a_supervised_service_ends_with_its_supervisor(tmp_path: Path) -> None:
    """When supervised, SIGINT is the supervisor's business, and the end of standard input a clean stop."""

    async def stop(served: Process) -> None:
        served.process.send_signal(signal.SIGINT)
        assert (await served.client.get("/health/ready")).status_code == 200
        assert served.process.stdin is not None
        served.process.stdin.close()
        assert await served.process.wait() == 0

    play(tmp_path, stop, SKERRY_SUPERVISED="1")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "usage: python -m skerry.service MODULE:ATTRIBUTE"),
        (("tiny:service", "more"), "usage: "),
        (("tiny",), "'tiny' is not MODULE:ATTRIBUTE"),
        (("nowhere:service",), "cannot import 'nowhere'"),
        (("wrong:service",), "cannot import 'wrong': cannot import name 'nothing'"),
        (("tiny:api",), "'tiny:api' is not a skerry Service"),
        (("tiny:nothing",), "'tiny:nothing' is not a skerry Service"),
        (("lonely:service",), "SKERRY_URL_STOCK"),
    ],
    ids=["none", "two", "no attribute", "no module", "broken import", "no service", "nothing", "no address"],
)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    """What cannot be served ends with status 1 and one line on standard error, without a traceback."""
    (tmp_path / "tiny.py").write_text(APP)
    (tmp_path / "wrong.py").write_text("from tiny import nothing\n")
    (tmp_path / "lonely.py").write_text(
        "from skerry.service import Service\nservice = Service('x')\nservice.client('stock')"
    )
    ended = run_once(tmp_path, *arguments)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert ended.stderr.startswith("error: ")
    assert words in ended.stderr


def test_a_wrong_environment_is_told_in_one_line(tmp_path: Path) -> None:
    """A setting that means nothing, or a port that is taken, ends with status 1 and one line."""
    (tmp_path / "tiny.py").write_text(APP)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for name, value in (("SKERRY_PORT", "many"), ("SKERRY_PORT", port), ("SKERRY_HOST", "256.0.0.1")):
            ended = run_once(tmp_path, "tiny:service", **{name: value})
            assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), ended.stderr
            assert name in ended.stderr


def test_a_start_that_fails_exits_with_an_error(tmp_path: Path) -> None:
    """A service whose database is another's does not start, says why in its log, and exits with status 3."""
    (tmp_path / "tiny.py").write_text(APP)
    (tmp_path / "first.py").write_text(APP.replace('Service("tiny"', 'Service("first"'))

    async def first() -> None:
        async with running(tmp_path) as served:
            served.process.send_signal(signal.SIGTERM)
            assert await served.process.wait() == 0

    asyncio.run(first())
    ended = run_once(tmp_path, "first:service", SKERRY_PORT="0")
    assert ended.returncode == 3
    assert "belongs to the service 'tiny'" in ended.stderr
