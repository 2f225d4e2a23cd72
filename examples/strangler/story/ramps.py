"""`skerry strangle`, as a person would type it. The story decides nothing: it starts ramps and looks how they end."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skerry.clock import SYSTEM
from skerry.gateway.strangler import shares

ENDS = frozenset({"done", "rolled_back"})
LOOK = 0.2


class Unfinished(Exception):
    """A ramp did not end in time, or a command failed that had to succeed."""


class Ramps:
    """The command line, for a gateway whose state is in `state`."""

    def __init__(self, spec: Path, state: Path) -> None:
        self._spec = spec
        self._state = state
        self.typed: list[str] = []

    async def start(self, route: str) -> None:
        """`skerry strangle start`."""
        await self._must("start", route, "--spec", str(self._spec))

    async def report(self, route: str) -> dict[str, Any]:
        """`skerry strangle report -o json`. It ends with 3 or 4 for what it tells, which is no failure."""
        told: dict[str, Any] = json.loads(await self._must("report", route, "-o", "json", fine=(0, 3, 4)))
        return told

    async def page(self, route: str, file: Path) -> None:
        """`skerry strangle report --file`."""
        await self._must("report", route, "--file", str(file), fine=(0, 3, 4))

    async def ended(self, route: str, *, within: float, tell: Callable[[str], None]) -> dict[str, Any]:
        """Wait until it has gone all the way, or back; what it tells then. Raises `Unfinished` after `within` seconds."""
        give_up = SYSTEM.monotonic() + within
        said = ""
        while True:
            share = shares.read(self._state).routes[route]
            if f"{share.percent:g}" != said:
                said = f"{share.percent:g}"
                tell(f"{route} at {said} %")
            if not share.compared:  # which is over once it is done, or went back
                told = await self.report(route)
                if told["state"] in ENDS:
                    return told
            if SYSTEM.monotonic() > give_up:
                needs = (await self.report(route))["needs"]
                raise Unfinished(f"{route} is still at {said} % after {within:g} s, and needs {needs}")
            await SYSTEM.sleep(LOOK)

    async def hand_over(self, route: str) -> None:
        """`skerry strangle handover`."""
        await self._must("handover", route, "--spec", str(self._spec))

    async def hand_back(self, route: str) -> bool:
        """`skerry strangle handback`; whether it was possible."""
        code, _, _ = await self._type("handback", route, "--spec", str(self._spec))
        return code == 0

    async def _must(self, *words: str, fine: tuple[int, ...] = (0,)) -> str:
        code, out, err = await self._type(*words)
        if code not in fine:
            raise Unfinished(f"skerry strangle {' '.join(words)} ended with {code}: {err.strip()}")
        return out

    async def _type(self, *words: str) -> tuple[int, str, str]:
        if words[0] != "report":
            self.typed.append(f"skerry strangle {words[0]} {words[1]}")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "skerry", "strangle", *words, "--state", str(self._state)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()
