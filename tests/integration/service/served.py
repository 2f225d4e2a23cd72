"""A service as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

APP = """
import asyncio

from fastapi import FastAPI

from skerry.saga import Saga
from skerry.service import Service

api = FastAPI()
service = Service("tiny", app=api, database="sqlite:///tiny.db")
saga = Saga("tiny")


@saga.step(timeout=60.0)
async def one(ctx, given):
    await asyncio.sleep(0.5)


service.add(saga)


@api.get("/slow/{seconds}")
async def slow(seconds: float):
    (service.settings.data / "slow").touch()
    await asyncio.sleep(seconds)
    return {"slept": seconds}


@api.post("/quick")
async def quick():
    async with service.transaction() as tx:
        await tx.execute("CREATE TABLE IF NOT EXISTS effects (one INTEGER)")
        await tx.execute("INSERT INTO effects VALUES (1)")
    return {}


@api.post("/sagas/{key}")
async def start(key: str):
    async with service.transaction() as tx:
        return await service.sagas.start(tx, saga, None, key=key)


@api.get("/sagas/{key}")
async def look(key: str):
    return (await service.sagas.find(saga, key)).status


@api.get("/effects")
async def effects():
    return (await service.database.fetch_one("SELECT count(*) FROM effects"))[0]
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A served service and a client for it."""

    def __init__(self, process: asyncio.subprocess.Process, client: httpx2.AsyncClient) -> None:
        self.process = process
        self.client = client

    async def logged(self, word: str) -> None:
        """Wait until a line of its log has this word."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            if word in json.loads(line).values():
                return
        raise AssertionError(f"the process ended without saying {word!r}")

    async def refuses_connections(self) -> bool:
        async with httpx2.AsyncClient(trust_env=False) as stranger:
            try:
                await stranger.get(self.client.base_url.join("/health/live"))
            except httpx2.TransportError:
                return True
            return False


def environ(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "SKERRY_DATA": str(folder), "PYTHONPATH": str(folder), **more}


@asynccontextmanager
async def running(folder: Path, *, app: str = APP, **more: str) -> AsyncIterator[Process]:
    (folder / "tiny.py").write_text(app)
    port = free_port()
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60.0) as client:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "skerry.service",
            "tiny:service",
            cwd=folder,
            env=environ(folder, SKERRY_PORT=str(port), **more),
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        served = Process(process, client)
        try:
            await served.logged("ready")
            while await served.refuses_connections():
                await asyncio.sleep(0.01)
            yield served
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()
            process._transport.close()  # type: ignore[attr-defined]


def run_once(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command and wait for its end."""
    return subprocess.run(
        [sys.executable, "-m", "skerry.service", *arguments],
        cwd=folder,
        env=environ(folder, **more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
