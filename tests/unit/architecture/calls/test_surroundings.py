"""Whom a call goes to, which breaker stands before it and what repeats it, also when other files say so."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from marked import wrong

CASES: dict[str, dict[str, str]] = {
    "a client of its own file, with its address from settings": {
        "api/settings.py": """
from pydantic_settings import BaseSettings
class Settings(BaseSettings):
    stock_url: str = "http://stock:8000"
    stock_timeout: float = 2.5
settings = Settings()
""",
        "api/clients.py": """
import httpx
from .settings import settings
class Stock:
    def __init__(self, base: str, limit: float):
        self.http = httpx.AsyncClient(base_url=base, timeout=limit)
    async def count(self, sku):
        return await self.http.get(f"/stock/{sku}")  #> bounded 2.5 to STOCK_URL
stock = Stock(settings.stock_url, settings.stock_timeout)
""",
        "api/app.py": """
from .clients import stock
async def a():
    return await stock.count("a")
async def b(skus):
    return [await stock.count(sku) for sku in skus]  #> items
""",
    },
    "an address that is put together": {
        "api/app.py": """
import os
import requests
HOST = os.getenv("CART_HOST", "cart")
BASE = os.environ.get("USER_URL", "http://user:8080")
def a(id):
    requests.get("http://{}:8080/cart/{}".format(HOST, id), timeout=1)  #> bounded 1 to CART_HOST
    requests.get("http://%s:8080/cart/%s" % (HOST, id), timeout=1)  #> bounded to CART_HOST
    requests.get(BASE + "/users/" + id, timeout=1)  #> bounded to USER_URL
    requests.get(f"{os.environ['RATES_URL']}/rates", timeout=1)  #> bounded to RATES_URL
    url = f"http://ratings:80/{id}"
    requests.get(url, timeout=1)  #> bounded to ratings:80
""",
    },
    "an address through methods of texts": {
        "api/app.py": """
import os
import requests
BASE = os.environ["CART_URL"].rstrip("/")
class Users:
    def __init__(self, base):
        self.base = base.strip().removesuffix("/api")
    def get(self, id):
        return requests.get(f"{self.base}/users/{id}", timeout=1)  #> bounded to USER_URL
def a(id, old):
    requests.get(BASE + "/cart/" + id, timeout=1)  #> bounded to CART_URL
    requests.get("http://ratings:80/".rstrip("/") + "/a", timeout=1)  #> bounded to http://ratings:80/a
    requests.get("http://ratings:80".replace("ratings", "reviews") + "/a", timeout=1)  #> bounded to reviews:80
    requests.get("http://ratings:80".replace(old, "reviews") + "/a", timeout=1)  #> bounded to {}/a
    requests.get("http://ratings:80".replace("ratings") + "/a", timeout=1)  #> bounded to {}/a
    return Users(os.environ["USER_URL"]).get(id)
""",
    },
    "a wrapper goes where each of its callers says": {
        "api/wrapper.py": """
import httpx
class Api:
    def __init__(self, base, limit=3.0):
        self.base = base
        self.http = httpx.Client(timeout=limit)
    def get(self, path):
        return self._ask("GET", path)
    def _ask(self, method, path):
        return self.http.request(method, f"{self.base}/{path}")  #> bounded 3 to stock:80 to user:80
""",
        "api/app.py": """
from .wrapper import Api
stock = Api("http://stock:80")
users = Api("http://user:80")
def a():
    return stock.get("a"), users.get("b")
""",
    },
    "configuration by key": {
        "api/app.py": """
import os
import requests
from flask import Flask, current_app
def create_app():
    app = Flask(__name__)
    app.config["BALANCES_URI"] = "http://{}/balances".format(os.environ.get("BALANCES_ADDR"))
    app.config["LIMIT"] = 4
    @app.route("/a")
    def a():
        return requests.get(app.config["BALANCES_URI"], timeout=app.config["LIMIT"])  #> bounded 4 to BALANCES_ADDR
    return app
""",
        "api/other.py": """
import requests
from flask import current_app
def b():
    return requests.get(current_app.config["BALANCES_URI"], timeout=3)  #> bounded 3 to BALANCES_ADDR
