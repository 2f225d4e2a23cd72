"""A console in this process, spans to send to it, and a way to ask it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from google.protobuf.json_format import ParseDict

from skerry.clock import SYSTEM, Clock
from skerry.console import Sources, create_app
from skerry.console.heard import Span
from skerry.console.messages import ExportTraceServiceRequest

TOKEN = "0123456789abcdef-token"
BEARER = {"authorization": f"Bearer {TOKEN}"}
ACT = {**BEARER, "x-skerry": "1"}
BASE = "http://127.0.0.1:4242"
SERVER, CLIENT = 2, 3


@asynccontextmanager
async def console(
    sources: Sources | None = None, *, clock: Clock = SYSTEM, static: Path = Path("/nowhere"), looking: bool = False
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a console; with `looking` the console looks at its sources by itself too."""
    app: Any = create_app(sources or Sources(name="shop"), token=TOKEN, clock=clock, static=static)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=BASE) as client:
        if not looking:
            yield client
            return
        async with lifespan(app):
            yield client


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """Start-up and shut-down of an ASGI application."""
    import asyncio

    asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}}, asked.get, told.put))
    await asked.put({"type": "lifespan.startup"})
    assert (await told.get())["type"] == "lifespan.startup.complete"
    try:
        yield
    finally:
        await asked.put({"type": "lifespan.shutdown"})
        assert (await told.get())["type"] == "lifespan.shutdown.complete"
        await task


def otlp(service: str, *spans: dict[str, Any]) -> dict[str, Any]:
    """A request in OTLP's JSON."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}


def spanned(number: int = 1, *, name: str = "GET /", kind: int = SERVER, **more: Any) -> dict[str, Any]:
    """One span in OTLP's JSON."""
    return {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": name,
        "kind": kind,
        "startTimeUnixNano": "1750000000000000000",
        "endTimeUnixNano": "1750000000250000000",
        **more,
    }


def packed(request: dict[str, Any]) -> bytes:
    """A request without ids, as protobuf."""
    message: Any = ParseDict(request, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            for number, span in enumerate(scope.spans, 1):
                span.trace_id, span.span_id = number.to_bytes(16, "big"), number.to_bytes(8, "big")
    return bytes(message.SerializeToString())


def bare(request: dict[str, Any]) -> dict[str, Any]:
    """Without ids, which protobuf's own JSON has in another form."""
    for resource in request["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                span.pop("traceId"), span.pop("spanId")
    return request


def heard(
    trace: str,
    own: str,
    service: str,
    *,
    kind: str = "server",
    parent: str = "",
    error: bool = False,
    **attributes: Any,
) -> Span:
    """A span as the receiver hands it on."""
    named = {name.replace("_", "."): value for name, value in attributes.items()}
    return Span(trace, own, parent, service, f"{kind} {own}", kind, 1_750_000_000.0, 0.02, error, named)
