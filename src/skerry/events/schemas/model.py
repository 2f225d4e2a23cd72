"""The schema of one version of an event: what is written, what is read, and the document it is frozen as.

Source: JSON Schema, draft 2020-12.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, cast, get_args

from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from skerry.errors import ConfigurationError
from skerry.events.event import DomainEvent
from skerry.events.schemas.values import malformed

Schema: TypeAlias = dict[str, Any]
Compatibility: TypeAlias = Literal["backward", "forward", "full", "none"]

MODES: Final[tuple[Compatibility, ...]] = get_args(Compatibility)
DIALECT: Final = GenerateJsonSchema.schema_dialect
BLOCK: Final = "x-skerry"
MAX_SCHEMA: Final = 1024 * 1024
"""Bytes of one frozen schema."""

_TYPE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?")
_TEXTS: Final = ("title", "description", "examples", "deprecated", "$comment", "$schema", "$id")
_NAMED: Final = ("properties", "patternProperties", "$defs", "dependentSchemas")
_DECIMAL: Final = ("gt", "ge", "lt", "le", "multiple_of", "max_digits", "decimal_places")
_VALUES: Final = ("const", "enum", "default")


@dataclass(frozen=True, slots=True)
class EventSchema:
    """One version of an event. `writes` is the JSON Schema of its data as its producer writes it, `reads` that of the data
    which its class accepts: fields with a default are in every event, but need not be.
    """

    type: str
    version: int
    key: str
    writes: Schema
    reads: Schema
    owner: str = ""
    compatibility: Compatibility = "full"

    def __str__(self) -> str:
        return f"{self.type} version {self.version}"

    @property
    def file(self) -> str:
        """Where it is frozen, below the folder of the system file, with slashes."""
        return f"schemas/{self.type}/{self.version}.json"

    def is_same(self, other: EventSchema) -> bool:
        """Whether both describe the same data in the same order; texts for people do not count."""
        return (
            self.key == other.key
            and shape(self.writes) == shape(other.writes)
            and shape(self.reads) == shape(other.reads)
        )

    def to_text(self) -> str:
        """The document it is frozen as: the same text for the same schema, ending in a line feed."""
        block: dict[str, Any] = {
            "type": self.type,
            "version": self.version,
            "key": self.key,
            "owner": self.owner,
            "compatibility": self.compatibility,
        }
        if self.reads != self.writes:
            block["reads"] = self.reads
        document = {"$schema": DIALECT, **self.writes, BLOCK: block}
        return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_text(cls, text: str | bytes, source: str) -> EventSchema:
        """Read a frozen document. Raises `ConfigurationError`, which names `source`, for anything else."""
        if len(text) > MAX_SCHEMA:
            raise ConfigurationError(f"is larger than {MAX_SCHEMA} bytes", source=source)
        try:
            document = json.loads(text)
            block = document.pop(BLOCK, None) if isinstance(document, dict) else None
            wrong = malformed(document) or malformed(block.get("reads", {}) if isinstance(block, dict) else {})
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"is not JSON ({type(error).__name__})", source=source) from None
        if not isinstance(document, dict) or not isinstance(block, dict):
            raise ConfigurationError(f"is not a frozen event: it has no {BLOCK}", source=source)
        if wrong:
            raise ConfigurationError(f"is no JSON Schema: {wrong}", source=source)
        document.pop("$schema", None)
        name, version, key = block.get("type"), block.get("version"), block.get("key")
        mode, reads = block.get("compatibility", "full"), block.get("reads", document)
        if not isinstance(name, str) or not is_type(name) or type(version) is not int or version < 1:
            raise ConfigurationError(f"{BLOCK} names no type and version", source=source)
        if not isinstance(key, str) or mode not in MODES or not isinstance(reads, dict):
            raise ConfigurationError(f"{BLOCK} needs key, compatibility ({', '.join(MODES)})", source=source)
        return cls(name, version, key, document, reads, str(block.get("owner", "")), mode)


@dataclass(frozen=True, slots=True)
class EventClass:
    """A class of the code: its schema, its name, and the versions it has upcasters from."""

    schema: EventSchema
    name: str
    upcasts: frozenset[int] = field(default_factory=frozenset)

    def missing_upcasters(self, since: int) -> list[int]:
        """The steps from `since` to its own version that no upcaster takes."""
        return [version for version in range(since, self.schema.version) if version not in self.upcasts]

    def as_json(self) -> dict[str, Any]:
        """For another process, which reads it with `from_json`."""
        schema = self.schema
        return {
            "type": schema.type,
            "version": schema.version,
            "key": schema.key,
            "writes": schema.writes,
            "reads": schema.reads,
            "name": self.name,
            "upcasts": sorted(self.upcasts),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any], owner: str) -> EventClass:
        """Read what `as_json` gave."""
        schema = EventSchema(body["type"], body["version"], body["key"], body["writes"], body["reads"], owner)
        return cls(schema, body["name"], frozenset(body["upcasts"]))


def describe(event: type[DomainEvent]) -> EventClass:
    """The schema of an event class, as its `model_dump` and `model_validate` treat the data.

    Raises `ConfigurationError` for a type that cannot be the name of a folder, and for fields that JSON Schema cannot
    describe.
    """
    name = f"{event.__module__}.{event.__qualname__}"
    if not is_type(event.event_type):
        raise ConfigurationError(f"{name}: use a type like shop.order.placed: letters, digits, dots, hyphens")
    by_alias = bool(event.model_config.get("serialize_by_alias", False))
    try:
        writes = event.model_json_schema(mode="serialization", by_alias=by_alias, schema_generator=_Written)
        reads = event.model_json_schema(mode="validation", schema_generator=_Read)
        json.dumps([writes, reads], allow_nan=False)
    except (PydanticUserError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{name} cannot be described by JSON Schema: {error}".splitlines()[0]) from None
    schema = EventSchema(event.event_type, event.event_version, event.event_key, writes, reads)
    everything = set(range(1, event.event_version))
    return EventClass(schema, name, frozenset(everything.difference(event.missing_upcasters())))


def is_type(name: str) -> bool:
    """Whether an event of this type can be frozen: its name becomes that of a folder."""
    return _TYPE.fullmatch(name) is not None and ".." not in name


def shape(schema: Any) -> Any:
    """A schema without the texts for people, its unordered lists sorted, so that equal shapes are equal."""
    if not isinstance(schema, dict):
        return [shape(each) for each in schema] if isinstance(schema, list) else schema
    plain: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in _VALUES:
            plain[keyword] = value
        elif keyword in _NAMED and isinstance(value, dict):
            plain[keyword] = {name: shape(inner) for name, inner in value.items()}
        elif keyword == "required" and isinstance(value, list):
            if value:
                plain[keyword] = sorted(map(str, value))
        elif keyword not in _TEXTS:
            plain[keyword] = shape(value)
    return plain


class _Read(GenerateJsonSchema):
    """What `model_validate` accepts. What JSON Schema has no word for is told by a format, so that it is not lost."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - as pydantic declares it

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> Schema:
        found = super().decimal_schema(schema)
        for each in found.get("anyOf", [found]):
            if each.get("type") == "string":
                each.pop("pattern", None)  # differs between versions of pydantic
                limits = [f"{word}={schema[word]}" for word in _DECIMAL if schema.get(word) is not None]
                each["format"] = " ".join(["decimal", *limits])
        return found

    def dict_schema(self, schema: core_schema.DictSchema) -> Schema:
        found = super().dict_schema(schema)
        keys = self.generate_inner(schema["keys_schema"]) if "keys_schema" in schema else {"type": "string"}
        kind = keys.get("format", keys.get("type"))
        if kind not in {None, "string"} and "propertyNames" not in found:
            found["propertyNames"] = {"format": kind}
        return found


class _Written(_Read):
    """What `model_dump` writes: also the fields that have a default."""

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,
    ) -> bool:
        if field["type"] == "typed-dict-field":
            return super().field_is_required(field, total)
        return cast("dict[str, Any]", field).get("serialization_exclude_if") is None
