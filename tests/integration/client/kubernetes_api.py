"""A stand-in of the Kubernetes API, as far as EndpointSlices go: list in pages, watch with versions, bookmarks and 410 Gone.

It is written after the API's documentation. Nothing here has run against a real one.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from peers import Peer, Reader, Writer, receive, reply

TOKEN = "token-of-the-account"
SELECTOR = "kubernetes.io/service-name=stock"
PATH = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"


def a_slice(name: str, *addresses: str, port: int = 8080, **told: Any) -> dict[str, Any]:
    """An EndpointSlice with ready endpoints."""
    endpoints = [
        {"addresses": [each], "conditions": {"ready": True}, "zone": "a", "targetRef": {"uid": f"pod-{each}"}}
        for each in addresses
    ]
    return {
        "metadata": {"name": name},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": port}],
        **told,
    }


class Api:
    """`slices` by name; `change` alters them and tells those who watch; `forget` makes every version too old."""

    def __init__(self, *slices: dict[str, Any], page: int = 2) -> None:
        self.slices: dict[str, dict[str, Any]] = {each["metadata"]["name"]: each for each in slices}
        self.version = 100
        self.oldest = 0
        self.page = page
        self.asked: list[dict[str, str]] = []
        self.tokens: set[str] = set()
        self.statuses: list[int] = []
        self.log: list[tuple[int, str]] = []
        self.news = asyncio.Event()
        self.watching = asyncio.Event()
        self.ends_watches = False

    async def __call__(self, peer: Peer, reader: Reader, writer: Writer) -> None:
        """As a peer: answers each request of a connection."""
        while True:
            request = await receive(peer, reader)
            parts = urlsplit(request.target)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            self.asked.append(query)
            self.tokens.add(request.headers.get("authorization", ""))
            if parts.path != PATH or query.get("labelSelector") != SELECTOR:
                writer.write(reply(404))
            elif self.statuses:
                writer.write(reply(self.statuses.pop(0)))
            elif "watch" in query:
                await self._watched(query, writer)
            else:
                writer.write(reply(200, json.dumps(self._listed(query)).encode()))

    def change(self, kind: str, item: dict[str, Any]) -> None:
        """Tell of an event: ADDED, MODIFIED, DELETED or BOOKMARK."""
        self.version += 1
        item["metadata"] = {**item.get("metadata", {}), "resourceVersion": str(self.version)}
        if kind == "DELETED":
            self.slices.pop(item["metadata"]["name"])
        elif kind != "BOOKMARK":
            self.slices[item["metadata"]["name"]] = item
        self.say({"type": kind, "object": item})

    def say(self, event: dict[str, Any]) -> None:
        self.log.append((self.version, json.dumps(event)))
        self.news.set()
        self.news = asyncio.Event()

    def forget(self) -> None:
        self.oldest = self.version

    def _listed(self, query: dict[str, str]) -> dict[str, Any]:
        start = int(query.get("continue", "0"))
        items = list(self.slices.values())
        more = {"continue": str(start + self.page)} if start + self.page < len(items) else {}
        metadata = {"resourceVersion": str(self.version), **more}
        return {"metadata": metadata, "items": items[start : start + self.page]}

    async def _watched(self, query: dict[str, str], writer: Writer) -> None:
        since = int(query["resourceVersion"])
        if since < self.oldest:
            writer.write(reply(410))
            return
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        self.watching.set()
        told = 0
        while not self.ends_watches:
            news = self.news
            for version, line in self.log[told:]:
                if version > since or '"ERROR"' in line:
                    data = line.encode() + b"\n"
                    writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            told = len(self.log)
            await writer.drain()
            await news.wait()
        self.watching.clear()
        self.ends_watches = False
        writer.write(b"0\r\n\r\n")
