"""Puts what was made into a folder in which somebody works: new files are new, changed ones are read before they count.

Everything is looked at before the first file is written, and what was written is taken away again when the rest fails.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from skerry.errors import ConfigurationError
from skerry.topology import load


def files_in(folder: Path) -> tuple[Path, ...]:
    """The files below a folder, as paths inside it, sorted."""
    return tuple(sorted(path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()))


def read_text(file: Path) -> str:
    """The text of a file, its lines ended by one character where they all were by two. Raises `ConfigurationError`."""
    try:
        text = file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot be read: {error}", source=str(file)) from None
    return text.replace("\r\n", "\n") if _is_dos(text) else text


def place(made: Path, folder: Path, changes: Mapping[Path, str]) -> tuple[Path, ...]:
    """Copy the files below `made` into `folder`, and give the files in `changes` their new texts: all of it, or nothing.

    Returns the new files. Raises `ConfigurationError` when a changed file would not be read any more, or a new one is there.
    """
    fresh = files_in(made)
    written: list[Path] = []
    try:
        for file, text in changes.items():
            _write_candidate(file, text, written)
        for path in fresh:
            _copy(made / path, folder, path, written)
        for file in changes:
            _candidate(file).replace(file)
    except BaseException:
        for path in reversed(written):
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
        raise
    return fresh


def _write_candidate(file: Path, text: str, written: list[Path]) -> None:
    """Write a text beside the file that it will be, and read it as that."""
    dos = _is_dos(file.read_bytes().decode())
    candidate = _candidate(file)
    candidate.write_bytes((text.replace("\n", "\r\n") if dos else text).encode())
    written.append(candidate)
    shutil.copymode(file, candidate)
    try:
        if file.suffix == ".toml":
            load(candidate)
        else:
            from skerry.gateway import reading  # not before `source` has said which extra brings all of it

            reading.read(candidate)
    except ConfigurationError as error:
        raise ConfigurationError(str(error).replace(str(candidate), str(file))) from None


def _candidate(file: Path) -> Path:
    return file.with_name(f".{file.name}.new")


def _copy(source: Path, folder: Path, path: Path, written: list[Path]) -> None:
    for parent in reversed(path.parents):
        if not (folder / parent).exists():
            (folder / parent).mkdir()
            written.append(folder / parent)
    target = folder / path
    try:
        with target.open("xb") as new:
            written.append(target)
            new.write(source.read_bytes())
    except FileExistsError:
        raise ConfigurationError(f"there is {path} in {folder} already; nothing is overwritten") from None
    shutil.copymode(source, target)


def _is_dos(text: str) -> bool:
    return 0 < text.count("\r\n") == text.count("\n")
