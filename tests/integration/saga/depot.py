"""A participant behind gRPC, as a process of its own, and how a step asks it. Bodies are JSON, so there is no .proto file.

The process dies, or is slow, where a request says so in its metadata: `dies` before or after the commit, `sleeps` after it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from skerry.client.grpc import grpc_channel
from skerry.errors import StatusError
from skerry.resilience import Policy
from skerry.saga import Barrier, Rejected
from skerry.service import Service, serve
from skerry.settings import Settings

PIECES = 10
BOUND = 30.0


def dumps(value: Any) -> bytes:
    return json.dumps(value).encode()


class Depot:
    """Keeps pieces for whoever asks."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.folder = folder
        self.barrier = Barrier()

    async def prepare(self) -> None:
        async with self.service.transaction() as tx:
            await tx.execute("CREATE TABLE IF NOT EXISTS pieces (number INTEGER NOT NULL)")
            if not await tx.fetch_all("SELECT number FROM pieces"):
                await tx.execute("INSERT INTO pieces VALUES (?)", (PIECES,))

    async def reserve(self, wanted: dict[str, int], key: str, told: dict[str, str]) -> dict[str, int]:
        async with self.service.transaction() as tx:

            async def effect() -> dict[str, int]:
                taken = "UPDATE pieces SET number = number - ?1 WHERE number >= ?1"
                if not await tx.execute(taken, (wanted["number"],)):
                    raise Rejected("not so many left")
                return {"left": (await tx.fetch_all("SELECT number FROM pieces"))[0][0]}

            answer: dict[str, int] = await self.barrier.act(tx, key, effect, given=wanted)
            self.die("before", told)
        self.die("after", told)
        if "sleeps" in told and not self.marked("slept"):
            await asyncio.sleep(float(told["sleeps"]))
        return answer

    async def release(self, wanted: dict[str, int], key: str, _told: dict[str, str]) -> bool:
        async with self.service.transaction() as tx:

            async def compensation(_answer: object) -> None:
                await tx.execute("UPDATE pieces SET number = number + ?", (wanted["number"],))

            return await self.barrier.undo(tx, key, compensation)

    def die(self, when: str, told: dict[str, str]) -> None:
        """Die, the first time or, at `always`, each time."""
        if told.get("dies") == f"always {when}" or (told.get("dies") == when and not self.marked(when)):
            os.kill(os.getpid(), signal.SIGKILL)

    def marked(self, name: str) -> bool:
        """Whether this was so before; from now on it is."""
        was = (self.folder / name).exists()
        (self.folder / name).touch()
        return was

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service `Depot`, method by method."""
        methods = {"Reserve": self.reserve, "Release": self.release}
        return grpc.method_handlers_generic_handler("Depot", {name: _method(each) for name, each in methods.items()})


def _method(act: Any) -> grpc.RpcMethodHandler:
    async def handle(request: Any, call: grpc.aio.ServicerContext) -> Any:
        told = dict(call.invocation_metadata() or ())
        return await act(request, told["idempotency-key"], told)

    return grpc.unary_unary_rpc_method_handler(handle, request_deserializer=json.loads, response_serializer=dumps)


async def ask(channel: grpc.aio.Channel, method: str, request: Any, key: str, **told: str) -> Any:
    """One call, as a step of a saga makes it: a final no is `Rejected`, what may have taken effect is not."""
    call = channel.unary_unary(f"/Depot/{method}", request_serializer=dumps, response_deserializer=json.loads)
    try:
        return await call(request, metadata=[*told.items(), ("idempotency-key", key)])
    except StatusError as error:
        if error.code == "rejected":
            raise Rejected(error.detail) from error
        raise


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[grpc.aio.Channel]:
    """The process, which is started again whenever it dies."""
    stopping = False

    async def start() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            str(folder),
            str(port),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    port = free_port()
    process = await start()

    async def keep() -> None:
        nonlocal process
        while not stopping:
            await process.wait()
            if not stopping:
                process = await start()

    keeping = asyncio.create_task(keep())
    try:
        alone = Policy("depot", total=BOUND)  # the engine retries, and nobody else
        async with grpc_channel("depot", url=f"http://127.0.0.1:{port}", policy=alone) as channel:
            yield channel
    finally:
        stopping = True
        process.kill()
        await process.wait()
        await keeping


def main(folder: Path, port: int) -> None:
    settings = Settings(data=folder, port=0, grpc_port=port)
    service = Service("depot", database="sqlite:///depot.db", settings=settings)
    depot = Depot(service, folder)
    service.on_start(depot.prepare)
    service.grpc.add_generic_rpc_handlers([depot.handlers()])
    serve(service.app, settings)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
