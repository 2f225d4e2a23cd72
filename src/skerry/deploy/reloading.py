"""Services go on with their code as it changes: which are concerned, one after the other, and what has to wait for a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final

from skerry.deploy.sources import Sources
from skerry.deploy.supervisor import Supervisor
from skerry.errors import ConfigurationError
from skerry.topology import System, load

MAX_WAITING: Final = 10_000
"""Changed files that wait to be looked at; with so many every service is concerned."""
_RESERVED: Final = ("grpc", "port")
"""What ports are reserved by when a system starts, of a service's table."""
_RESERVED_IN_A_MESH: Final = ("calls", *_RESERVED)
"""There also by who is called: a sidecar has a port for each."""


class Reloader:
    """Replaces the services of a running system whose files change; see `Supervisor.replace`. `say` gets a line for a person.

    Only services are concerned that import a changed file, or in whose folder one lies that nobody imports. Of the system
    file, a service's own table takes effect but for its ports, and in a mesh its calls; anything else is said to need a restart.
    The gateway reads its own file again by itself.

        reloader = Reloader(supervisor, say=print)
        await reloader.run()
    """

    def __init__(self, supervisor: Supervisor, *, say: Callable[[str], None]) -> None:
        self._supervisor = supervisor
        self._say = say
        # as the file has it: what runs may differ from it by what the command line said
        self._file = load(supervisor.system.file)
        self._changed: set[Path] = set()
        self._any = asyncio.Event()
        self._reserved = _RESERVED_IN_A_MESH if supervisor.is_meshed else _RESERVED

    async def run(self) -> None:
        """Watch and replace, until it is cancelled.

        Raises `MissingExtra` without the extra `reload`, `OSError` where so many folders cannot be watched.
        """
        from skerry.deploy.watching import watch

        folder = self._supervisor.system.folder
        sources = await asyncio.to_thread(self._sources)
        watching = asyncio.create_task(watch(folder, self.tell, data=self._supervisor.data), name="watch files")
        watching.add_done_callback(lambda _: self._any.set())
        try:
            while True:
                await self._any.wait()
                self._any.clear()
                if watching.done():
                    return await watching
                changed, self._changed = self._changed, set()
                now = await asyncio.to_thread(self._sources)
                # before and after: a file may be gone now, or imported by somebody else
                names = sources.owners(changed) | now.owners(changed) | self._tables(changed)
                if len(changed) >= MAX_WAITING:
                    names = set(self._supervisor.system.services)
                sources = now
                for name in [name for name in self._supervisor.system.services if name in names]:
                    self._say(f"{name} changed and is started anew")
                    await self._supervisor.replace(name)
        finally:
            watching.cancel()
            await asyncio.wait({watching})

    def tell(self, changed: set[Path]) -> None:
        """These files have changed."""
        self._changed.update(islice(changed, MAX_WAITING - len(self._changed)))
        self._any.set()

    def _sources(self) -> Sources:
        system = self._supervisor.system
        return Sources(system.folder, {name: spec.app for name, spec in system.services.items()})

    def _tables(self, changed: set[Path]) -> set[str]:
        """The services whose table in the system file is another, which from now on holds."""
        before = self._supervisor.system
        if before.file not in changed and len(changed) < MAX_WAITING:
            return set()
        try:
            after = load(before.file)
        except ConfigurationError as error:
            self._say(f"the system file is not taken: {error}")
            return set()
        services = {
            name: replace(after.services.get(name, spec), **{key: getattr(spec, key) for key in self._reserved})
            for name, spec in before.services.items()
        }
        kept = replace(before, services=services)
        if waits := differences(self._file, after, self._reserved):
            self._say(f"{before.file.name}: {', '.join(waits)}: takes effect when the system is started again")
        self._supervisor.system = kept
        return {name for name, spec in kept.services.items() if spec != before.services[name]}


def differences(running: System, file: System, reserved: Sequence[str] = _RESERVED) -> list[str]:
    """What is another in the file than in the system that runs, by the names of its tables; of a service's own, `reserved`."""
    found = [f"services.{name}" for name in sorted(running.services.keys() ^ file.services.keys())]
    parts = (
        ("system.name", running.name != file.name),
        ("system.events", running.events != file.events),
        ("gateway", running.gateway != file.gateway),
    )
    both = running.services.keys() & file.services.keys()
    found += [
        f"services.{name}.{key}"
        for name in both
        for key in reserved
        if getattr(running.services[name], key) != getattr(file.services[name], key)
    ]
    return [*(name for name, differs in parts if differs), *sorted(found)]
