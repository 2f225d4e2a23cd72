"""A gateway with one strangled route on either engine, as a process of its own, with a monolith and its replacement behind it.

`python strangled_process.py ENGINE STATE PORT OLD NEW PLAN` is that process; what the route is at comes from the state folder.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from envoy_stage import Peer, Stage, free_port

from skerry.gateway import engine, envoy
from skerry.gateway.model import (
    Backend,
    Forward,
    GatewaySpec,
    Listener,
    Match,
    PathMatch,
    PolicySpec,
    RetrySpec,
    Route,
    Service,
    Shadow,
    Sticky,
    Strangle,
)
from skerry.gateway.strangler import Share, Shares, applied, shares, tally
from skerry.settings import Settings

ROUTE = "shop"
POLICY = PolicySpec(
    attempt=5.0, total=10.0, breaker=None, retry=RetrySpec(attempts=2, budget=1.0, per_second=100.0, backoff=0.001)
)


class Strangled(Stage):
    """What a test holds in its hands."""

    state: Path
    process: asyncio.subprocess.Process  # type: ignore[assignment]
    lines: list[str]
    version = 0

    @property
    def old(self) -> Peer:
        return self.peers["old"]

    @property
    def new(self) -> Peer:
        return self.peers["new"]

    async def put(self, percent: float, *, compared: bool = True, owner: str = "control") -> None:
        """Have the route be at that; returns when every gateway has confirmed it."""
        self.say(percent, compared=compared, owner=owner)
        await self.confirmed()

    def say(self, percent: float, *, compared: bool = True, owner: str = "control") -> None:
        """The same, and wait for nothing."""
        self.version += 1
        told = Share(percent, compared, owner)  # type: ignore[arg-type]
        shares.write(self.state, Shares(self.version, {ROUTE: told}))

    async def confirmed(self) -> None:
        """All gateways serve what was said last."""

        async def all_do() -> bool:
            found = tally.read(self.state)
            return bool(found) and all(one.version == self.version for one in found.values() if one.alive)

        await until(all_do)

    def counted(self) -> tally.RouteTally:
        """The sums of all gateways."""
        found = [one.routes[ROUTE] for one in tally.read(self.state).values() if ROUTE in one.routes]
        whole = tally.RouteTally()
        for one in found:
            for mine, its in ((whole.control, one.control), (whole.candidate, one.candidate)):
                mine.requests += its.requests
                mine.errors += its.errors
                mine.refused += its.refused
                mine.times = [a + b for a, b in zip(mine.times, its.times, strict=True)]
            whole.writes += one.writes
            whole.writing += one.writing
            for name in ("pairs", "differing", "control_pairs", "shed", "unread"):
                setattr(whole.compared, name, getattr(whole.compared, name) + getattr(one.compared, name))
            for path, (times, noise) in one.compared.paths.items():
                had = whole.compared.paths.setdefault(path, [0, 0])
                had[:] = [had[0] + times, had[1] + noise]
        return whole

    async def many(self, number: int, *, at_once: int = 8, target: str = "/shop/{}", **asked: Any) -> Counter[int]:
        """That many requests; how often each status was answered."""
        left = iter(range(number))
        found: Counter[int] = Counter()

        async def some() -> None:
            for at in left:
                found[(await self.ask(target.format(at), **asked)).status] += 1

        await asyncio.gather(*(some() for _ in range(at_once)))
        return found


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def strangled(engine_name: str, folder: Path, **plan: Any) -> AsyncIterator[Strangled]:
    """Such a gateway, with everything at its control. `plan` is what `Strangle` takes, as JSON has it."""
    old, new = Peer("old"), Peer("new")
    await old.listen()
    await new.listen()
    stage = Strangled(await free_port(), {"old": old, "new": new}, None, None, {})  # type: ignore[arg-type]
    stage.state, stage.lines = folder / "strangle", []
    stage.say(0.0, compared=False)
    arguments = (engine_name, str(stage.state), str(stage.port), old.url, new.url, json.dumps(plan))
    stage.process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    reading = asyncio.create_task(_read(stage))
    try:
        async with asyncio.timeout(60):
            while "ready\n" not in stage.lines:
                assert not reading.done(), stage.lines
                await asyncio.sleep(0.01)
        await stage.confirmed()
        yield stage
    except BaseException as error:
        error.add_note("the gateway wrote:\n" + "".join(stage.lines[-40:]))
        raise
    finally:
        if stage.process.returncode is None:
            stage.process.terminate()
            await stage.process.wait()
        await reading
        await old.close()
        await new.close()


async def _read(stage: Strangled) -> None:
    assert stage.process.stdout is not None
    async for line in stage.process.stdout:
        stage.lines.append(line.decode())


def specification(port: int, old: str, new: str, plan: dict[str, Any]) -> GatewaySpec:
    """As it would be read from a file."""
    shadow = plan.pop("shadow", {})
    made = Strangle("old", "new", shadow=None if shadow is None else Shadow(**shadow), **plan)
    action = Forward((Backend("old"),), sticky=Sticky("cookie", "session"), strangle=made)
    route = Route(ROUTE, (Match(PathMatch("prefix", "/shop")),), action, policy=POLICY)
    services = (Service("old", (old,)), Service("new", (new,)))
    return GatewaySpec("strangled", (Listener(port=port),), services, routes=(route,))


def main(engine_name: str, state: str, port: str, old: str, new: str, plan: str) -> None:
    folder, spec = Path(state), specification(int(port), old, new, json.loads(plan))
    serve = {"embedded": engine.serve, "envoy": envoy.serve}[engine_name]
    serve(
        lambda: applied(spec, shares.read(folder)),
        addresses={},
        settings=replace(Settings.from_environ(), supervised=True, drain=2.0),
        watch=(folder / shares.FILE,),
        state=folder,
        ready=lambda _: print("ready", flush=True),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
