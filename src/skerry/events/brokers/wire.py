"""What goes over the wire: the envelope's JSON as the body; id, type and key once more as headers.

What others put on the wire is handed on as far as it is known: whoever parses the envelope decides about it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

from skerry.errors import InvalidEvent
from skerry.events.brokers.port import Message
from skerry.events.envelope import MAX_BYTES, MAX_TEXT, STRUCTURED, Envelope

ID: Final = "skerry-id"
TYPE: Final = "skerry-type"
KEY: Final = "skerry-key"
CONTENT_TYPE: Final = "content-type"
TOO_LARGE: Final = "... cut off by skerry: larger than an event may be"
NOT_TEXT: Final = "... changed by skerry: it held what is no text"
LONGEST: Final = 2 * MAX_TEXT + 1
"""Characters of an id, type or key that is asked for, at most: an id and its source. No index of PostgreSQL takes twice that."""
_SHOWN: Final = 1024
_SAFE: Final = "/:@!$&'()*+,;=-._~"


def headers(message: Message) -> dict[str, str]:
    """The headers of a message, in ASCII."""
    return {
        CONTENT_TYPE: STRUCTURED,
        ID: quoted(message.id),
        TYPE: quoted(message.type),
        KEY: quoted(message.key),
    }


def received(body: bytes, headers: Mapping[str, str], *, fallback_id: str, event_type: str = "") -> Message:
    """The message that was on the wire. Raises nothing.

    `event_type` is what the transport routed by. Without our headers the envelope is asked, see `identity`; where that is
    none, `fallback_id` stands in. See `readable` for the body.
    """
    text = readable(body)
    if ID in headers:
        found_type = event_type or unquoted(headers.get(TYPE, ""))
        return Message(unquoted(headers[ID]) or fallback_id, found_type, unquoted(headers.get(KEY, "")), text)
    try:
        envelope = Envelope.from_json(text)
    except InvalidEvent:
        return Message(fallback_id, event_type, "", text)
    return Message(identity(envelope), event_type or envelope.type, envelope.key, text)


def identity(envelope: Envelope) -> str:
    """The id of an event among those of all producers. Ours are unique by themselves; another's only for its source."""
    return f"{envelope.source} {envelope.id}"


def readable(body: bytes) -> str:
    """The body as text: above 1 MiB it is cut, and what is no UTF-8 replaced. A mark at its end keeps either from being an
    envelope.
    """
    if len(body) > MAX_BYTES:
        return body[:_SHOWN].decode(errors="replace") + TOO_LARGE
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body.decode(errors="replace") + NOT_TEXT


def keepable(message: Message) -> Message:
    """The message as every database takes it: NUL and lone surrogates replaced, what is too long for an index cut, the body as
    `readable` gives it.
    """
    body = readable(message.body.encode(errors="surrogatepass"))
    if "\x00" in body:
        body = plain(body) + NOT_TEXT
    return Message(_short(plain(message.id)), _short(plain(message.type)), _short(plain(message.key)), body)


def kept(message: Message) -> bool:
    """Whether every database takes its id, type and key as they are, so that it can be asked about them."""
    text = f"{message.id}{message.type}{message.key}"
    if len(text) > LONGEST and max(len(message.id), len(message.type), len(message.key)) > LONGEST:
        return False
    return text.isprintable() or plain(text) == text  # the first question alone is quick, and enough for most


def _short(text: str) -> str:
    """Two that begin alike stay two."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 9]} {zlib.crc32(text.encode()):08x}"


def plain(text: str) -> str:
    """The text as every database takes it."""
    return text.encode(errors="replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")


def quoted(value: str) -> str:
    """The value of a header: ASCII without spaces."""
    if value.isascii() and value.isprintable() and "%" not in value and " " not in value:
        return value
    return quote(value, safe=_SAFE)


def unquoted(value: str) -> str:
    """What `quoted` was given. Raises nothing."""
    if "%" in value:
        value = unquote(value, errors="replace")
    return value[: MAX_TEXT * 4]