""",
    },
    "breakers: decorators, contexts, calls, clients": {
        "api/app.py": """
import httpx
import pybreaker
import requests
from aiobreaker import CircuitBreaker as AsyncBreaker
from circuitbreaker import circuit
from purgatory import SyncCircuitBreakerFactory
breaker = pybreaker.CircuitBreaker()
other = AsyncBreaker()
factory = SyncCircuitBreakerFactory()
URL = "http://peer/a"
@breaker
def a():
    return requests.get(URL, timeout=1)  #> bounded breaker
@circuit
def b():
    return requests.get(URL, timeout=1)  #> bounded breaker
def c():
    with breaker.calling():
        return requests.get(URL, timeout=1)  #> bounded breaker
def d():
    return breaker.call(requests.get, URL, timeout=1)  #> bounded breaker
def e():
    return breaker.call(lambda: requests.get(URL, timeout=1))  #> bounded breaker
async def f(client: httpx.AsyncClient):
    return await other.call_async(client.get, URL)  #> default breaker
def g():
    with factory.get_breaker("peer"):
        return requests.get(URL, timeout=1)  #> bounded breaker
@factory("peer")
def h():
    return requests.get(URL, timeout=1)  #> bounded breaker
def plain():
    return requests.get(URL, timeout=1)  #> bounded
""",
    },
    "breakers: a function that is handed to one": {
        "api/app.py": """
import pybreaker
import requests
breaker = pybreaker.CircuitBreaker()
def ask(path, timeout):
    return requests.get(f"http://peer/{path}", timeout=timeout)  #> bounded 2 breaker
def a():
    return breaker.call(ask, "a", timeout=2)
""",
    },
    "breakers: on what calls it, when all do": {
        "api/client.py": """
import requests
def ask(path):
    return requests.get(f"http://peer/{path}", timeout=1)  #> bounded breaker
def tell(path):
    return requests.post(f"http://peer/{path}", timeout=1)  #> bounded
""",
        "api/app.py": """
import pybreaker
from .client import ask, tell
breaker = pybreaker.CircuitBreaker()
@breaker
def a():
    return ask("a")
def b():
    return breaker.call(tell, "b")
def c():
    return tell("c")
""",
    },
    "retries are no breakers": {
        "api/app.py": """
import requests
from tenacity import Retrying, retry, stop_after_attempt
import backoff
@retry(stop=stop_after_attempt(3))
def a():
    return requests.get("http://peer/a", timeout=1)  #> bounded retry
@backoff.on_exception(backoff.expo, Exception, max_tries=3)
def b():
    return requests.get("http://peer/b", timeout=1)  #> bounded retry
def c():
    for attempt in Retrying(stop=stop_after_attempt(3)):
        with attempt:
            return requests.get("http://peer/c", timeout=1)  #> bounded
""",
    },
    "loops: items": {
        "api/app.py": """
import asyncio
import requests
from concurrent.futures import ThreadPoolExecutor
def one(item):
    return requests.get(f"http://peer/{item}", timeout=1)  #> bounded
def a(items):
    for item in items:
        requests.get(f"http://peer/{item}", timeout=1)  #> bounded items
    for index, item in enumerate(items):
        requests.get("http://peer/a", params={"id": item}, timeout=1)  #> bounded items
    for i in range(len(items)):
        requests.get(f"http://peer/{items[i]}", timeout=1)  #> bounded items
    while items:
        requests.get("http://peer/a", timeout=1)  #> bounded
        items = items[100:]
def b(items):
    return {item: one(item) for item in items}  #> items
def c(orders):
    for order in orders:
        for line in order.lines:
            url = f"http://peer/{line.sku}"
            line.price = requests.get(url, timeout=1).json()  #> bounded items
def d(items):
    with ThreadPoolExecutor() as pool:
        return list(pool.map(one, items))  #> items
def e(items):
    return list(map(lambda item: requests.get(f"http://peer/{item}", timeout=1), items))  #> bounded items
""",
    },
    "loops: windows of time, and what only looks like them": {
        "api/app.py": """
