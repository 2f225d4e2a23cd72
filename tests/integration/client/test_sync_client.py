"""The sync client, in threads and in real time: its loop is in a thread of its own, which no virtual clock reaches."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from peers import Behaviour, Peer, answers, blackhole, breaks_after, drip, listening, reply

from skerry import SyncServiceClient, context, deadline
from skerry.client import HttpTransport
from skerry.context import CallContext
from skerry.errors import ConfigurationError, ConnectionLost, DeadlineExceeded
from skerry.resilience import Bulkhead, Policy, Retry

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@contextmanager
def served(behaviour: Behaviour, **options: Any) -> Iterator[tuple[SyncServiceClient, Peer]]:
    """A client, and its peer in another thread."""
    ready, over = threading.Event(), threading.Event()
    found: list[Peer] = []

    async def serve() -> None:
        async with listening(behaviour) as peer:
            found.append(peer)
            ready.set()
            while not over.is_set():
                await asyncio.sleep(0.005)

    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(asyncio.run, serve())
        assert ready.wait(10)
        options.setdefault("policy", Policy("stock", total=20.0, retry=Retry(2, base=0.001)))
        try:
            with SyncServiceClient("stock", url=found[0].url, **options) as client:
                yield client, found[0]
        finally:
            over.set()
            serving.result(10)


def test_it_calls_as_the_other_does() -> None:
    """Bodies, keys, retries and errors are the same; connections are kept."""
    with served(answers(reply(503), reply(201, b'{"id":7}'))) as (client, peer):
        answered = client.post("/items", json={"sku": "A1"}, idempotency_key="k")
        assert (answered.status, answered.json()) == (201, {"id": 7})
        assert [request.headers["idempotency-key"] for request in peer.requests] == ["k", "k"]
        assert client.get("/").status == client.put("/").status == client.delete("/").status == 201
        assert client.patch("/").status == client.request("OPTIONS", "/").status == 201
        assert peer.connections == 1
    with served(breaks_after()) as (client, peer), pytest.raises(ConnectionLost):
        client.post("/")


def test_what_is_ambient_in_the_thread_travels() -> None:
    """The deadline, the trace and the priority of the calling thread go along."""
    with served(answers(reply())) as (client, peer):
        with context.use(CallContext(traceparent=TRACE, priority=3)), deadline(9.0):
            client.get("/")
        headers = peer.requests[0].headers
        assert headers["traceparent"][3:35] == TRACE[3:35]
        assert 0 < float(headers["skerry-timeout"]) <= 9.0
        assert headers["skerry-priority"] == "3"


@pytest.mark.parametrize("behaviour", [blackhole, drip])
def test_the_deadline_is_kept(behaviour: Behaviour) -> None:
    """The call is not only given up at its deadline, it is cancelled: no connection is left behind in use."""
    with served(behaviour) as (client, _):
        with pytest.raises(DeadlineExceeded):
            client.get("/", timeout=0.1)
        with pytest.raises(DeadlineExceeded), deadline(0.1):
            client.get("/")
        with pytest.raises(DeadlineExceeded):
            Policy("around", total=0.1).call_sync(client.get, "/")


def test_a_stream_is_read_with_for() -> None:
    """Pieces, lines and the whole, and a drip that ends at the deadline."""
    with served(answers(reply(200, b"one\ntwo"))) as (client, peer):
        with client.stream("GET", "/") as stream:
            assert (stream.status, stream.headers["content-length"]) == (200, "7")
            assert b"".join(stream.iter_bytes()) == b"one\ntwo"
        with client.stream("GET", "/") as stream:
            assert list(stream.iter_lines()) == ["one", "two"]
        with client.stream("GET", "/") as stream:
            assert stream.reply().text == "one\ntwo"
        assert peer.connections == 1
    with served(drip) as (client, _), pytest.raises(DeadlineExceeded), client.stream("GET", "/", timeout=0.1) as stream:
        for _ in stream.iter_bytes():
            pass


def test_threads_share_one_client() -> None:
    """Sixteen threads get each their own replies, over one pool."""
    with served(answers(reply(200, b"fine"))) as (client, peer), ThreadPoolExecutor(16) as pool:
        assert {each.content for each in pool.map(client.get, ["/"] * 200)} == {b"fine"}
        assert len(peer.requests) == 200
        assert peer.connections <= 16


def test_a_closed_client_can_be_used_again() -> None:
    """Closing ends the thread and the connections; another call begins others."""
    with served(answers(reply())) as (client, peer):
        client.get("/")
        client.close()
        client.close()
        assert client.get("/").status == 200
        assert peer.connections == 2


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_does_not_share_connections() -> None:
    """In a child process a client that had been used says so, rather than hang or take the parent's replies.

    Also when another thread was just about to begin a call.
    """
    with served(answers(reply())) as (client, _):
        client.get("/")
        with client._loop._lock:
            child = os.fork()
            if child == 0:
                threading.Timer(20.0, os._exit, (2,)).start()
                try:
                    client.get("/")
                except ConfigurationError:
                    os._exit(7)
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert client.get("/").status == 200


def test_closing_ends_the_calls_of_other_threads() -> None:
    """One that is sent and those that wait in line: a thread whose call nobody goes on with would wait for ever."""
    line = Bulkhead(1, queue=5, queue_timeout=20.0)
    lost: list[ConnectionLost] = []
    with served(blackhole, policy=Policy("stock", total=20.0, limit=line)) as (client, _):

        def call() -> None:
            with pytest.raises(ConnectionLost, match="closed") as caught:
                client.get("/")
            lost.append(caught.value)

        threads = [threading.Thread(target=call, daemon=True) for _ in range(5)]
        for thread in threads:
            thread.start()
        while line.waiting < 4:
            time.sleep(0.005)
        client.close()
        for thread in threads:
            thread.join(10)
    assert len(lost) == 5


def test_a_call_that_comes_while_another_thread_closes_begins_anew() -> None:
    """It waits until that is done, as it would find a client that was closed before."""
    closing = threading.Event()

    class Slow(HttpTransport):
        async def aclose(self) -> None:
            closing.set()
            await asyncio.sleep(0.1)
            await super().aclose()

    with served(answers(reply()), transport=Slow()) as (client, peer):
        client.get("/")
        thread = threading.Thread(target=client.close, daemon=True)
        thread.start()
        assert closing.wait(10)
        assert client.get("/").status == 200
        thread.join(10)
        assert peer.connections == 2
