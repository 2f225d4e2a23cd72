"""The envelope an event travels in: CloudEvents 1.0, in structured JSON mode or in binary mode.

Source: CloudEvents 1.0.2 specification and its JSON event format, with the partitioning, sequence and distributed-tracing
extensions; binary mode follows the protocol bindings in `binding`. Our own extension attributes are `dataversion` (version
of the data's shape) and `causationid` (what led to this event).
"""

from __future__ import annotations

import json
import json.scanner
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from skerry.errors import InvalidEvent
from skerry.events.binding import HTTP, Binding

MAX_BYTES: Final = 1024 * 1024
"""The largest event that travels, in bytes. One is written with at most 64 fewer: the relay adds the sequence."""
MAX_TEXT: Final = 255
"""Characters of one attribute."""
MAX_SEQUENCE: Final = 2**63 - 1
STRUCTURED: Final = "application/cloudevents+json"
"""The content type of the structured mode."""

_ROOM: Final = 64
"""Bytes that are kept free for what `with_sequence` adds."""
_MAX_VERSION: Final = 1_000_000
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_JSON_TYPE: Final = re.compile(r"(?:application|text)/(?:[a-z0-9.-]+\+)?json", re.IGNORECASE)
_TRAILING_VERSION: Final = re.compile(r"[/#:=@]v?([1-9][0-9]{0,6})(?:\.json)?$")
_SEQUENCE_AT_END: Final = re.compile(r',"sequence":"[0-9]+"\}$')
_DECIMAL: Final = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Envelope:
    """One event as it is stored and sent. `time` is RFC 3339 in UTC; `key` keeps order.

    `sequence` counts the events of one producer and key, from 1; 0 says that the producer does not count. `time` is empty
    when another producer sent none.
    """

    id: str
    source: str
    type: str
    time: str
    key: str
    version: int
    data: dict[str, Any]
    traceparent: str = ""
    causation: str = ""
    sequence: int = 0

    def to_json(self) -> str:
        """The structured form, which `from_json` reads. Raises `InvalidEvent` when it is larger than 1 MiB, not plain JSON,
        or has an attribute that is empty, longer than 255 characters or holds a control character.
        """
        body = self._attributes()
        body["dataversion"] = self.version
        body["datacontenttype"] = "application/json"
        body["data"] = self.data
        _add_extensions(body, self)
        text = _dump(body, self.type)
        return with_sequence(text, self.sequence) if self.sequence else text

    @classmethod
    def from_json(cls, text: str | bytes) -> Envelope:
        """Read the structured form. Raises `InvalidEvent` for anything malformed, whatever it is.

        What other producers may send is read: attributes we do not know are ignored, `null` is an attribute that is absent,
        `time` may be absent, absent `data` is an empty object, an absent `partitionkey` is the `subject`, and an absent
        `dataversion` is the number at the end of `dataschema`, else 1. Refused: `data_base64`, data that is no JSON object,
        another content type than JSON, and an event with neither `partitionkey` nor `subject`.
        """
        body = _load(text)
        if not isinstance(body, dict) or body.get("specversion") != "1.0":
            raise InvalidEvent("not a CloudEvents 1.0 envelope")
        if body.get("data_base64") is not None:
            raise InvalidEvent("data_base64 is not supported: the data of an event is a JSON object")
        if body.get("datacontenttype") not in _USUAL_TYPES:
            _check_content_type(_text(body, "datacontenttype", ""))
        return cls._read(body, body.get("dataversion"), body.get("data"))

    def to_headers_and_body(self, binding: Binding = HTTP) -> tuple[dict[str, str], bytes]:
        """The binary form: attributes in headers, the data alone as the body. Raises what `to_json` raises."""
        attributes = self._attributes()
        attributes["dataversion"] = str(self.version)
        _add_extensions(attributes, self)
        if self.sequence:
            attributes["sequence"] = str(_checked(self.sequence))
        headers = {binding.prefix + name: binding.encode(value) for name, value in attributes.items()}
        headers[binding.content_type] = "application/json"
        try:
            sum(len(value.encode()) for value in headers.values())
        except UnicodeEncodeError:
            raise InvalidEvent("an attribute is not plain text") from None
        return headers, _dump(self.data, self.type).encode()

    @classmethod
    def from_headers_and_body(
        cls, headers: Mapping[str, str | bytes], body: bytes, binding: Binding = HTTP
    ) -> Envelope:
        """Read the binary form. Names of headers are compared without regard to case; those of others are ignored.

        Takes and refuses what `from_json` does; an empty body is empty data. Raises `InvalidEvent` for anything malformed.
        """
        attributes, content_type = binding.attributes(headers)
        if attributes.get("specversion") != "1.0":
            raise InvalidEvent("not a CloudEvents 1.0 message in binary mode: no specversion 1.0 among its headers")
        _check_content_type(content_type)
        version: Any = attributes.get("dataversion")
        if version is not None:
            version = int(version) if _DECIMAL.fullmatch(version) else version
        if not isinstance(body, bytes):
            raise InvalidEvent("the body is not bytes")
        return cls._read(attributes, version, _load(body) if body else None)

    @classmethod
    def _read(cls, body: Mapping[str, Any], version: Any, data: Any) -> Envelope:
        if version is None:
            version = _schema_version(body.get("dataschema"))
        if type(version) is not int or not 1 <= version <= _MAX_VERSION:
            raise InvalidEvent("dataversion is not a version number")
        if data is None:
            data = {}
        if not isinstance(data, dict):
            raise InvalidEvent("data is not a JSON object")
        if body.get("partitionkey") is None and body.get("subject") is None:
            raise InvalidEvent("the event has neither a partitionkey nor a subject: nothing keeps it in order")
        get = body.get
        key = "subject" if get("partitionkey") is None else "partitionkey"
        needed: tuple[Any, ...] = get("id"), get("source"), get("type"), get(key)
        others: tuple[Any, ...] = tuple([get(name, "") for name in _OTHERS])
        if not _sound(needed, others):
            needed = _text(body, "id"), _text(body, "source"), _text(body, "type"), _text(body, key)
            others = tuple(_text(body, name, "") for name in _OTHERS)
        identifier, source, event_type, partition = needed
        time, traceparent, causation, sequence = others
        return cls(
            identifier,
            source,
            event_type,
            time,
            partition,
            version,
            data,
            traceparent,
            causation,
            _sequence(sequence) if sequence else 0,
        )

    def _attributes(self) -> dict[str, Any]:
        body: dict[str, Any] = {"specversion": "1.0", "id": self.id, "source": self.source, "type": self.type}
        if self.time:
            body["time"] = self.time
        body["subject"] = body["partitionkey"] = self.key
        if not _plain(self.id, self.source, self.type, self.time or "-", self.key):
            for name in body:
                _written(body, name)
        if type(self.version) is not int or not 1 <= self.version <= _MAX_VERSION:
            raise InvalidEvent("dataversion is not a version number")
        return body


