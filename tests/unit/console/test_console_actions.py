"""What people do from the console really happens, on a real database, and is written down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from consoleworld import ACT, BEARER, console

from skerry.console import Sources
from skerry.events import DeadLetters, Outbox
from skerry.events.brokers import Message
from skerry.events.parking import Parking
from skerry.resilience import Retry
from skerry.saga import Engine, Journal, Saga, Sagas
from skerry.store import Database, Receipts, SQLiteDatabase
from skerry.testing import VirtualClock, run_virtual

HOSTILE = "<img src=x onerror=alert(1)>"


class Bank:
    """Takes money only when it is open."""

    def __init__(self) -> None:
        self.open = False
        self.taken: list[str] = []

    def saga(self) -> Saga:
        """A saga whose only step needs the bank."""
        saga = Saga("pay")

        async def take(_ctx: Any, given: str) -> None:
            if not self.open:
                raise OSError("the bank is closed")
            self.taken.append(given)

        saga.retriable(retry=Retry(2, base=0.1, cap=0.1))(take)
        return saga


async def park(database: Database) -> None:
    """Two dead letters and what is held behind the first."""
    await Receipts.prepare(database)
    await Outbox.prepare(database)
    async with database.transaction() as tx:
        for number, (key, state) in enumerate((("a", "dead"), ("a", "held"), (HOSTILE, "dead")), 1):
            message = Message(f"e{number}", "placed", key, json.dumps({"data": {"name": HOSTILE}}))
            await Parking("order", hold_key=True).add(tx, message, state, attempts=3, reason="OSError")


def story(folder: Path, tell: Callable[[httpx2.AsyncClient, Database, str, Bank, Engine], Awaitable[None]]) -> None:
    """A console beside the running engine of a service with a stuck saga and dead letters."""

    async def main(clock: VirtualClock) -> None:
        @asynccontextmanager
        async def opened(_service: str) -> AsyncIterator[Database]:
            beside = SQLiteDatabase(folder / "order.db", owner="order", clock=clock)
            await beside.open()
            try:
                yield beside
            finally:
                await beside.close()

        sources = Sources(name="shop", stores=("order",), open_store=opened, audit=folder / "audit.jsonl")
        bank = Bank()
        async with opened("order") as database:
            await park(database)
            await Journal.prepare(database)
            engine = Engine("order", database, clock=clock)
            saga = bank.saga()
            engine.add(saga)
            serving = asyncio.create_task(engine.serve())
            async with database.transaction() as tx:
                saga_id = await engine.start(tx, saga, "o1", key=HOSTILE)
            assert (await engine.wait(saga_id)).status == "stuck"
            async with console(sources, clock=clock, looking=True) as client:
                await clock.sleep(0.1)
                await tell(client, database, saga_id, bank, engine)
            await engine.stop(serving, within=1.0)

    run_virtual(main)


async def audited(client: httpx2.AsyncClient) -> list[tuple[str, str, str]]:
    """Action, target and outcome of each audit record, the newest first."""
    found = (await client.get("/api/audit", headers=BEARER)).json()["audit"]
    return [(record["action"], record["target"], record["outcome"]) for record in found]


async def act(client: httpx2.AsyncClient, path: str, **body: Any) -> httpx2.Response:
    return await client.post(f"/api/{path}", headers=ACT, json=body)


def test_a_stuck_saga_that_is_retried_goes_on(tmp_path: Path) -> None:
    """The running engine takes it up and completes it; the act is in the saga's timeline and in the audit."""

    async def tell(client: httpx2.AsyncClient, _database: Database, saga_id: str, bank: Bank, engine: Engine) -> None:
        view = (await client.get("/api/view", headers=BEARER)).json()
        (person,) = [each for each in view["people"] if each["kind"] == "saga"]
        assert (person["id"], person["service"], person["actions"]) == (saga_id, "order", ["retry", "skip", "resolve"])
        assert view["strip"]["sagas"]["stuck"] == 1
        bank.open = True
        answer = await act(client, f"sagas/order/{saga_id}/retry", confirm=saga_id, reason="the bank is open")
        assert (answer.status_code, answer.json()["status"]) == (200, "running")
        assert (await engine.wait(saga_id)).status == "completed"
        assert bank.taken == ["o1"]
        timeline = (await client.get(f"/api/sagas/order/{saga_id}", headers=BEARER)).json()["timeline"]
        assert [(each["what"], each["note"]) for each in timeline if each["by_hand"]] == [("retry", "the bank is open")]
        assert await audited(client) == [("retry", saga_id, "done")]

    story(tmp_path, tell)


