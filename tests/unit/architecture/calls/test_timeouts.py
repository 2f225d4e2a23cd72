"""How long a call may take, whoever says so: the call, its client, a wrapper, what stands around it, the library."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from marked import wrong

CASES = {
    "requests: at the call": """
import requests
URL = "http://peer:8000"
def a():
    requests.get(URL)  #> unbounded to peer:8000
    requests.get(URL, timeout=None)  #> unbounded
    requests.get(URL, timeout=3)  #> bounded 3
    requests.get(URL, timeout=(1, 4.5))  #> bounded 4.5
    requests.get(URL, timeout=(5, None))  #> unbounded
    requests.request("GET", URL, timeout=2)  #> bounded 2
""",
    "requests: a session's time-out is none, an adapter's is": """
import requests
from requests.adapters import HTTPAdapter
class Limited(HTTPAdapter):
    def __init__(self, *args, timeout=5, **kwargs):
        self.timeout = timeout
        super().__init__(*args, **kwargs)
    def send(self, request, **kwargs):
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self.timeout
        return super().send(request, **kwargs)
plain = requests.Session()
plain.timeout = 5
limited = requests.Session()
limited.mount("https://", Limited(timeout=3))
def a(url):
    plain.get(url)  #> unbounded
    limited.get(url)  #> bounded 3
""",
    "requests: a wrapper's parameter": """
import requests
def get(url, timeout=10):
    return requests.get(url, timeout=timeout)  #> bounded 10
def post(url, timeout=None):
    return requests.post(url, timeout=timeout)  #> unbounded
def put(url, timeout):
    return requests.put(url, timeout=timeout)  #> bounded 4
def caller():
    post("http://peer/a")
    put("http://peer/a", 4)
    put("http://peer/b", timeout=3)
""",
    "requests: all that call a wrapper give a time-out": """
import requests
def get(url, timeout=None):
    return requests.get(url, timeout=timeout)  #> bounded 5
def call(url, **options):
    return requests.get(url, **options)  #> bounded 3
def a():
    get("http://peer/a", timeout=5)
    call("http://peer/b", timeout=3)
""",
    "requests: kwargs with a default": """
import requests
def get(url, **kwargs):
    kwargs.setdefault("timeout", 7)
    return requests.get(url, **kwargs)  #> bounded 7
""",
    "requests: a session of one's own": """
import requests
class Api(requests.Session):
    def request(self, method, url, **kwargs):
        kwargs.setdefault("timeout", 6)
        return super().request(method, url, **kwargs)  #> bounded 6
""",
    "requests: constants, settings, the environment": """
import os
import requests
from django.conf import settings
LIMIT = 3
NONE = None
options = dict(timeout=2)
def a(url):
    requests.get(url, timeout=LIMIT)  #> bounded 3
    requests.get(url, timeout=NONE)  #> unbounded
    requests.get(url, timeout=settings.PEER_TIMEOUT)  #> bounded
    requests.get(url, timeout=float(os.environ["T"]))  #> bounded
    requests.get(url, timeout=int(os.getenv("T", "4")))  #> bounded
    requests.get(url, timeout=os.environ.get("T") or 5)  #> bounded
    requests.get(url, timeout=LIMIT * 2)  #> bounded
""",
    "requests: an alias, a partial, a thread": """
import asyncio
import functools
import requests as r
from requests import get as fetch, Session
get = functools.partial(r.get, timeout=2)
def a(url):
    r.post(url)  #> unbounded
    fetch(url)  #> unbounded
    get(url)  #> bounded 2
    with Session() as s:
        s.get(url, timeout=1)  #> bounded 1
        s.get(url)  #> unbounded
async def b(url):
    await asyncio.to_thread(r.get, url)  #> unbounded
    await asyncio.to_thread(r.get, url, timeout=3)  #> bounded 3
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, r.get, url)  #> unbounded
    await loop.run_in_executor(None, functools.partial(r.get, url, timeout=2))  #> bounded 2
    async with asyncio.timeout(2):
        r.get(url)  #> unbounded
""",
    "httpx: its default, its client, its call": """
import httpx
from httpx import AsyncClient, Timeout
LIMITS = Timeout(10.0, connect=2.0)
class Peer:
    def __init__(self, client: httpx.AsyncClient | None = None):
        self._client = client or httpx.AsyncClient(timeout=LIMITS)
    async def get(self):
        return await self._client.get("/a")  #> bounded 10
async def a(url):
    async with AsyncClient() as client:
        await client.get(url)  #> default 5
        await client.get(url, timeout=None)  #> unbounded
    async with AsyncClient(timeout=Timeout(None, connect=3)) as client:
        await client.get(url)  #> unbounded
    async with AsyncClient(timeout=Timeout(None, connect=3, read=4)) as client:
        await client.get(url)  #> bounded 4
    with httpx.Client(timeout=None) as client:
        client.post(url)  #> unbounded
        with client.stream("GET", url, timeout=2) as answer:  #> bounded 2
            answer.read()
    httpx.get(url)  #> default 5
    httpx.post(url, timeout=None)  #> unbounded