import pandas
import requests
def get(first, last=""):
    return requests.get(f"http://peer/{first}/{last}", timeout=1)  #> bounded
def windows(start, end, cursor, step):
    for day in pandas.date_range(start, end):
        get(day)
    for since, until in split(start, to=end):
        get(since, until)
    for n in range((end - start).days):
        get(start + n)
    while cursor < end:
        get(cursor)
        cursor += step
def items(routes, starts, ends, objects, between, roots, left):
    for start, end in routes:
        get(start, end)  #> items
    for start, end in zip(starts, ends):
        get(start, end)  #> items
    for start, end in objects.filter(owner=1).values_list("start", "end"):
        get(start, end)  #> items
    for order in orders_between(between):
        get(order)  #> items
    while left:
        one = left.pop()
        get(one)  #> items
    while roots:
        root = roots.pop()
        roots.extend(get(root).json())
""",
    },
    "loops: pages, chunks, attempts, polls, a fixed few, misses": {
        "api/app.py": """
import time
import requests
SERVICES = ["a", "b"]
URLS = {"a": "http://a", "b": "http://b"}
def a(items, cache):
    for page in range(1, 10):
        requests.get("http://peer/a", params={"page": page}, timeout=1)  #> bounded
    for start in range(0, len(items), 100):
        requests.post("http://peer/a", json=items[start:start + 100], timeout=1)  #> bounded
    for chunk in chunks(items, 100):
        requests.post("http://peer/a", json=chunk, timeout=1)  #> bounded
    rest = [requests.get("http://peer/a", params={"skip": p * 100}, timeout=1) for p in range(2, total_pages + 1)]  #> bounded
    for attempt in range(3):
        requests.get(f"http://peer/{attempt}", timeout=1)  #> bounded
    for mirror in mirrors:
        try:
            found = requests.get(f"{mirror}/a", timeout=1)  #> bounded
            break
        except OSError:
            continue
    for name in SERVICES:
        requests.get(f"http://{name}/a", timeout=1)  #> bounded
    for name, url in URLS.items():
        requests.get(f"{url}/a", timeout=1)  #> bounded
    for name in ("x", "y"):
        requests.get(f"http://{name}/a", timeout=1)  #> bounded
    for item in items:
        if item not in cache:
            cache[item] = requests.get(f"http://peer/{item}", timeout=1)  #> bounded
    for row in requests.get("http://peer/all", timeout=1).json():  #> bounded
        row["seen"] = True
    while True:
        if requests.get("http://peer/state", timeout=1).ok:  #> bounded
            break
        time.sleep(1)
def b(hosts):
    return [requests.get(f"{host}/health", timeout=1).ok for host in hosts]  #> bounded
""",
    },
    "who calls whom is told by imports, not by equal names": {
        "api/peer.py": """
import requests
def fetch(id):
    return requests.get(f"http://peer/{id}", timeout=1)  #> bounded
""",
        "api/local.py": """
def fetch(id):
    return {"id": id}
""",
        "api/app.py": """
from api.local import fetch
def a(ids):
    return [fetch(id) for id in ids]
""",
    },
    "a test, a migration and generated code wait for nobody's request": {
        "api/tests/test_a.py": """
import requests
def test_a():
    requests.get("http://peer/a")  #> none
""",
        "api/migrations/0001_a.py": """
import requests
requests.get("http://peer/a")  #> none
""",
    },
    "skerry's channel": {
        "api/app.py": """
from skerry.resilience import CircuitBreaker, Policy
from skerry.service import Service
service = Service("api", database="sqlite:///a.db")
class Stock:
    def __init__(self):
        self._channel = None
    async def connect(self):
        self._channel = service.channel("stock", policy=Policy("stock", total=3.0, breaker=CircuitBreaker()))
    async def ask(self, method, body):
        call = self._channel.unary_unary(f"/shop.Stock/{method}")
        return await call(body)  #> bounded 3 breaker to stock
""",
    },
}


@pytest.mark.parametrize("name", CASES)
def test_what_stands_around_a_call_is_found(name: str) -> None:
    """Target, breaker, retry and loop of each call are those that its comment says, and there is no other call."""
    assert wrong(CASES[name]) == []