def test_a_step_is_skipped_where_the_saga_stands(tmp_path: Path) -> None:
    """The console says where it stands, and skips that; a step it does not stand at is refused, which is written down too."""

    async def tell(client: httpx2.AsyncClient, _database: Database, saga_id: str, bank: Bank, engine: Engine) -> None:
        shown = (await client.get(f"/api/sagas/order/{saga_id}", headers=BEARER)).json()
        assert shown["stands_at"] == "take"
        refused = await act(client, f"sagas/order/{saga_id}/skip", confirm=saga_id, step="other")
        assert refused.status_code == 409
        answer = await act(client, f"sagas/order/{saga_id}/skip", confirm=saga_id, reason="paid in cash")
        assert answer.status_code == 200
        assert (await engine.wait(saga_id)).status == "completed"
        assert bank.taken == []
        (done, *_), (action, _, outcome) = await audited(client)
        assert done == "skip"
        assert (action, outcome.partition(":")[0]) == ("skip", "refused")

    story(tmp_path, tell)


def test_a_saga_is_resolved_as_what_it_was_on_its_way_to(tmp_path: Path) -> None:
    """Completed when it went forward, unless a person says otherwise; a second time is refused."""

    async def tell(client: httpx2.AsyncClient, database: Database, saga_id: str, _bank: Bank, _engine: Engine) -> None:
        nonsense = await act(client, f"sagas/order/{saga_id}/resolve", confirm=saga_id, **{"as": "gone"})
        assert nonsense.status_code == 400
        answer = await act(client, f"sagas/order/{saga_id}/resolve", confirm=saga_id, reason="settled")
        assert answer.json()["status"] == "completed"
        assert (await Sagas(database).get(saga_id)).status == "completed"
        again = await act(client, f"sagas/order/{saga_id}/resolve", confirm=saga_id)
        assert (again.status_code, "completed" in again.json()["error"]) == (409, True)

    story(tmp_path, tell)


def test_a_dead_letter_that_is_replayed_is_tried_again(tmp_path: Path) -> None:
    """It is no dead letter any more, and due at once with all its attempts; the act is written down."""

    async def tell(client: httpx2.AsyncClient, database: Database, _saga: str, _bank: Bank, _engine: Engine) -> None:
        found = (await client.get("/api/dead", headers=BEARER)).json()
        assert [(each["id"], each["held"], each["service"]) for each in found["dead"]] == [
            (1, 1, "order"),
            (3, 0, "order"),
        ]
        assert (await act(client, "dead/order/1/replay", confirm=1, reason="mended")).json()["done"] is True
        letter = await DeadLetters(database).get(1)
        assert letter is not None
        assert (letter.state, letter.attempts) == ("retry", 0)
        assert (await act(client, "dead/order/1/replay", confirm="1")).status_code == 404
        outcomes = [(action, target, outcome.partition(":")[0]) for action, target, outcome in await audited(client)]
        assert outcomes == [("replay", "1", "refused"), ("replay", "1", "done")]

    story(tmp_path, tell)


def test_a_dead_letter_that_is_dropped_lets_others_go_on(tmp_path: Path) -> None:
    """It is gone, and what was held behind it is due."""

    async def tell(client: httpx2.AsyncClient, database: Database, _saga: str, _bank: Bank, _engine: Engine) -> None:
        assert (await act(client, "dead/order/1/drop", confirm="1")).status_code == 200
        assert await DeadLetters(database).get(1) is None
        behind = await DeadLetters(database).get(2)
        assert behind is not None
        assert behind.state == "retry"

    story(tmp_path, tell)