""",
    "httpx: a client that is injected": """
from typing import Annotated
import httpx
from fastapi import Depends, FastAPI, Request
app = FastAPI()
def make():
    return httpx.AsyncClient(timeout=3)
async def given():
    async with httpx.AsyncClient(timeout=2) as client:
        yield client
@app.get("/a")
async def a(client: httpx.AsyncClient = Depends(given)):
    return await client.get("http://peer/a")  #> bounded 2
@app.get("/b")
async def b(client: Annotated[httpx.AsyncClient, Depends(make)]):
    return await client.get("http://peer/b")  #> bounded 3
@app.on_event("startup")
async def start():
    app.state.http = httpx.AsyncClient(timeout=None)
@app.get("/c")
async def c(request: Request):
    return await request.app.state.http.get("http://peer/c")  #> unbounded
@app.get("/d")
async def d(client: httpx.AsyncClient):
    return await client.get("http://peer/d")  #> default 5
""",
    "httpx: a client that is set up later": """
import httpx
client: httpx.AsyncClient | None = None
async def start():
    global client
    client = httpx.AsyncClient(timeout=4)
async def a():
    return await client.get("http://peer/a")  #> bounded 4
""",
    "aiohttp": """
import asyncio
import aiohttp
from aiohttp import ClientSession, ClientTimeout
async def a(url):
    async with ClientSession() as session:
        async with session.get(url) as answer:  #> default 300
            await answer.text()
        await session.get(url, timeout=5)  #> bounded 5
        await session.get(url, timeout=ClientTimeout(total=2))  #> bounded 2
        await asyncio.wait_for(session.get(url), timeout=3)  #> bounded 3
    async with ClientSession(timeout=ClientTimeout(connect=5)) as session:
        await session.post(url)  #> unbounded
    async with ClientSession(timeout=ClientTimeout(total=None, sock_read=10)) as session:
        await session.post(url)  #> bounded 10
    async with ClientSession(timeout=ClientTimeout(10)) as session:
        await session.post(url)  #> bounded 10
""",
    "aiohttp: what stands around all that call it": """
import asyncio
import aiohttp
async def ask(session: aiohttp.ClientSession):
    async with session.get("http://peer/a", timeout=None) as answer:  #> bounded 3
        return await answer.json()
async def a(session):
    return await asyncio.wait_for(ask(session), 3)
async def b(session):
    async with asyncio.timeout(2):
        return await ask(session)
""",
    "urllib": """
import socket
import urllib.request
from urllib import request
from http.client import HTTPSConnection
def a(url):
    urllib.request.urlopen(url)  #> unbounded
    request.urlopen(url, timeout=3)  #> bounded 3
    request.urlopen(url, None, 4)  #> bounded 4
    quiet = HTTPSConnection("peer", 443, timeout=2)
    quiet.request("GET", "/a")  #> bounded 2
    endless = HTTPSConnection("peer")
    endless.request("GET", "/a")  #> unbounded
""",
    "urllib: the sockets' own default is one, but not for requests": """
import socket
import urllib.request
import requests
socket.setdefaulttimeout(5)
def a(url):
    urllib.request.urlopen(url)  #> bounded
    requests.get(url)  #> unbounded
""",
    "urllib3": """
import urllib3
plain = urllib3.PoolManager()
bounded = urllib3.PoolManager(timeout=urllib3.Timeout(connect=1, read=2))
def a(url):
    plain.request("GET", url)  #> unbounded
    plain.request("GET", url, timeout=3)  #> bounded 3
    bounded.request("GET", url)  #> bounded 2
""",
    "grpc": """
import os
import grpc
from stock_pb2_grpc import StockStub
import stock_pb2_grpc, stock_pb2
from stock_pb2 import Item
class Client:
    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        self.stub = StockStub(self.channel)
    def count(self, sku):
        return self.stub.Count(Item(sku=sku))  #> unbounded to STOCK_ADDR
    def count_soon(self, sku, deadline=2.0):
        return self.stub.Count(Item(sku=sku), timeout=deadline)  #> bounded 2
client = Client(os.environ["STOCK_ADDR"])
def a():
    with grpc.insecure_channel("stock:50051") as channel:
        stub = stock_pb2_grpc.StockStub(channel)
        stub.Count(stock_pb2.Item(), 3)  #> bounded 3
        stub.Count(stock_pb2.Item())  #> unbounded to stock:50051
def b(stub: StockStub):
    return stub.Count(Item())  #> unbounded
def c():
    channel = grpc.intercept_channel(grpc.insecure_channel("stock:50051"), Deadlines())
    return StockStub(channel).Count(Item())  #> unknown
""",
    "nameko and celery": """
