"""Facts on every engine: what is appended again counts once, what goes in comes out, and nothing else gets in."""

from __future__ import annotations

import asyncio
import math
import struct
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from selling import SALES, Engine, sale

from skerry.errors import ConfigurationError, InvalidFact, QueryRejected, StoreError, WrongOwner
from skerry.store.analytics import FactTable
from skerry.store.analytics.dialect import MAX_ROWS

TEXTS = [
    "", "plain", "it's", 'say "yes"', "back\\slash", "\\", "\\N", "\\n", "tab\tnew\nline\rreturn", "nul\0inside", "\0",
    "'; --", "'); DROP TABLE sales; --", "{p1:String}", "{sales}", "?", "??", "$1", "%s %(x)s %", "/* */ -- #", "`;`",
    "\ufeffmark", "\x1b[2J",
    "é ü 漢字 😀 \u202e", "a\n\nSELECT 1;\n", "FORMAT TabSeparated", "x" * 20_000, "\x7f\x80\x9f", "\u2028\u2029",
]  # fmt: skip
INTS = [0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)]
FLOATS = [0.0, -0.0, 0.1, 1 / 3, 1e-320, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan, 2**53, 7]
DAYS = [date(1900, 1, 1), date(1969, 12, 31), date(1970, 1, 1), date(2024, 2, 29), date(2149, 6, 7), date(2299, 12, 31)]
TIMES = [
    datetime(1900, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(hours=2))),
    datetime(2299, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]


def bits(value: float) -> bytes:
    """A float to its last bit; every NaN alike."""
    return b"nan" if math.isnan(value) else struct.pack("d", value)


async def counted(facts: Any) -> tuple[int, int]:
    """How many facts there are, and their sum."""
    [row] = await facts.query("SELECT count() AS facts, sum(amount) AS amount FROM {sales}")
    return row["facts"], row["amount"]


def test_what_is_appended_again_counts_once(opened: Engine) -> None:
    """A batch that is sent again, or overlaps another, changes nothing; of two facts of one key the last one counts."""

    async def main() -> None:
        async with opened() as facts:
            batch = [sale(f"o-{n}", amount=n) for n in range(300)]
            for part in (batch, batch, batch[100:200], batch[::-1]):
                await facts.append(SALES, part)
                assert await counted(facts) == (300, sum(range(300)))
            await facts.append(SALES, [sale("o-7", amount=1007), sale("o-7", sku="ROPE-10", amount=5)])
            assert await counted(facts) == (301, sum(range(300)) + 1000 + 5)
            await facts.append(SALES, [])
            assert await counted(facts) == (301, sum(range(300)) + 1005)

    asyncio.run(main())


def test_facts_are_flushed_when_append_returns(opened: Engine) -> None:
    """The engine itself counts what it has flushed, and does so with each append; what it merges later is flushed, too."""
    flushed = "SELECT sum(value) AS n FROM system.events WHERE event IN ('FileSync', 'DirectorySync')"

    async def main() -> None:
        async with opened() as facts:
            for n in range(3):
                [before] = await facts.query(flushed)
                await facts.append(SALES, [sale(f"{n}")])
                [after] = await facts.query(flushed)
                assert after["n"] > before["n"]
            [settings] = await facts.query(
                "SELECT create_table_query AS made FROM system.tables "
                "WHERE database = currentDatabase() AND name = 'sales'"
            )
            assert "min_rows_to_fsync_after_merge = 1" in settings["made"]

    asyncio.run(main())


def test_a_fact_comes_out_as_it_went_in(opened: Engine) -> None:
    """Texts of any kind, the largest and smallest numbers, not-a-number, first and last days: none is changed or cut."""

    async def main() -> None:
        async with opened() as facts:
            rows = [
                sale(
                    f"{n}",
                    sku=text,
                    amount=INTS[n % len(INTS)],
                    share=FLOATS[n % len(FLOATS)],
                    gift=bool(n % 2),
                    day=DAYS[n % len(DAYS)],
                    at=TIMES[n % len(TIMES)],
                )
                for n, text in enumerate(TEXTS)
            ]
            await facts.append(SALES, rows)
            found = {row["order_id"]: row for row in await facts.query("SELECT * FROM {sales}")}
            for row in rows:
                there = found.pop(row["order_id"])
                assert bits(there.pop("share")) == bits(float(row.pop("share")))
                assert there == row
                assert type(there["gift"]) is bool
                assert there["at"].tzinfo == UTC
            assert not found

    asyncio.run(main())


