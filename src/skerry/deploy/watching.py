"""Which files of a system's folder change: code and settings, and nothing that programs leave behind by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from skerry.errors import MissingExtra

try:
    import watchfiles
except ImportError as _error:
    raise MissingExtra("Reloading on change", "reload") from _error

QUIET: Final = 100
"""Milliseconds without a change after which those before are told; editors and version control write several files at once."""
LONGEST: Final = 1_600
"""Milliseconds after which they are told although changes go on."""
_FOLDERS: Final = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist"})
_ENDS: Final = ("~", ".swp", ".swx", ".swo", ".tmp", ".bak", ".pyc", ".pyo", ".orig", ".rej", ".part")
_BEGINS: Final = (".", "#", "___jb_")
_PROBE: Final = "4913"
"""What vim writes to see whether it may."""


def matters(path: Path, folder: Path, *, data: Path) -> bool:
    """Whether a change of `path` in the system's folder could be one of its code or settings.

    Not below the data folder, nor in hidden folders, environments and caches, nor what an editor keeps for itself.
    """
    if not path.is_relative_to(folder) or path.is_relative_to(data):
        return False
    parts = path.relative_to(folder).parts
    if any(part in _FOLDERS or part.startswith(_BEGINS) for part in parts):
        return False
    if parts and (parts[-1].endswith(_ENDS) or parts[-1] == _PROBE):
        return False
    return not any((parent / "pyvenv.cfg").exists() for parent in path.parents if parent.is_relative_to(folder))


async def watch(folder: Path, tell: Callable[[set[Path]], None], *, data: Path) -> None:
    """Tell the files that change, those of a moment together, until it is cancelled.

    Folders that do not matter are not even watched: a database that is written all the time would wake it all the time.
    """
    while True:
        folders = _folders(folder, data)
        again = asyncio.Event()

        def sort(found: set[Path], known: list[Path] = folders, again: asyncio.Event = again) -> None:
            if ours := {path for path in found if matters(path, folder, data=data)}:
                tell(ours)
            if _folders(folder, data) != known:
                again.set()

        tasks = [asyncio.create_task(_pass_on([folder], sort, again, deep=False))]
        tasks += [asyncio.create_task(_pass_on(folders, sort, again, deep=True))] if folders else []
        try:
            await asyncio.gather(*tasks)
        finally:
            again.set()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def _folders(folder: Path, data: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and matters(each / "file", folder, data=data))


async def _pass_on(paths: list[Path], tell: Callable[[set[Path]], None], end: asyncio.Event, *, deep: bool) -> None:
    looking = watchfiles.awatch(*paths, watch_filter=None, step=QUIET, debounce=LONGEST, recursive=deep, stop_event=end)
    async for found in looking:
        tell({Path(path) for _, path in found})
