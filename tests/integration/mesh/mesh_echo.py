"""A service of a mesh in a few lines: it tells what it was asked, and passes requests on. Nothing but the standard library.

`/to/NAME/REST` calls `/REST` of the service NAME as it came; `/fail` is answered 503; `/seen` tells what was asked before, each
with the headers; a request for an upgrade is answered 101 and echoes. Everything else is answered 200 with what was asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

NAME = os.environ["SKERRY_SERVICE"]
SEEN: list[dict[str, Any]] = []


async def message(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
        return first, headers, body
    return first, headers, await reader.readexactly(int(headers.get("content-length", 0)))


def head_of(first: str, headers: dict[str, str], body: bytes) -> bytes:
    kept = {k: v for k, v in headers.items() if k not in {"content-length", "transfer-encoding", "connection"}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in kept.items())
    return f"{first}\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


async def passed_on(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    _, _, callee, rest = path.split("/", 3)
    url = os.environ.get(f"SKERRY_URL_{callee.upper()}", "")
    if not url:
        return 404, b'"no address"'
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        writer.write(head_of(f"{method} /{rest} HTTP/1.1", headers, body))
        first, _, answer = await message(reader)
        return int(first.split(" ")[1]), answer
    finally:
        writer.close()


async def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    if path.startswith("/to/"):
        return await passed_on(method, path, headers, body)
    if path == "/seen":
        return 200, json.dumps(SEEN).encode()
    asked = {"service": NAME, "pid": os.getpid(), "method": method, "path": path, "headers": headers}
    if not path.startswith("/health/"):
        SEEN.append(asked)
    return 503 if path == "/fail" else 200, json.dumps({**asked, "body": body.decode()}).encode()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            first, headers, body = await message(reader)
            method, path, _ = first.split(" ")
            if headers.get("upgrade") == "websocket":
                writer.write(b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
                while data := await reader.read(4096):
                    writer.write(data)
                return
            status, text = await answer(method, path, headers, body)
            writer.write(head_of(f"HTTP/1.1 {status} X", {"content-type": "application/json"}, text))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()


async def main() -> None:
    socket = os.environ.get("SKERRY_SOCKET")
    if socket:
        if os.path.exists(socket):  # noqa: PTH110 - quick to start matters more here
            os.unlink(socket)  # noqa: PTH108 - likewise
        server = await asyncio.start_unix_server(serve, socket)
    else:
        port = int(os.environ["SKERRY_PORT"])
        server = await asyncio.start_server(serve, os.environ["SKERRY_HOST"], port, reuse_port=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, lambda: None if os.read(0, 100) else stop.set())
    async with server:
        await stop.wait()
    sys.exit(0)


asyncio.run(main())
