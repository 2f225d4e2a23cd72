"""The layer around a service that spoils its answers, and what it writes down of them."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from skerry.clock import SYSTEM

from .kinds import FAULTS, Answer, Fault

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
FOLDER = "faults"


def choose(data: Path, service: str, fault: str) -> None:
    """From now on the `service` that keeps its data in `data` has this fault; the empty one is none."""
    if fault and fault not in FAULTS:
        raise ValueError(f"there is no fault {fault!r}, only {', '.join(FAULTS)}")
    file = data / FOLDER / service
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_suffix(".new")
    beside.write_text(fault)
    beside.replace(file)


def injected(data: Path, service: str) -> list[tuple[str, str]]:
    """Of each answer that was spoilt so far the client's name of the request (`x-request-id`) and the fault."""
    try:
        lines = (data / FOLDER / f"{service}.injected").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [(told["request"], told["fault"]) for told in map(json.loads, lines)]


class Faulty:
    """An application whose answers are spoilt: by the fault that is chosen in the data folder, else by `FAULT_NAME`."""

    def __init__(self, app: App, *, name: str) -> None:
        self._app = app
        self._name = name
        self._folder = Path(os.environ.get("SKERRY_DATA", ".")) / FOLDER
        self._default = os.environ.get(f"FAULT_{name.upper()}", "")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer, right or wrong."""
        fault = FAULTS.get(self._chosen()) if scope["type"] == "http" else None
        if fault is None or not fault.strikes(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        await self._spoilt(fault, scope, receive, send)

    def _chosen(self) -> str:
        try:
            return (self._folder / self._name).read_text().strip()
        except FileNotFoundError:
            return self._default

    async def _spoilt(self, fault: Fault, scope: Message, receive: Receive, send: Send) -> None:
        start: Message = {}
        body = bytearray()

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            elif message["type"] == "http.response.body":
                body.extend(message.get("body", b""))

        await self._app(scope, receive, collect)
        headers = dict(start["headers"])
        right = Answer(start["status"], headers.get(b"content-type", b"").decode(), bytes(body))
        wrong = fault.spoil(right)
        if wrong != right:
            self._write_down(scope)
        if wrong.delay:
            await SYSTEM.sleep(wrong.delay)
        replaced = [
            (name, value) for name, value in start["headers"] if name not in {b"content-type", b"content-length"}
        ]
        replaced += [(b"content-type", wrong.content_type.encode()), (b"content-length", b"%d" % len(wrong.body))]
        await send({**start, "status": wrong.status, "headers": replaced})
        await send({"type": "http.response.body", "body": wrong.body})

    def _write_down(self, scope: Message) -> None:
        request = next((value.decode() for name, value in scope["headers"] if name == b"x-request-id"), "")
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f"{self._name}.injected").open("a") as out:
            out.write(json.dumps({"request": request, "fault": self._chosen(), "path": scope["path"]}) + "\n")
