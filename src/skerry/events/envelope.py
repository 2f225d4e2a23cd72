"""The envelope an event travels in: CloudEvents 1.0, structured JSON mode.

Source: CloudEvents 1.0.2 specification and its JSON event format, with the partitioning and distributed-tracing extensions.
Our own extension attributes are `dataversion` (version of the data's shape) and `causationid` (what led to this event).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from skerry.errors import InvalidEvent

MAX_BYTES: Final = 1024 * 1024
MAX_TEXT: Final = 255
_ATTRIBUTES: Final = ("id", "source", "type", "time", "partitionkey")


@dataclass(frozen=True, slots=True)
class Envelope:
    """One event as it is stored and sent. `time` is RFC 3339 in UTC; `key` keeps order."""

    id: str
    source: str
    type: str
    time: str
    key: str
    version: int
    data: dict[str, Any]
    traceparent: str = ""
    causation: str = ""

    def to_json(self) -> str:
        """The structured form, which `from_json` reads. Raises `InvalidEvent` when it is larger than 1 MiB, not plain JSON,
        or has an attribute that is empty or longer than 255 characters.
        """
        body: dict[str, Any] = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "time": self.time,
            "subject": self.key,
            "partitionkey": self.key,
            "dataversion": self.version,
            "datacontenttype": "application/json",
            "data": self.data,
        }
        for name in _ATTRIBUTES:
            _text(body, name)
        if self.traceparent:
            body["traceparent"] = self.traceparent
        if self.causation:
            body["causationid"] = self.causation
        try:
            text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            size = len(text.encode())
        except (ValueError, TypeError, RecursionError) as error:  # ValueError: NaN, or a lone surrogate
            raise InvalidEvent(f"{self.type}: the data is not plain JSON ({type(error).__name__})") from None
        if size > MAX_BYTES:
            raise InvalidEvent(f"{self.type}: {size} bytes are more than an event may have ({MAX_BYTES})")
        return text

    @classmethod
    def from_json(cls, text: str | bytes) -> Envelope:
        """Read the structured form. Raises `InvalidEvent` for anything malformed, whatever it is."""
        if len(text) > MAX_BYTES:
            raise InvalidEvent(f"an envelope of {len(text)} characters is too large")
        try:
            if isinstance(text, bytes):
                text = text.decode("utf-8")
            body = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
        except InvalidEvent:
            raise
        except (ValueError, RecursionError) as error:
            raise InvalidEvent(f"not a JSON envelope ({type(error).__name__})") from None
        if not isinstance(body, dict) or body.get("specversion") != "1.0":
            raise InvalidEvent("not a CloudEvents 1.0 envelope")
        identifier, source, event_type, time, key = (_text(body, name) for name in _ATTRIBUTES)
        version, data = body.get("dataversion", 1), body.get("data")
        if type(version) is not int or not 1 <= version <= 1_000_000:
            raise InvalidEvent("dataversion is not a version number")
        if not isinstance(data, dict):
            raise InvalidEvent("data is not a JSON object")
        trace, causation = _text(body, "traceparent", ""), _text(body, "causationid", "")
        return cls(identifier, source, event_type, time, key, version, data, trace, causation)


def _text(body: dict[str, Any], name: str, default: str | None = None) -> str:
    value = body.get(name, default)
    if not isinstance(value, str) or len(value) > MAX_TEXT or (default is None and not value):
        raise InvalidEvent(f"the attribute {name} is missing, too long or not a text")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        raise InvalidEvent("a name stands twice in one JSON object")
    return body


def _no_constant(name: str) -> Any:
    raise InvalidEvent(f"{name} is not a JSON number")
