"""How the attributes of an event are named and written as headers: binary mode on each protocol.

Source: CloudEvents 1.0.2 protocol bindings for HTTP (section 3.1), Kafka (3.2) and AMQP (3.1), and the NATS binding of
version 1.0.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from skerry.errors import InvalidEvent

MAX_HEADERS: Final = 256
MAX_HEADER: Final = 4096
"""Characters of one header's value, as it is written."""

_SAFE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Binding:
    """One protocol's way: the prefix of attributes, the header of the content type, whether values are percent-encoded.

    `also` is a second prefix that is read but not written.
    """

    prefix: str
    content_type: str = "content-type"
    percent: bool = False
    also: str = ""

    def encode(self, value: str) -> str:
        """The value as the header carries it: percent-encoded UTF-8 where the protocol's headers are ASCII.

        Raises `InvalidEvent` for a lone surrogate.
        """
        if not self.percent:
            return value
        try:
            return quote_from_bytes(value.encode(), safe=_SAFE)
        except UnicodeEncodeError:
            raise InvalidEvent("an attribute is not plain text") from None

    def decode(self, value: str) -> str:
        """What `encode` was given. Quoted values are read too, as older producers write them.

        Raises `InvalidEvent` for what is not percent-encoded UTF-8.
        """
        if not self.percent:
            return value
        if quoted := _QUOTED.fullmatch(value):
            value = re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL)
        if "%" not in value:
            return value
        if _PERCENT.search(value):
            raise InvalidEvent("a header is not percent-encoded")
        try:
            return unquote_to_bytes(value).decode()
        except ValueError:
            raise InvalidEvent("a header is not percent-encoded UTF-8") from None

    def attributes(self, headers: Mapping[str, str | bytes]) -> tuple[dict[str, str], str]:
        """The attributes among `headers` by their names in lower case, and the content type, empty when there is none.

        Raises `InvalidEvent` for one that stands twice, is too long or no text.
        """
        if len(headers) > MAX_HEADERS:
            raise InvalidEvent(f"more than {MAX_HEADERS} headers")
        prefixes = tuple(prefix.lower() for prefix in (self.prefix, self.also) if prefix)
        found: dict[str, str] = {}
        content_type = ""
        for header, raw in headers.items():
            name = header.lower() if isinstance(header, str) else ""
            if name in {"content-type", self.content_type}:
                content_type = _text(raw) or content_type
            elif prefix := next((each for each in prefixes if name.startswith(each)), ""):
                attribute = name.removeprefix(prefix)
                if attribute in found:
                    raise InvalidEvent("an attribute stands twice among the headers")
                found[attribute] = self.decode(_text(raw))
        return found, content_type


HTTP: Final = Binding("ce-", percent=True)
KAFKA: Final = Binding("ce_")
NATS: Final = Binding("ce-", "ce-datacontenttype", percent=True)
"""A `content-type` is read as well, as drafts of this binding wrote it."""
AMQP: Final = Binding("cloudEvents:", also="cloudEvents_")


def _text(raw: str | bytes) -> str:
    try:
        value = raw.decode() if isinstance(raw, bytes) else raw
        if not isinstance(value, str) or len(value) > MAX_HEADER:
            raise InvalidEvent("a header is too long or no text")
        value.encode()
    except ValueError:
        raise InvalidEvent("a header is not UTF-8") from None
    return value