def test_a_parameter_is_never_part_of_the_text(opened: Engine) -> None:
    """Whatever a parameter says it is a value, found by what is equal to it and by nothing else."""

    async def main() -> None:
        async with opened() as facts:
            await facts.append(SALES, [sale(f"{n}", sku=text) for n, text in enumerate(TEXTS)])
            for n, text in enumerate(TEXTS):
                found = await facts.query("SELECT order_id, ? AS said FROM {sales} WHERE sku = ?1", (text,))
                assert found == [{"order_id": f"{n}", "said": text}]
            for value in [*INTS, *DAYS, True, False]:
                assert await facts.query("SELECT ? AS value", (value,)) == [{"value": value}]
            for number in map(float, FLOATS):
                [row] = await facts.query("SELECT ? AS value", (number,))
                assert bits(row["value"]) == bits(number)
            for time in TIMES:
                [row] = await facts.query("SELECT ?2 AS value, ?1 AS other", ("x", time))
                assert row == {"value": time, "other": "x"}
            assert len(await facts.query("SELECT '?', 1 ?? 2 : 3 AS n FROM {sales} -- what?")) == len(TEXTS)

    asyncio.run(main())


def test_answers_are_values(opened: Engine) -> None:
    """Sums of facts are exact; decimals, nothing, days and nested values come as what they are."""

    async def main() -> None:
        async with opened() as facts:
            await facts.append(SALES, [sale("a", amount=2**53), sale("b", amount=1), sale("c", amount=2)])
            [row] = await facts.query(
                "SELECT sum(amount) AS total, count() AS n, toDecimal64(1.25, 4) AS price, NULL AS nothing, max(day) AS day, "
                "[1, 2] AS list, toInt256('9' || repeat('0', 40)) AS huge, avg(share) AS mean, 0/0 AS nan FROM {sales}"
            )
            assert math.isnan(row.pop("nan"))
            assert row == {
                "total": 2**53 + 3,
                "n": 3,
                "price": Decimal("1.25"),
                "nothing": None,
                "day": date(2026, 3, 1),
                "list": [1, 2],
                "huge": 9 * 10**40,
                "mean": 0.5,
            }
            assert await facts.query("SELECT * FROM {sales} WHERE order_id = 'none'") == []

    asyncio.run(main())


