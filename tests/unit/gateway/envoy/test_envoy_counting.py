"""From Envoy's statistics to a tally: what is an error, what is left out, and sums that outlive the process that counted them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from skerry.clock import SYSTEM
from skerry.envoy.admin import Admin
from skerry.gateway.envoy.counting import Counting
from skerry.gateway.envoy.strangling import Counted
from skerry.gateway.strangler import tally

KEY = "strangled~k~"
ROUTE = Counted("shop", "k", weighed=False, held=False)


class Statistics:
    """An administration of Envoy that answers what a test says it has counted."""

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self.times: dict[str, list[int]] = {}
        self.away = False

    def ended(
        self, cluster: str, number: int, *, status: int, attempts: str = "1", flags: str = "-", by: str = ""
    ) -> None:
        name = f"strangled.requests.cluster.{KEY}{cluster}.status.{status}.attempts.{attempts}.ended.{flags}"
        self.counters[f"{name}.by.{by or KEY + cluster.removesuffix('~or-control')}"] = number

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        found: list[Any] = [{"name": name, "value": value} for name, value in self.counters.items()]
        kept = [
            {"name": f"strangled.times.cluster.{KEY}{name}", "buckets": [{"cumulative": number} for number in buckets]}
            for name, buckets in self.times.items()
        ]
        body = json.dumps({"stats": [*found, {"histograms": kept}]}).encode()
        if not self.away:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + body)
        writer.close()


def counting(
    folder: Path, play: Callable[[Statistics, Counting, list[object]], Awaitable[None]], route: Counted = ROUTE
) -> tally.Tally:
    """Run `play`; what the file says then. The last of the list is the process's life."""

    async def main() -> None:
        statistics, lives = Statistics(), [object()]
        server = await asyncio.start_unix_server(statistics.answer, str(folder / "admin"))
        counts = Counting(folder, Admin(folder / "admin"), life=lambda: lives[-1], clock=SYSTEM)
        counts.serves(7, (route,))
        await play(statistics, counts, lives)
        server.close()
        await server.wait_closed()

    asyncio.run(main())
    (found,) = tally.read(folder).values()
    return found


@pytest.mark.parametrize(
    ("ended", "requests", "errors", "refused"),
    [
        ({"status": 200}, 3, 0, 0),
        ({"status": 500}, 3, 3, 0),
        ({"status": 404}, 3, 0, 3),
        ({"status": 200, "attempts": "2"}, 3, 3, 0),
        ({"status": 500, "attempts": "3"}, 3, 3, 0),
        ({"status": 503, "attempts": "0", "flags": "UH"}, 3, 3, 0),
        ({"status": 401, "attempts": "0"}, 0, 0, 0),
        ({"status": 429, "attempts": "-"}, 0, 0, 0),
        ({"status": 200, "flags": "UC"}, 3, 3, 0),
        ({"status": 200, "flags": "DC"}, 3, 0, 0),
    ],
)
def test_a_request_is_one_error_or_none(
    tmp_path: Path, ended: dict[str, Any], requests: int, errors: int, refused: int
) -> None:
    """By its status, its attempts and how it ended; what never went anywhere tells nothing of a side."""

    async def play(statistics: Statistics, counts: Counting, _: list[object]) -> None:
        statistics.ended("control", 3, **ended)
        await counts.look()

    arm = counting(tmp_path, play).routes["shop"].control
    assert (arm.requests, arm.errors, arm.refused) == (requests, errors, refused)


def test_what_the_control_answered_for_the_candidate_is_the_candidates_error(tmp_path: Path) -> None:
    """Also when the candidate had no instance to be asked at all, and so nothing was sent twice."""

    async def play(statistics: Statistics, counts: Counting, _: list[object]) -> None:
        statistics.ended("candidate~or-control", 4, status=200)
        statistics.ended("candidate~or-control", 2, status=200, attempts="2", by=f"{KEY}control")
        statistics.ended("candidate~or-control", 1, status=200, attempts="1", by=f"{KEY}control")
        await counts.look()

    found = counting(tmp_path, play).routes["shop"]
    assert (found.candidate.requests, found.candidate.errors) == (7, 3)
    assert found.control.requests == 0


def test_sums_go_on_when_envoy_begins_anew(tmp_path: Path) -> None:
    """Its counters are at nothing then; what it counts is added to what was counted."""

    async def play(statistics: Statistics, counts: Counting, lives: list[object]) -> None:
        statistics.ended("control", 10, status=200)
        statistics.times["control.attempts.1"] = [4, 6]
        await counts.look()
        await counts.look()
        lives.append(object())
        statistics.ended("control", 12, status=200)
        statistics.times["control.attempts.1"] = [5, 7]
        await counts.look()

    control = counting(tmp_path, play).routes["shop"].control
    assert control.requests == 22
    assert control.times[:2] == [9, 13]


def test_writes_are_those_that_the_candidate_was_sent(tmp_path: Path) -> None:
    """Sums of what went there, and how many are under way to either side."""

    async def play(statistics: Statistics, counts: Counting, _: list[object]) -> None:
        statistics.counters[f"cluster.{KEY}candidate~unsafe.upstream_rq_total"] = 5
        statistics.counters[f"cluster.{KEY}candidate~unsafe.upstream_rq_active"] = 1
        statistics.counters[f"cluster.{KEY}control~unsafe.upstream_rq_active"] = 2
        await counts.look()

    found = counting(tmp_path, play).routes["shop"]
    assert (found.writes, found.writing) == (5, 3)


def test_writes_that_go_by_weight_are_evidence_too(tmp_path: Path) -> None:
    """Of a route whose owner has them they are not, for the other side has nothing to be compared with."""

    async def play(statistics: Statistics, counts: Counting, _: list[object]) -> None:
        statistics.ended("control~unsafe", 3, status=200)
        statistics.ended("control", 4, status=200)
        await counts.look()

    weighed = Counted("shop", "k", weighed=True, held=False)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert counting(tmp_path / "a", play, weighed).routes["shop"].control.requests == 7
    assert counting(tmp_path / "b", play).routes["shop"].control.requests == 4


def test_a_version_is_told_with_the_first_look_and_a_hold_with_the_second(tmp_path: Path) -> None:
    """A gateway is known at once, with no version; the threads of Envoy hold by the second look at the latest."""

    async def play(_: Statistics, counts: Counting, __: list[object]) -> None:
        assert [one.version for one in tally.read(tmp_path).values()] == [0]
        await counts.look()
        assert counts.tally.version == 7
        counts.serves(8, (Counted("shop", "k", weighed=False, held=True),))
        await counts.look()
        assert counts.tally.version == 7
        await counts.look()

    assert counting(tmp_path, play).version == 8


def test_an_envoy_that_does_not_answer_confirms_nothing(tmp_path: Path) -> None:
    """The file stays as it is until it does."""

    async def play(statistics: Statistics, counts: Counting, _: list[object]) -> None:
        statistics.away = True
        await counts.look()

    assert counting(tmp_path, play).version == 0
