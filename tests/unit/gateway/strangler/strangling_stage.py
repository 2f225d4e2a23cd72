"""A state folder with gateways that count what a test says, and a controller on virtual time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from skerry.gateway.strangler import shares, tally
from skerry.gateway.strangler.controller import EVERY, Controller
from skerry.testing.virtual_time import VirtualClock

SPEC = """
services: {{monolith: {{urls: ["http://127.0.0.1:1"]}}, catalogue: {{urls: ["http://127.0.0.1:2"]}}}}
routes:
  - {{name: other, path: /other, service: monolith}}
  - name: {route}
    path: /
    strangle: {{from: monolith, to: catalogue, steps: [{steps}], shadow: {shadow}, guard: {{{guard}}}}}
"""


def write_spec(
    path: Path, *, route: str = "books", steps: str = "10%, 100%", shadow: str = "false", guard: str = "interval: 1"
) -> Path:
    path.write_text(SPEC.format(route=route, steps=steps, shadow=shadow, guard=guard))
    return path


@dataclass
class Gateway:
    """One that serves what the file of shares says, as quickly as it is told to."""

    folder: Path
    name: str = "a"
    tally: tally.Tally = field(default_factory=lambda: tally.Tally(os.getpid()))

    def __post_init__(self) -> None:
        self.file = tally.File(self.folder, self.name)

    def serve(self) -> None:
        self.tally.version = shares.read(self.folder).version
        self.write()

    def count(self, n: int, errors: int = 0, control_n: int = 0, control_errors: int = 0, route: str = "books") -> None:
        told = self.tally.route(route)
        for arm, requests, failed in ((told.candidate, n, errors), (told.control, control_n, control_errors)):
            for at in range(requests):
                arm.add(seconds=0.001, error=at < failed, refused=False)
        self.write()

    def write(self) -> None:
        self.file.put(tally.text(self.tally))

    def die(self) -> None:
        self.file.close()


@dataclass
class Stage:
    """Virtual time, a gateway, and a controller that can be killed."""

    spec: Path
    folder: Path
    clock: VirtualClock
    gateway: Gateway
    controller: Controller

    def pass_time(self, seconds: float) -> None:
        """Let the controller look as often as it does."""
        for _ in range(round(seconds / EVERY)):
            self.clock.advance(EVERY)
            self.controller.look()

    def second(self, n: int, errors: int = 0, control_n: int = 0, control_errors: int = 0) -> None:
        """An interval of requests."""
        self.gateway.serve()
        self.gateway.count(n, errors, control_n, control_errors)
        self.pass_time(1.3)

    def kill(self) -> None:
        """The controller dies without a word, and another one comes."""
        self.controller.close()
        self.controller = Controller(self.spec, self.folder, clock=self.clock)

    @property
    def share(self) -> shares.Share:
        return shares.read(self.folder).routes["books"]


@contextmanager
def stage(folder: Path, **spec: str) -> Iterator[Stage]:
    clock, state = VirtualClock(), folder / "state"
    path = write_spec(folder / "gateway.yaml", **spec)
    made = Stage(path, state, clock, Gateway(state), Controller(path, state, clock=clock))
    try:
        yield made
    finally:
        made.gateway.die()
        made.controller.close()