CANARY = "c4n4ry"
UNFIT = [
    ({"sku": "half \ud83d"}, "sales.sku: a text with half a character"),
    ({"sku": None}, "sales.sku: a NoneType is no str"),
    ({"sku": CANARY.encode()}, "sales.sku: a bytes is no str"),
    ({"amount": 2**63}, "sales.amount: an int of more than 64 bits"),
    ({"amount": -(2**63) - 1}, "sales.amount: an int of more than 64 bits"),
    ({"amount": True}, "sales.amount: a bool is no int"),
    ({"amount": 1.0}, "sales.amount: a float is no int"),
    ({"amount": CANARY}, "sales.amount: a str is no int"),
    ({"share": Decimal(1)}, "sales.share: a Decimal is no float"),
    ({"share": 10**400}, "sales.share: a int is no float"),
    ({"gift": 1}, "sales.gift: a int is no bool"),
    ({"day": date(1899, 12, 31)}, "sales.day: a date outside 1900 to 2299"),
    ({"day": date(2300, 1, 1)}, "sales.day: a date outside 1900 to 2299"),
    ({"day": datetime(2026, 1, 1, tzinfo=UTC)}, "sales.day: a datetime is no date"),
    ({"at": datetime(2026, 1, 1)}, "sales.at: a datetime without a time zone"),  # noqa: DTZ001 - on purpose
    ({"at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))}, "sales.at: a datetime outside 1900 to 2299"),
    ({"at": date(2026, 1, 1)}, "sales.at: a date is no datetime"),
    ({CANARY: 1}, "sales: a row must have each column and no other"),
]


def test_a_row_that_does_not_fit_is_refused_and_adds_nothing(opened: Engine) -> None:
    """Nothing of its batch is added; the error names the column and does not repeat the value."""

    async def main() -> None:
        async with opened() as facts:
            for values, message in UNFIT:
                with pytest.raises(InvalidFact) as refused:
                    await facts.append(SALES, [sale("good"), sale("bad", **values)])
                assert str(refused.value).startswith(message)
                assert CANARY not in str(refused.value).replace(f"see '{CANARY}'", "")
            lacking = sale("bad")
            del lacking["day"]
            with pytest.raises(InvalidFact, match="see 'day'"):
                await facts.append(SALES, [lacking])
            assert await counted(facts) == (0, 0)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("sql", "parameters", "message"),
    [
        ("SELECT nothing FROM {sales} WHERE sku = ?", (CANARY,), "UNKNOWN_IDENTIFIER"),
        ("SELECT * FROM elsewhere", (), "UNKNOWN_TABLE"),
        ("SELEC 1", (), "SYNTAX_ERROR"),
        ("SELECT throwIf(number = 3, ?) FROM numbers(9)", (CANARY,), "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT ?, ?", (CANARY,), "names 2 parameters and is given 1"),
        ("SELECT ?0", (CANARY,), "parameters"),
        ("SELECT ?", (None,), "a NoneType cannot be a parameter"),
        ("SELECT ?", ([CANARY],), "a list cannot be a parameter"),
        ("SELECT ?", (2**63,), "an int of more than 64 bits"),
        ("SELECT ?", ("\ud800",), "half a character"),
        ("SELECT * FROM numbers(?)", (MAX_ROWS + 1,), "TOO_MANY_ROWS"),
        ("SELECT 1 FORMAT CSV", (), "leave FORMAT away|SYNTAX_ERROR"),
    ],
)
def test_a_query_that_cannot_be_is_refused_and_the_next_one_answered(
    opened: Engine, sql: str, parameters: tuple[Any, ...], message: str
) -> None:
    """The error says what is wrong by the engine's name for it, and never repeats a value; `detail` may."""

    async def main() -> None:
        async with opened() as facts:
            with pytest.raises(QueryRejected, match=message) as refused:
                await facts.query(sql, parameters)
            assert CANARY not in str(refused.value)
            assert refused.value.__cause__ is None
            assert await facts.query("SELECT 1 AS one") == [{"one": 1}]

    asyncio.run(main())


def test_only_declared_tables_have_a_name(opened: Engine) -> None:
    """An undeclared table is an error here, as is a second one of the same name; the same one again is fine."""

    async def main() -> None:
        async with opened() as facts:
            other = FactTable(name="sales", columns={"id": str}, key=("id",))
            with pytest.raises(ConfigurationError, match="there is another fact table 'sales'"):
                facts.declare(other)
            facts.declare(SALES)
            with pytest.raises(ConfigurationError, match="no fact table 'costs'; declared are sales"):
                await facts.query("SELECT * FROM {costs}")
            with pytest.raises(ConfigurationError, match="'costs' was not declared"):
                await facts.append(FactTable(name="costs", columns={"id": str}, key=("id",)), [{"id": "x"}])

    asyncio.run(main())


def test_facts_are_there_after_reopening_and_a_new_table_may_join(opened: Engine) -> None:
    """Closed and opened again, also with one table more, all is as it was."""

    async def main() -> None:
        async with opened() as facts:
            await facts.append(SALES, [sale("a"), sale("b")])
        costs = FactTable(name="costs", columns={"id": str, "amount": int}, key=("id",))
        async with opened(SALES, costs) as facts:
            assert await counted(facts) == (2, 200)
            await facts.append(costs, [{"id": "x", "amount": 7}])
        async with opened(costs) as facts:
            assert await facts.query("SELECT * FROM {costs}") == [{"id": "x", "amount": 7}]

    asyncio.run(main())


def test_another_service_is_refused(opened: Engine) -> None:
    """What belongs to one service is not opened by another, whose name is said; the owner goes on."""

    async def main() -> None:
        async with opened() as facts:
            await facts.append(SALES, [sale("a")])
        with pytest.raises(WrongOwner, match=r"belongs to the service 'analytics'; give .*ther.* one of its own"):
            async with opened(owner="o\\'ther"):
                pass
        async with opened() as facts:
            assert await counted(facts) == (1, 100)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"columns": {**SALES.columns, "amount": float}}, "the column amount is Int64, not Float64"),
        ({"columns": {**SALES.columns, "city": str}}, "the column city is missing, not String"),
        ({"columns": {k: v for k, v in SALES.columns.items() if k != "gift"}}, "the column gift is Bool, not there"),
        ({"order_by": ("sku",)}, "sorted by day, order_id, sku, not by sku, order_id"),
    ],
)
def test_a_table_of_another_shape_is_refused(opened: Engine, changed: dict[str, Any], message: str) -> None:
    """A declaration that the table does not fit opens nothing, and says what to do."""

    async def main() -> None:
        async with opened() as facts:
            await facts.append(SALES, [sale("a")])
        declared = {"name": "sales", "columns": SALES.columns, "key": SALES.key, "order_by": SALES.order_by, **changed}
        with pytest.raises(StoreError, match=f"in another shape: .*{message}.*Give the new shape another name"):
            async with opened(FactTable(**declared)):
                pass
        async with opened() as facts:
            assert await counted(facts) == (1, 100)

    asyncio.run(main())


def test_an_engine_that_works_does_not_hold_up_the_loop(opened: Engine) -> None:
    """While a query runs the event loop turns, and a caller who leaves takes nothing with it."""

    async def main() -> None:
        async with opened() as facts:
            turns, slow = 0, asyncio.create_task(facts.query("SELECT sleep(1) AS slept"))
            while not slow.done():
                turns += 1
                await asyncio.sleep(0.01)
            assert slow.result() == [{"slept": 0}]
            assert turns > 10
            leaving = asyncio.create_task(facts.query("SELECT sleep(1)"))
            await asyncio.sleep(0.05)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            assert leaving.cancelled()
            await facts.append(SALES, [sale("a")])
            assert await counted(facts) == (1, 100)

    asyncio.run(main())


def test_a_closed_engine_says_so(opened: Engine) -> None:
    """After `close`, which may come twice, nothing is answered and nothing hangs."""

    async def main() -> None:
        async with opened() as facts:
            await facts.close()
            await facts.close()
            with pytest.raises(StoreError, match="is closed"):
                await facts.append(SALES, [sale("a")])
            with pytest.raises(StoreError, match="is closed"):
                await facts.query("SELECT 1")

    asyncio.run(main())
