"""What goes wrong around an engine: killed processes, servers that are away, folders in use, wrong passwords, TLS."""

from __future__ import annotations

import asyncio
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from seller import SALES as SOLD
from seller import build, handled, keep, place
from selling import SALES, Engine, sale

from servers.clickhouse import ClickHouseServer
from skerry.errors import ConfigurationError, StoreBusy, StoreError, StoreUnavailable
from skerry.store.analytics import connect

HERE = Path(__file__).parent
BOUND = 90.0
ORDERS, DEATHS = 60, 3


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(BOUND):
        while not await condition():
            await asyncio.sleep(0.02)


def test_killed_between_insert_and_commit_a_batch_comes_again_and_converges(
    address: str, opened: Engine, tmp_path: Path
) -> None:
    """The engine has the batch, the service does not know: after each restart it is sent again, and counts once."""
    command = [sys.executable, HERE / "seller.py", tmp_path, address, str(ORDERS), str(DEATHS)]
    codes = [
        subprocess.run(command, timeout=BOUND, capture_output=True, check=False).returncode for _ in range(DEATHS + 1)
    ]
    assert codes == [-signal.SIGKILL] * DEATHS + [0]

    async def main() -> None:
        async with opened(SOLD, owner="seller") as facts:
            [row] = await facts.query("SELECT count() AS n, sum(amount) AS total, uniqExact(id) AS ids FROM {sales}")
            assert row == {"n": ORDERS, "total": sum(range(ORDERS)), "ids": ORDERS}
            sent = sum(map(int, (tmp_path / "sent").read_text().split()))
            assert sent > ORDERS  # or this test shows nothing

    asyncio.run(main())


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the folder open."""
    command = [sys.executable, HERE / "holder.py", tmp_path]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=BOUND)


@pytest.mark.parametrize("address", ["chdb"], indirect=True)
def test_a_second_process_is_told_that_the_folder_is_in_use(
    opened: Engine, tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    """Not opened while another process has it; killed, that one leaves nothing in the way."""

    async def main() -> None:
        with pytest.raises(StoreBusy, match="facts is in use by another process: the engine lets in one at a time"):
            async with opened():
                pass
        assert holder.poll() is None
        holder.kill()
        holder.wait(BOUND)
        async with opened() as facts:
            await facts.append(SALES, [sale("a")])
            second = [sys.executable, HERE / "holder.py", tmp_path]
            told = subprocess.run(second, capture_output=True, text=True, timeout=BOUND, check=True)
            assert told.stdout.startswith("StoreBusy: ")
            assert len(await facts.query("SELECT * FROM {sales}")) == 1

    asyncio.run(main())


@pytest.mark.parametrize("address", ["chdb"], indirect=True)
def test_a_process_has_one_folder_open_at_a_time(opened: Engine) -> None:
    """A second folder is refused with the reason, and the first goes on; closed, it makes room for another."""

    async def main() -> None:
        async with opened() as facts:
            await facts.append(SALES, [sale("a")])
            with pytest.raises(StoreError, match="this process has another folder of this engine open"):
                async with opened(url="chdb:///more/"):
                    pass
            assert len(await facts.query("SELECT * FROM {sales}")) == 1
        async with opened(url="chdb:///more/") as more:
            assert await more.query("SELECT * FROM {sales}") == []

    asyncio.run(main())


def test_a_server_that_is_away_is_found_again(server_of_its_own: ClickHouseServer, tmp_path: Path) -> None:
    """Down at the start, killed in between, started anew: each call says so or works, and nobody has to open it again."""
    server = server_of_its_own

    async def main() -> None:
        facts = connect(server.url(), owner="analytics", data=tmp_path)
        facts.declare(SALES)
        try:
            await asyncio.to_thread(server.kill)
            for call in (facts.open(), facts.append(SALES, [sale("a")]), facts.query("SELECT 1")):
                with pytest.raises(StoreUnavailable, match=r"^127\.0\.0\.1:\d+/shop cannot be reached") as failed:
                    await call
                assert server.password not in str(failed.value)
                assert failed.value.__cause__ is None
            await asyncio.to_thread(server.start)
            await facts.append(SALES, [sale("a")])
            await asyncio.to_thread(server.kill)
            with pytest.raises(StoreUnavailable):
                await facts.append(SALES, [sale("b")])
            await asyncio.to_thread(server.start)
            await facts.append(SALES, [sale("b")])
            assert len(await facts.query("SELECT * FROM {sales}")) == 2
        finally:
            await facts.close()

    asyncio.run(main())


def test_a_server_that_does_not_answer_is_given_up(server_of_its_own: ClickHouseServer, tmp_path: Path) -> None:
    """Stopped in its tracks, it keeps nobody longer than the time-out of the address, and works again when it goes on."""
    server = server_of_its_own

    async def main() -> None:
        facts = connect(server.url("?timeout=1"), owner="analytics", data=tmp_path)
        facts.declare(SALES)
        try:
            await facts.open()
            server.pause()
            with pytest.raises(StoreUnavailable):
                await facts.append(SALES, [sale("a")])
            server.resume()

            async def again() -> bool:
                with suppress(StoreUnavailable):  # it has what piled up to do first
                    await facts.append(SALES, [sale("a")])
                    return True
                return False

            await until(again)
            with pytest.raises(StoreBusy, match="TIMEOUT_EXCEEDED"):
                await facts.query("SELECT sleepEachRow(0.5) FROM numbers(6)")
            assert len(await facts.query("SELECT * FROM {sales}")) == 1
        finally:
            await facts.close()

    asyncio.run(main())


def test_events_wait_in_the_log_while_the_engine_is_away(server_of_its_own: ClickHouseServer, tmp_path: Path) -> None:
    """The service starts and works all the same; its health warns; once the engine is back each event counts, by itself."""
    server = server_of_its_own

    async def main() -> None:
        await asyncio.to_thread(server.kill)
        service = build(tmp_path, server.url("?timeout=2"))
        keep(service)
        await service.start()
        try:
            await place(service, 30)

            async def warned() -> bool:
                report = await service.readiness()
                told = {name: result.output for name, result in report.checks.items() if result.status == "warn"}
                assert report.status in {"pass", "warn"}
                assert server.password not in str(told)
                return "StoreUnavailable" in str(told.get("events")) and "analytics" in told

            await until(warned)
            assert await handled(service) == 0
            assert await service.database.fetch_all("SELECT * FROM skerry_parked") == []
            await asyncio.to_thread(server.start)

            async def all_handled() -> bool:
                return await handled(service) == 30

            await until(all_handled)
            await asyncio.to_thread(server.kill)
            await place(service, 60, begin=30)
            await asyncio.to_thread(server.start)

            async def well() -> bool:
                return await handled(service) == 60 and (await service.readiness()).status == "pass"

            await until(well)
            [row] = await service.analytics.query("SELECT count() AS n, sum(amount) AS total FROM {sales}")
            assert row == {"n": 60, "total": sum(range(60))}
        finally:
            await service.stop()

    asyncio.run(main())


def test_many_events_make_few_inserts(address: str, tmp_path: Path) -> None:
    """A backlog goes in batches of 250, and a trickle in one insert for all that came while it lingered."""

    async def main() -> None:
        service = build(tmp_path, address)
        inserts: list[int] = []
        keep(service, after=inserts.append, linger=0.5)
        await service.open()
        await place(service, 1000)
        try:
            await service.begin()

            async def all_handled() -> bool:
                return await handled(service) == 1000

            await until(all_handled)
            assert sum(inserts) == 1000
            assert len(inserts) <= 20  # 4 when the relay is quicker than we are
            [row] = await service.analytics.query("SELECT count() AS n, sum(amount) AS total FROM {sales}")
            assert row == {"n": 1000, "total": sum(range(1000))}
        finally:
            await service.stop()

    asyncio.run(main())


def test_a_wrong_password_is_said_and_never_repeated(
    server: ClickHouseServer, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The error names the server and what to check; neither it nor a log line holds a password."""
    secret = "c4n4ry-p4ssword"

    async def main() -> None:
        facts = connect(server.url(password=secret), owner="analytics", data=tmp_path)
        try:
            with pytest.raises(StoreError, match="refuses the user or the password of the address") as refused:
                await facts.open()
            assert not isinstance(refused.value, StoreUnavailable)
            assert secret not in str(refused.value) + repr(facts)
        finally:
            await facts.close()

    asyncio.run(main())
    printed = capfd.readouterr()
    assert secret not in printed.out + printed.err + caplog.text


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that signs itself, and the same with its key."""
    folder = tmp_path_factory.mktemp("authority")
    subprocess.run(
        shlex.split(
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out ca.pem -days 2 "
            "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
        ),
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=BOUND,
    )
    both = folder / "both.pem"
    both.write_text((folder / "ca.pem").read_text() + (folder / "key.pem").read_text())
    return folder / "ca.pem", both


def test_a_server_with_tls_is_believed_by_its_certificate(authority: tuple[Path, Path], tmp_path: Path) -> None:
    """With the authority named it works, by scheme and by option; without, it is not spoken to."""
    ca, both = authority

    async def main(server: ClickHouseServer) -> None:
        for url in (server.url(f"?ca={ca}", scheme="clickhouses"), server.url(f"?secure=true&ca={ca}")):
            facts = connect(url, owner="analytics", data=tmp_path)
            facts.declare(SALES)
            await facts.append(SALES, [sale("a")])
            assert len(await facts.query("SELECT * FROM {sales}")) == 1
            await facts.close()
        for url in (server.url(scheme="clickhouses"), server.url()):
            facts = connect(url, owner="analytics", data=tmp_path)
            with pytest.raises(StoreUnavailable):
                await facts.open()
            await facts.close()

    with ClickHouseServer(tmp_path / "tls", certificate=both) as server:
        asyncio.run(main(server))


@pytest.mark.parametrize(
    "url",
    [
        "c4n4ry",
        "http://c4n4ry@host/db",
        "chdb:c4n4ry",
        "chdb:///",
        "chdb:///../c4n4ry/",
        "chdb:///facts/?timeout=c4n4ry",
        "chdb:///facts/?timeout=0",
        "chdb:///facts/?timeout=nan",
        "chdb:///facts/?secret=c4n4ry",
        "clickhouse://ann:c4n4ry@host",
        "clickhouse://ann:c4n4ry@host/a/b",
        "clickhouse://ann:c4n4ry@host:port/db",
        "clickhouse://ann:c4n4ry@host/db?timeout=1e9",
        "clickhouse://ann:c4n4ry@host/db?verify=0",
        "clickhouse://ann:c4n4ry@[host/db",
    ],
)
def test_an_address_that_cannot_be_is_refused_without_being_repeated(url: str, tmp_path: Path) -> None:
    """The error comes before anything is opened, and says what an address looks like."""
    with pytest.raises(ConfigurationError) as refused:
        connect(url, owner="analytics", data=tmp_path)
    assert "c4n4ry" not in str(refused.value).replace("'../c4n4ry'", "")
    assert not list(tmp_path.iterdir())