def test_an_act_that_is_not_confirmed_does_nothing(tmp_path: Path) -> None:
    """The id has to be said twice; what is no such body, service, letter or act is refused, and changes nothing."""

    async def tell(client: httpx2.AsyncClient, database: Database, saga_id: str, _bank: Bank, _engine: Engine) -> None:
        for path, body, status in (
            ("dead/order/1/drop", {"confirm": "3"}, 400),
            ("dead/order/1/drop", {}, 400),
            ("dead/order/1/drop", {"confirm": "1", "reason": ["x"]}, 400),
            ("dead/order/1/drop", [], 400),
            ("dead/order/1/burn", {"confirm": "1"}, 404),
            ("dead/other/1/drop", {"confirm": "1"}, 404),
            ("dead/order/-1/drop", {"confirm": "-1"}, 404),
            ("dead/order/99999999999999999999/drop", {"confirm": "99999999999999999999"}, 404),
            (f"sagas/order/{saga_id}/burn", {"confirm": saga_id}, 404),
            ("sagas/order/none/retry", {"confirm": "none"}, 404),
        ):
            answer = await client.post(f"/api/{path}", headers=ACT, json=body)
            assert (answer.status_code, bool(answer.json()["error"])) == (status, True), path
        assert await DeadLetters(database).count() == 2
        assert (await Sagas(database).get(saga_id)).status == "stuck"

    story(tmp_path, tell)


def test_what_cannot_be_written_down_is_not_done(tmp_path: Path) -> None:
    """Where the audit file cannot be written nothing is changed."""

    async def tell(client: httpx2.AsyncClient, database: Database, _saga: str, _bank: Bank, _engine: Engine) -> None:
        (tmp_path / "audit.jsonl").mkdir()
        answer = await act(client, "dead/order/1/drop", confirm="1")
        assert (answer.status_code, "nothing was changed" in answer.json()["error"]) == (400, True)
        assert await DeadLetters(database).get(1) is not None

    story(tmp_path, tell)


def test_the_audit_outlives_the_console(tmp_path: Path) -> None:
    """Records are lines of a file that only its owner reads; another console shows them, and passes over broken ones."""

    async def tell(client: httpx2.AsyncClient, _database: Database, _saga: str, _bank: Bank, _engine: Engine) -> None:
        await act(client, "dead/order/1/drop", confirm="1", reason=HOSTILE)
        file = tmp_path / "audit.jsonl"
        assert file.stat().st_mode & 0o777 == 0o600
        with file.open("a") as more:
            more.write("broken\n[]\n")
        async with console(Sources(audit=file)) as other:
            assert await audited(other) == [("drop", "1", "done")]

    story(tmp_path, tell)


def test_a_payload_is_shown_as_data(tmp_path: Path) -> None:
    """Markup in an event comes back as JSON, and nothing else."""

    async def tell(client: httpx2.AsyncClient, _database: Database, _saga: str, _bank: Bank, _engine: Engine) -> None:
        answer = await client.get("/api/dead/order/3", headers=BEARER)
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["envelope"] == {"data": {"name": HOSTILE}}
        assert answer.json()["key"] == HOSTILE

    story(tmp_path, tell)


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=-1", "limit=x", "limit=9999999"])
def test_lists_have_a_bound(query: str, tmp_path: Path) -> None:
    """A limit that is none is refused in words."""

    async def tell(client: httpx2.AsyncClient, _database: Database, _saga: str, _bank: Bank, _engine: Engine) -> None:
        for path in ("sagas", "dead", "traces"):
            answer = await client.get(f"/api/{path}?{query}", headers=BEARER)
            assert (answer.status_code, "limit" in answer.json()["error"]) == (400, True)

    story(tmp_path, tell)


def test_sagas_are_listed_by_status(tmp_path: Path) -> None:
    """Those that have not ended, of one status, or all; a status that is none is refused."""

    async def tell(client: httpx2.AsyncClient, _database: Database, saga_id: str, _bank: Bank, _engine: Engine) -> None:
        for query, ids in (
            ("", [saga_id]),
            ("?status=stuck", [saga_id]),
            ("?status=all", [saga_id]),
            ("?status=running", []),
        ):
            found = (await client.get(f"/api/sagas{query}", headers=BEARER)).json()
            assert ([each["id"] for each in found["sagas"]], found["errors"]) == (ids, [])
        assert (await client.get("/api/sagas?status=odd", headers=BEARER)).status_code == 404

    story(tmp_path, tell)
