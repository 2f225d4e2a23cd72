"""Whether the events of a system may change the way they do: code against frozen files, files against a revision.

Each rule is one generator of findings. What is required:

- a frozen version never changes, neither its fields nor its key;
- what a service publishes is frozen, and its own class reads what it writes;
- a new version keeps the key, and keeps what its compatibility promises: "forward", readers of the version before it read
  it; "backward", its readers read the version before it, by themselves or by an upcaster for each step;
- every class that subscribes reads every frozen version: older ones by an upcaster for each step, its own and newer ones as
  they are;
- a version that somebody still reads is not removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from skerry.events.schemas.compatibility import mismatches
from skerry.events.schemas.differences import differences
from skerry.events.schemas.discovery import ServiceEvents
from skerry.events.schemas.model import Compatibility, EventClass, EventSchema
from skerry.events.schemas.registry import Registry

_DIRECTIONS = {"backward": ("backward",), "forward": ("forward",), "full": ("backward", "forward"), "none": ()}


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason why a change breaks somebody. `rule` is a short stable word; `field` is empty for the event as a whole."""

    rule: str
    file: str
    field: str
    what: str
    breaks: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.file}: {self.field}" if self.field else self.file
        return f"{place}: {self.what}; {self.breaks}; {self.remedy}"

    def as_json(self) -> dict[str, Any]:
        """For `-o json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Reader:
    """A class that a service reads events with."""

    service: str
    event: EventClass


def check(
    services: Sequence[ServiceEvents],
    frozen: Registry,
    *,
    before: Registry | None = None,
    compatibility: Compatibility | None = None,
) -> list[Finding]:
    """Every finding, in the order of the rules above; empty when nothing breaks.

    `before` is the registry at the revision to compare with: versions that are there already are not judged again by their
    compatibility. `compatibility` replaces the promise of each file.
    """
    published = [(each.service, event) for each in services for event in each.publishes]
    readers = [Reader(each.service, event) for each in services for event in each.reads]
    found = [
        *_undeclared(services),
        *_twice(services),
        *_published(published, frozen),
        *_versions(
            [event for each in services for event in (*each.publishes, *each.reads)],
            frozen,
            before or {},
            compatibility,
        ),
        *_read(published, readers, frozen),
        *_since(published, readers, frozen, before or {}),
    ]
    return list(dict.fromkeys(found))


def _undeclared(services: Sequence[ServiceEvents]) -> Iterator[Finding]:
    for each in services:
        for name in each.undeclared:
            yield Finding(
                "undeclared",
                "skerry.toml",
                "",
                f"no class that {each.service} loads has the type {name}",
                f"what {each.service} publishes or reads of it cannot be checked",
                f"declare a DomainEvent with type={name!r}, or take the topic off the service",
            )


def _twice(services: Sequence[ServiceEvents]) -> Iterator[Finding]:
    for each in services:
        first: dict[tuple[str, int], EventClass] = {}
        for event in each.publishes:
            other = first.setdefault((event.schema.type, event.schema.version), event)
            if not other.schema.is_same(event.schema):
                yield Finding(
                    "declared-twice",
                    event.schema.file,
                    "",
                    f"{other.name} and {event.name} both declare {event.schema}, and differ",
                    f"nobody knows which of them {each.service} writes",
                    "remove one of them, or give the newer one a version of its own",
                )


def _published(published: Sequence[tuple[str, EventClass]], frozen: Registry) -> Iterator[Finding]:
    for service, event in published:
        schema = event.schema
        if (old := frozen.get(schema.type, {}).get(schema.version)) is None:
            yield Finding(
                "not-frozen",
                schema.file,
                "",
                f"{service or event.name} publishes {schema}, which is not frozen",
                "a later change of it would go unseen",
                "run `skerry events freeze` and commit the file",
            )
        else:
            yield from _changed(old, schema, f"the class {event.name}")
        for each in mismatches(schema.reads, schema.writes):
            yield Finding(
                "unreadable",
                schema.file,
                each.path,
                f"{each.what} by {event.name} itself",
                f"nobody can handle what {service or 'its producer'} writes",
                "make what the class writes and what it reads agree; aliases do not travel",
            )


def _changed(old: EventSchema, new: EventSchema, where: str) -> Iterator[Finding]:
    for each in differences(old, new):
        yield Finding(
            "changed",
            old.file,
            each.path,
            f"{each.what} in {where}",
            f"readers rely on {old} as it is frozen",
            f"take the change back, or raise the version to {old.version + 1} and freeze that",
        )


def _versions(
    declared: Sequence[EventClass],
    frozen: Registry,
    before: Registry,
    compatibility: Compatibility | None,
) -> Iterator[Finding]:
    for name, frozen_versions in frozen.items():
        versions = list(frozen_versions.values())
        classes = [event for event in declared if event.schema.type == name]
        for older, newer in pairwise(versions):
            if newer.version in before.get(name, {}):
                continue
            if older.key != newer.key:
                yield Finding(
                    "key",
                    newer.file,
                    newer.key,
                    f"is the key of version {newer.version}, but {older.key} is that of version {older.version}",
                    "events of both versions that belong together are not kept in order",
                    f"keep the key {older.key}, or publish under a new type",
                )
            for direction in _DIRECTIONS[compatibility or newer.compatibility]:
                yield from _backward(older, newer, classes) if direction == "backward" else _forward(older, newer)


def _backward(older: EventSchema, newer: EventSchema, classes: Sequence[EventClass]) -> Iterator[Finding]:
    steps = set(range(older.version, newer.version))
    if any(event.schema.version >= newer.version and steps <= event.upcasts for event in classes):
        return
    for each in mismatches(newer.reads, older.writes):
        yield Finding(
            "backward",
            newer.file,
            each.path,
            f"{each.what}, and no upcaster leads from version {older.version}",
            f"readers of version {newer.version} cannot read events of version {older.version} that are still stored",
            f"register an upcaster with from_version={older.version}, or give the field a default",
        )


def _forward(older: EventSchema, newer: EventSchema) -> Iterator[Finding]:
    for each in mismatches(older.reads, newer.writes):
        yield Finding(
            "forward",
            newer.file,
            each.path,
            f"{each.what} by version {older.version}",
            f"readers of version {older.version} cannot read version {newer.version}",
            "keep the old field beside the new one, publish under a new type, or deploy every reader first and freeze with "
            "--compatibility backward",
        )


def _read(
    published: Sequence[tuple[str, EventClass]], readers: Sequence[Reader], frozen: Registry
) -> Iterator[Finding]:
    for reader in readers:
        schema = reader.event.schema
        written = dict(frozen.get(schema.type, {}))
        for _, event in published:
            if event.schema.type == schema.type:
                written.setdefault(event.schema.version, event.schema)
        for version in sorted(written):
            if version < schema.version:
                yield from _upcast(reader, written[version])
            else:
                yield from _understood(reader, written[version])
        if written and (newest := written[max(written)]).key != schema.key:
            yield Finding(
                "key",
                newest.file,
                newest.key,
                f"keeps {newest} in order, where {reader.service} takes {schema.key} for the key",
                f"{reader.service} does not get events of one {schema.key} in their order",
                f"give {reader.event.name} key={newest.key!r}",
            )


def _upcast(reader: Reader, written: EventSchema) -> Iterator[Finding]:
    missing = reader.event.missing_upcasters(written.version)
    if missing:
        steps = ", ".join(map(str, missing))
        fits = not mismatches(reader.event.schema.reads, written.writes)
        enough = " (one that returns its argument is enough)" if fits else ""
        yield Finding(
            "upcaster",
            written.file,
            "",
            f"{reader.event.name} is version {reader.event.schema.version} and has no upcaster from version {steps}",
            f"{reader.service} refuses stored events of version {written.version}",
            f"register one with from_version={missing[0]}{enough}, or delete the file once no log holds that version any more",
        )


def _understood(reader: Reader, written: EventSchema) -> Iterator[Finding]:
    for each in mismatches(reader.event.schema.reads, written.writes):
        yield Finding(
            "reader",
            written.file,
            each.path,
            f"{each.what} by {reader.event.name}",
            f"{reader.service} cannot read {written}",
            "change the reader so that it takes both, and deploy it first",
        )


def _since(
    published: Sequence[tuple[str, EventClass]], readers: Sequence[Reader], frozen: Registry, before: Registry
) -> Iterator[Finding]:
    still: Mapping[tuple[str, int], str] = {
        (event.schema.type, event.schema.version): service for service, event in published
    }
    for name, versions in before.items():
        for version, old in versions.items():
            new = frozen.get(name, {}).get(version)
            if new is not None:
                yield from _changed(old, new, "the file")
                continue
            by = [each.service for each in readers if each.event.schema.type == name and _reads(each, version)]
            if by or (name, version) in still:
                yield Finding(
                    "removed",
                    old.file,
                    "",
                    f"{old} was removed",
                    f"{', '.join(dict.fromkeys(by)) or still[name, version]} still uses it",
                    "bring the file back; delete it when no log holds that version and nobody reads it any more",
                )


def _reads(reader: Reader, version: int) -> bool:
    return version >= reader.event.schema.version or not reader.event.missing_upcasters(version)
