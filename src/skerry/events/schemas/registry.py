"""The registry of schemas: the folder `schemas/` beside the system file, one file for each version of an event."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from skerry.errors import ConfigurationError, SchemaChanged
from skerry.events.schemas.compatibility import Mismatch
from skerry.events.schemas.differences import differences
from skerry.events.schemas.model import MAX_SCHEMA, Compatibility, EventSchema

FOLDER: Final = "schemas"
MAX_FILES: Final = 10_000
"""Files of one registry."""

Registry: TypeAlias = Mapping[str, Mapping[int, EventSchema]]
"""Every frozen schema, by type and version, both in order."""

_FILE: Final = re.compile(r"([^/]+)/([1-9][0-9]{0,6})\.json")


@dataclass(frozen=True, slots=True)
class Frozen:
    """What `freeze` did: the files it wrote anew, those whose texts for people it refreshed, those it left alone."""

    new: tuple[str, ...]
    refreshed: tuple[str, ...]
    unchanged: tuple[str, ...]


def read(folder: Path) -> Registry:
    """Every schema that is frozen below `folder`, the system file's; empty when there is none.

    Raises `ConfigurationError`, which names the file, for one that is no frozen event or stands in the wrong place.
    """
    return build(_files(folder), source=str(folder / FOLDER))


def build(files: Iterable[tuple[str, bytes]], *, source: str) -> Registry:
    """The registry that `files` make up: pairs of a path below the folder `schemas`, with slashes, and the content.

    Raises `ConfigurationError`, as `read` does; `source` tells where the files come from.
    """
    found: dict[str, dict[int, EventSchema]] = {}
    for count, (path, content) in enumerate(files):
        where = f"{source}/{path}"
        if count >= MAX_FILES:
            raise ConfigurationError(f"holds more than {MAX_FILES} files", source=source)
        if not (name := _FILE.fullmatch(path)):
            raise ConfigurationError("is not at TYPE/VERSION.json, where schemas are frozen", source=where)
        schema = EventSchema.from_text(content, where)
        if (schema.type, schema.version) != (name[1], int(name[2])):
            raise ConfigurationError(f"holds {schema}, which belongs into {schema.file}", source=where)
        found.setdefault(schema.type, {})[schema.version] = schema
    return {event: dict(sorted(found[event].items())) for event in sorted(found)}


def freeze(folder: Path, schemas: Iterable[EventSchema], *, compatibility: Compatibility | None = None) -> Frozen:
    """Write each schema to its file below `folder`. A frozen version stays as it is: only its texts for people are renewed.

    `compatibility` is what new files promise, "full" when None; files that exist keep their own unless it is given.
    Raises `SchemaChanged` when a frozen version would change; then nothing is written at all. Each file is whole or absent.
    """
    frozen = read(folder)
    writes: dict[str, str] = {}
    new, refreshed, unchanged, changed = [], [], [], []
    given: dict[str, EventSchema] = {}
    for schema in schemas:
        if (twin := given.get(schema.file)) is not None:
            if not twin.is_same(schema):
                raise SchemaChanged(
                    f"two classes declare {schema}, and differ: give the newer one a version of its own"
                )
            continue
        given[schema.file] = schema
        old = frozen.get(schema.type, {}).get(schema.version)
        mode = compatibility or (old.compatibility if old else "full")
        text = replace(schema, compatibility=mode).to_text()
        if old is None:
            new.append(schema.file)
        elif not old.is_same(schema):
            changed.append((old, differences(old, schema)))
        elif text != (folder / schema.file).read_text(encoding="utf-8"):
            refreshed.append(schema.file)
        else:
            unchanged.append(schema.file)
            continue
        writes[schema.file] = text
    if changed:
        raise SchemaChanged("; ".join(_changed(old, what) for old, what in changed))
    for file, text in writes.items():
        _write(folder / file, text)
    return Frozen(tuple(new), tuple(refreshed), tuple(unchanged))


def _changed(old: EventSchema, what: list[Mismatch]) -> str:
    fields = ", ".join(f"{each.path or 'data'} {each.what}" for each in what[:5])
    return (
        f"{old.file} is frozen, but {fields}: raise the event's version to {old.version + 1}, or take the change back"
    )


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    root = folder / FOLDER
    for path in sorted(root.glob("*/*.json")):
        try:
            with path.open("rb") as file:
                yield path.relative_to(root).as_posix(), file.read(MAX_SCHEMA + 1)
        except OSError as error:
            raise ConfigurationError(f"cannot be read: {error.strerror}", source=str(path)) from None


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise ConfigurationError(f"cannot be written: {error.strerror}", source=str(path)) from None
