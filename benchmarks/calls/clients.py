"""Each client as its own documentation would have it used: one session, and a GET whose JSON is read."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager

import aiohttp
import httpx
import httpx2
from pyreqwest.client import ClientBuilder

from skerry import Policy, ServiceClient, SyncServiceClient


def _read(body) -> None:
    assert body["quantity"] == 3


@asynccontextmanager
async def ours(url, policy=None):
    async with ServiceClient("stock", url=url, policy=policy) as client:

        async def call():
            _read((await client.get("/items/1")).json())

        yield call


@asynccontextmanager
async def over_aiohttp(url):
    async with aiohttp.ClientSession() as client:

        async def call():
            async with client.get(f"{url}/items/1") as reply:
                _read(await reply.json())

        yield call


@asynccontextmanager
async def over_httpx(url, library=httpx):
    async with library.AsyncClient(trust_env=False) as client:

        async def call():
            _read((await client.get(f"{url}/items/1")).json())

        yield call


@asynccontextmanager
async def over_pyreqwest(url):
    async with ClientBuilder().build() as client:

        async def call():
            _read(await (await client.get(f"{url}/items/1").build().send()).json())

        yield call


@contextmanager
def ours_sync(url):
    with SyncServiceClient("stock", url=url) as client:
        yield lambda: _read(client.get("/items/1").json())


@contextmanager
def over_httpx_sync(url):
    with httpx.Client(trust_env=False) as client:
        yield lambda: _read(client.get(f"{url}/items/1").json())


CLIENTS = {
    "ours": ours,
    "ours, unprotected": lambda url: ours(url, Policy("stock", total=None)),
    "aiohttp": over_aiohttp,
    "httpx": over_httpx,
    "httpx2": lambda url: over_httpx(url, httpx2),
    "pyreqwest": over_pyreqwest,
}
SYNC_CLIENTS = {"ours": ours_sync, "httpx": over_httpx_sync}