def with_sequence(body: str, sequence: int) -> str:
    """The structured form `body`, as `to_json` writes it, with the sequence number `sequence` added; nothing is parsed.

    Raises `InvalidEvent` when `sequence` is not from 1 to 2**63 - 1, or `body` has one already or is no JSON object.
    """
    _checked(sequence)
    if not body.startswith('{"') or not body.endswith("}") or _SEQUENCE_AT_END.search(body, max(0, len(body) - _ROOM)):
        raise InvalidEvent("only an envelope without a sequence can be given one")
    return f'{body[:-1]},"sequence":"{sequence}"}}'


def _checked(sequence: int) -> int:
    if type(sequence) is not int or not 1 <= sequence <= MAX_SEQUENCE:
        raise InvalidEvent("a sequence number counts from 1")
    return sequence


def _add_extensions(body: dict[str, Any], envelope: Envelope) -> None:
    if envelope.traceparent:
        body["traceparent"] = envelope.traceparent
        _written(body, "traceparent")
    if envelope.causation:
        body["causationid"] = envelope.causation
        _written(body, "causationid")


def _text(body: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = body.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or len(value) > MAX_TEXT or (default is None and not value):
        raise InvalidEvent(f"the attribute {name} is missing, too long or not a text")
    if "\x00" in value:  # no database takes it as text
        raise InvalidEvent(f"the attribute {name} holds a NUL")
    return value


def _written(body: Mapping[str, Any], name: str) -> None:
    """The specification allows no control characters; those of others are read all the same."""
    value = _text(body, name)
    if not value.isprintable() and _CONTROL.search(value):  # the first question alone is quick, and enough for most
        raise InvalidEvent(f"the attribute {name} holds a control character")


def _plain(*values: Any) -> bool:
    """Whether nothing is wrong with any of them: one question for most envelopes, in the place of one for each attribute."""
    try:
        return "".join(values).isprintable() and min(map(len, values)) > 0 and max(map(len, values)) <= MAX_TEXT
    except TypeError:
        return False


def _sound(needed: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    """The same for attributes that were read, of which the `others` may be empty."""
    try:
        return "\x00" not in "".join(needed + others) and all(needed) and max(map(len, needed + others)) <= MAX_TEXT
    except TypeError:
        return False


def _sequence(text: str) -> int:
    """The extension allows any text that sorts; only our own kind, a whole number, says that nothing is missing."""
    number = int(text) if _DECIMAL.fullmatch(text) else 0
    return number if number <= MAX_SEQUENCE else 0


def _schema_version(schema: Any) -> int:
    if schema is None:
        return 1
    if not isinstance(schema, str):
        raise InvalidEvent("the attribute dataschema is not a text")
    found = _TRAILING_VERSION.search(schema[-64:])
    return int(found[1]) if found else 1


def _check_content_type(value: str) -> None:
    media, _, parameters = value.partition(";")
    media = media.strip()
    if media.lower().startswith("application/cloudevents"):
        raise InvalidEvent("the message is in structured or batched mode: its body is the envelope, not the data")
    charset = re.search(r'charset\s*=\s*"?([^";\s]+)', parameters, re.IGNORECASE)
    if media and not _JSON_TYPE.fullmatch(media):
        raise InvalidEvent("datacontenttype is not JSON: the data of an event is a JSON object")
    if charset is not None and charset[1].lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise InvalidEvent("datacontenttype names another charset than UTF-8")


def _dump(body: dict[str, Any], event_type: str) -> str:
    try:
        text = _ENCODER.encode(body)
        size = len(text.encode())
    except (ValueError, TypeError, RecursionError) as error:  # ValueError: NaN, or a lone surrogate
        raise InvalidEvent(f"{event_type}: the data is not plain JSON ({type(error).__name__})") from None
    if size > MAX_BYTES - _ROOM:
        raise InvalidEvent(f"{event_type}: {size} bytes are more than an event may have ({MAX_BYTES - _ROOM})")
    return text


def _load(text: str | bytes) -> Any:
    """Parse JSON from anywhere; raises `InvalidEvent` and nothing else."""
    if not isinstance(text, str | bytes):
        raise InvalidEvent("not a JSON text")
    if len(text) > MAX_BYTES + _ROOM:
        raise InvalidEvent(f"an envelope of {len(text)} characters is too large")
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        elif not text.isascii():
            text.encode()  # a lone surrogate in the text itself
        body = _decode(text)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(body, ensure_ascii=False).encode()  # a lone surrogate that was written as an escape
    except InvalidEvent:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidEvent(f"not a JSON envelope ({type(error).__name__})") from None
    return body


def _decode(text: str) -> Any:
    """What `json` decodes, without its search for space around, which there seldom is."""
    try:
        body, end = _SCAN(text, 0)
    except StopIteration:
        return _DECODER.decode(text)
    return body if end == len(text) else _DECODER.decode(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise InvalidEvent("a number is too large")
    return number


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        raise InvalidEvent("a name stands twice in one JSON object")
    return body


def _no_constant(name: str) -> Any:
    raise InvalidEvent(f"{name} is not a JSON number")


_OTHERS: Final = ("time", "traceparent", "causationid", "sequence")
_USUAL_TYPES: Final = (None, "", "application/json")
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite
)  # made once: that takes as long as to read an envelope
_SCAN: Final[Callable[[str, int], tuple[Any, int]]] = json.scanner.make_scanner(_DECODER)  # type: ignore[arg-type]
