"""The events of a system as one AsyncAPI document: who publishes what, who reads it, and its schemas.

Source: AsyncAPI 3.0.0; payloads are JSON Schema 2020-12 in the structured mode of CloudEvents 1.0.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

from skerry.errors import ConfigurationError
from skerry.events.envelope import MAX_TEXT, STRUCTURED
from skerry.events.schemas.model import DIALECT, EventSchema, Schema
from skerry.events.schemas.registry import Registry
from skerry.topology import System

VERSION: Final = "3.0.0"
FORMAT: Final = "application/schema+json;version=draft-2020-12"

_PROTOCOLS: Final = {"nats": "nats", "kafka": "kafka", "amqp": "amqp", "redis": "redis"}


def export(system: System, registry: Registry, *, version: str = "1.0.0") -> dict[str, Any]:
    """The document, made of plain JSON values. Channels are event types; `version` is that of the document itself.

    Only frozen schemas are described, so nothing is imported. Raises `ConfigurationError` for a topic without one.
    """
    missing = [name for name in system.topics if name not in registry]
    if missing:
        raise ConfigurationError(f"no version of {', '.join(missing)} is frozen: run `skerry events freeze` first")
    document: dict[str, Any] = {
        "asyncapi": VERSION,
        "info": {"title": system.name, "version": version, "description": f"The events of the system {system.name}."},
        "defaultContentType": STRUCTURED,
        "channels": {name: _channel(system, registry[name]) for name in system.topics},
        "operations": _operations(system, registry),
        "components": {
            "messages": {
                _name(schema): _message(schema) for name in system.topics for schema in registry[name].values()
            },
            "schemas": {_name(schema): _data(schema) for name in system.topics for schema in registry[name].values()},
        },
    }
    if servers := _servers(system):
        document["servers"] = servers
    return document


def _channel(system: System, versions: Mapping[int, EventSchema]) -> dict[str, Any]:
    newest = versions[max(versions)]
    topic = system.topics[newest.type]
    return {
        "address": newest.type,
        "title": newest.type,
        "description": topic.description or f"Published by {topic.owner}.",
        "messages": {
            f"v{each.version}": _reference("components", "messages", _name(each)) for each in versions.values()
        },
        "x-skerry-owner": topic.owner,
        "x-skerry-key": newest.key,
    }


def _operations(system: System, registry: Registry) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for service in system.services.values():
        for action, topics in (("send", service.publishes), ("receive", service.subscribes)):
            for topic in topics:
                found[f"{service.name}.{action}.{topic}"] = {
                    "action": action,
                    "title": f"{service.name} {'publishes' if action == 'send' else 'reads'} {topic}",
                    "channel": _reference("channels", topic),
                    "messages": [_reference("channels", topic, "messages", f"v{each}") for each in registry[topic]],
                    "tags": [{"name": service.name}],
                    "x-skerry-service": service.name,
                }
    return found


def _message(schema: EventSchema) -> dict[str, Any]:
    return {
        "name": schema.type,
        "title": f"{schema.writes.get('title', schema.type)} version {schema.version}",
        "summary": str(schema.writes.get("description", "")).partition("\n")[0] or str(schema),
        "contentType": STRUCTURED,
        "headers": {
            "type": "object",
            "properties": {"content-type": {"type": "string", "const": STRUCTURED}},
        },
        "payload": {"schemaFormat": FORMAT, "schema": _envelope(schema)},
        "correlationId": {
            "description": f"The key: events with the same {schema.key} keep their order.",
            "location": "$message.payload#/partitionkey",
        },
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": f"The value of {schema.key}."},
                "bindingVersion": "0.5.0",
            }
        },
        "x-skerry-key": schema.key,
        "x-skerry-version": schema.version,
        "x-skerry-compatibility": schema.compatibility,
    }


def _envelope(schema: EventSchema) -> Schema:
    text = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}
    return {
        "$schema": DIALECT,
        "type": "object",
        "properties": {
            "specversion": {"const": "1.0"},
            "id": text,
            "source": {**text, "description": "The service that recorded the event."},
            "type": {"const": schema.type},
            "time": {"type": "string", "format": "date-time"},
            "subject": {**text, "description": f"The value of {schema.key}."},
            "partitionkey": {**text, "description": f"The value of {schema.key}, which keeps events in order."},
            "dataversion": {"const": schema.version},
            "datacontenttype": {"const": "application/json"},
            "data": {"$ref": f"{_pointer('components', 'schemas', _name(schema))}/schema"},
            "traceparent": {"type": "string"},
            "causationid": {**text, "description": "The id of the event that led to this one."},
            "sequence": {"type": "string", "pattern": "^[0-9]+$"},
        },
        "required": ["specversion", "id", "source", "type", "partitionkey", "dataversion", "data"],
    }


def _data(schema: EventSchema) -> dict[str, Any]:
    """A component of its own; references inside the schema then start at the document."""
    root = f"{_pointer('components', 'schemas', _name(schema))}/schema"
    return {"schemaFormat": FORMAT, "schema": {"$schema": DIALECT, **_moved(schema.writes, root)}}


def _moved(node: Any, root: str, *, names: bool = False) -> Any:
    if isinstance(node, list):
        return [_moved(each, root) for each in node]
    if not isinstance(node, dict):
        return node
    moved = {}
    for word, value in node.items():
        if names:
            moved[word] = _moved(value, root)
        elif word == "$ref" and isinstance(value, str) and value.startswith("#"):
            moved[word] = root + value[1:]
        elif word == "discriminator" and isinstance(value, dict):
            mapping = {tag: root + str(target)[1:] for tag, target in value.get("mapping", {}).items()}
            moved["x-discriminator"] = {**value, "mapping": mapping}  # AsyncAPI's own discriminator is a name only
        elif word not in {"const", "enum", "default", "examples"}:
            moved[word] = _moved(value, root, names=word in {"properties", "patternProperties", "$defs"})
        else:
            moved[word] = value
    return moved


def _servers(system: System) -> dict[str, Any]:
    """The broker, without its user and password; the embedded log is a folder and no server."""
    parts = urlsplit(system.events or "")
    if parts.scheme not in _PROTOCOLS or not parts.hostname:
        return {}
    host = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
    return {"events": {"host": host, "protocol": _PROTOCOLS[parts.scheme]}}


def _name(schema: EventSchema) -> str:
    return f"{schema.type}.v{schema.version}"


def _pointer(*parts: str) -> str:
    return "#/" + "/".join(quote(part.replace("~", "~0").replace("/", "~1"), safe="~.-_") for part in parts)


def _reference(*parts: str) -> dict[str, str]:
    return {"$ref": _pointer(*parts)}