from celery import shared_task, Celery
from nameko.rpc import RpcProxy, rpc
from nameko.standalone.rpc import ClusterRpcProxy
app = Celery("x")
class Api:
    name = "api"
    stock = RpcProxy("stock")
    @rpc
    def a(self, sku):
        return self.stock.count(sku)  #> unbounded to stock
def b(config):
    with ClusterRpcProxy(config, timeout=5) as cluster:
        return cluster.stock.count("a")  #> bounded 5 to stock
@shared_task
def price(sku):
    return 7
def c():
    price.delay("a")
    price.delay("a").get()  #> unbounded
    price.apply_async(args=["a"]).get(timeout=3)  #> bounded 3
    answer = app.send_task("peer.price")
    answer.get()  #> unbounded
""",
    "redis": """
import os
import redis
from redis import Redis
endless = Redis(host="cache")
bounded = redis.Redis(host="cache", socket_timeout=2)
elsewhere = redis.from_url(os.environ["REDIS_URL"])
def a():
    endless.get("a")  #> unbounded
    bounded.get("a")  #> bounded 2
    elsewhere.get("a")  #> unknown
    bounded.pipeline()
""",
    "databases": """
import os
import psycopg2
import pymysql
from pymongo import MongoClient
from sqlalchemy import create_engine
def a():
    psycopg2.connect(host="db", dbname="a")  #> unbounded
    psycopg2.connect(host="db", dbname="a", connect_timeout=3)  #> bounded
    psycopg2.connect("postgresql://db/a?connect_timeout=3")  #> bounded
    psycopg2.connect(os.environ["DB"])  #> unknown
    pymysql.connect(host="db")  #> default 10
    MongoClient("mongodb://db/a")  #> default 30
    create_engine("sqlite:///a.db")
    create_engine("postgresql://db/a")  #> unbounded
    create_engine("postgresql://db/a", connect_args={"connect_timeout": 3})  #> bounded
""",
    "tornado, nats, RPC over a broker, streams": """
import asyncio
import nats
from aio_pika.patterns import RPC
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
async def a(channel):
    http = AsyncHTTPClient()
    await http.fetch("http://peer/a")  #> default 20 to peer
    await http.fetch(HTTPRequest("http://peer/a", request_timeout=3))  #> bounded 3 to peer
    connection = await nats.connect("nats://broker")
    await connection.request("stock.count", b"")  #> default 0.5
    await connection.request("stock.count", b"", timeout=2)  #> bounded 2
    rpc = await RPC.create(channel)
    await rpc.call("count", kwargs={})  #> unbounded
    await asyncio.wait_for(rpc.call("count", kwargs={}), 3)  #> bounded 3
    await asyncio.open_connection("peer", 80)  #> unbounded
    async with asyncio.timeout(1):
        await asyncio.open_connection("peer", 80)  #> bounded 1
""",
    "what is no call": """
import os
import requests
from unittest import mock
def a(data, cache, queue, session):
    data.get("a")
    cache.get("key")
    queue.put("x")
    os.environ.get("URL")
    session.get("user")
    requests.utils.quote("a")
    raise requests.Timeout("no")
""",
    "skerry": """
from skerry.client import ServiceClient
from skerry.resilience import CircuitBreaker, Policy
from skerry.service import Service
service = Service("api", database="sqlite:///a.db")
def policy(name, *, total):
    return Policy(name, total=total, breaker=CircuitBreaker())
usual = service.client("stock")
own = service.client("stock", policy=policy("stock", total=2.0))
plain = ServiceClient("stock", policy=Policy("stock", total=None))
each = ServiceClient("stock", policy=Policy("stock", total=None, attempt=0.5))
async def a():
    await usual.get("/a")  #> default 5 breaker to stock
    await own.post("/a")  #> bounded 2 breaker to stock
    await plain.get("/a")  #> unbounded to stock
    await each.get("/a")  #> bounded 0.5
""",
    "skerry without what bounds it": """
from skerry.resilience import Policy
from skerry.service import Service
from .settings import OPTIONS
from .wiring import injected
service = Service("api", database="sqlite:///a.db")
def policy(name, *, total):
    return Policy(name, total=total)
def client(name, *, total):
    return service.client(name, policy=policy(name, total=total))
@injected
def filled(name, *, total):
    return service.client(name, policy=Policy(name, total=total))
without = service.client("stock", policy=Policy("stock"))
left_out = client("stock")
named = client("stock", **{"total": 3.0})
hidden = client("stock", **OPTIONS)
decorated = filled("stock")
async def a():
    await without.get("/a")  #> default 10
    await left_out.get("/a")  #> unbounded
    await named.get("/a")  #> bounded 3
    await hidden.get("/a")  #> unknown
    await decorated.get("/a")  #> unknown
""",
}


@pytest.mark.parametrize("name", CASES)
def test_a_time_out_is_what_the_code_says(name: str) -> None:
    """The bound of each call of a file is the one that its comment says, and nothing else is taken for a call."""
    assert wrong({"api/app.py": CASES[name]}) == []
