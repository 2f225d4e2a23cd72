"""The same four steps as a DBOS workflow, in a process of its own: URL COUNT CONCURRENCY."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time

import uvloop
from dbos import DBOS, DBOSConfig

WARM_UP = 5


@DBOS.step()
async def one(n: int) -> int:
    return n


@DBOS.step()
async def two(n: int) -> int:
    return n


@DBOS.step()
async def three(n: int) -> int:
    return n


@DBOS.step()
async def four(n: int) -> int:
    return n


@DBOS.workflow()
async def order(n: int) -> int:
    return await four(await three(await two(await one(n))))


async def main(count: int, concurrency: int) -> dict[str, float]:
    DBOS.launch()
    for n in range(WARM_UP):
        await order(n)
    taken: list[float] = []

    async def worker(first: int) -> None:
        for n in range(first, count, concurrency):
            begun = time.perf_counter()
            await order(n)
            taken.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*(worker(first) for first in range(concurrency)))
    rate = count / (time.perf_counter() - begun)
    return {"rate": rate, "p50": statistics.median(taken), "p99": sorted(taken)[int(len(taken) * 0.99)]}


if __name__ == "__main__":
    config: DBOSConfig = {"name": "bench", "system_database_url": sys.argv[1], "log_level": "ERROR"}
    DBOS(config=config)
    print(json.dumps(uvloop.run(main(int(sys.argv[2]), int(sys.argv[3])))))
    DBOS.destroy()
