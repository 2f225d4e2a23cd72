"""What a foreign producer may send and a consumer has to survive."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

TYPE = "hostile.happened"
LARGEST = 1024 * 1024
DEEP = 100_000


@dataclass(frozen=True, slots=True)
class Bad:
    """A message that no handler can take. `forged`: what stands where our own adapter puts id, type and key."""

    name: str
    body: bytes
    forged: Mapping[str, bytes] = field(default_factory=dict)


def envelope(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"bad {name}",
        "source": "elsewhere",
        "type": TYPE,
        "partitionkey": f"bad {name}",
        "data": {"lane": f"bad {name}", "n": 1},
    } | changes


def text(name: str, **changes: Any) -> str:
    return json.dumps(envelope(name, **changes))


def bad_messages() -> Iterator[Bad]:
    """One after the other; what they say of themselves differs, so each has to be found again."""
    yield Bad("empty", b"")
    yield Bad("not JSON", b"<event/>")
    yield Bad("pickle", b"\x80\x04\x95.")
    for name in ("specversion", "id", "source", "partitionkey"):
        body = envelope(f"no {name}")
        del body[name]
        yield Bad(f"no {name}", json.dumps(body).encode())
    for name, change in {
        "a specversion to come": {"specversion": "9.9"},
        "an id of seven": {"id": 7},
        "a list for data": {"data": [1]},
        "a text for a version": {"dataversion": "1"},
        "another event's data": {"data": {"n": 1}},
        "NaN": {"data": {"lane": "x", "n": math.nan}},
        "Infinity": {"data": {"lane": "x", "n": -math.inf}},
        "a surrogate in the data": {"data": {"lane": "\ud800", "n": 1}},
        "a surrogate in the id": {"id": "\udfff"},
        "a NUL in the id": {"id": "a\x00b"},
        "a NUL in the key": {"partitionkey": "a\x00b"},
    }.items():
        yield Bad(name, text(name, **change).encode())
    yield Bad("a name twice", text("a name twice").replace('{"lane"', '{"n":2,"lane"').encode())
    yield Bad("an attribute twice", text("an attribute twice")[:-1].encode() + b',"id":"other"}')
    digits = text("10^5 digits").replace('"n": 1', '"n": ' + "7" * DEEP)
    yield Bad("10^5 digits", digits.encode())
    nested = text("nested").replace('{"lane"', '{"deep": ' + "[" * DEEP + "]" * DEEP + ', "lane"')
    yield Bad("nested", nested.encode())
    yield Bad("nested and open", b'{"a":' * DEEP)
    for name, raw in {"a wrong byte": b"\xff", "a raw surrogate": b"\xed\xa0\x80", "a raw NUL": b"\x00"}.items():
        yield Bad(name, text(name).encode().replace(b'"lane": "', b'"lane": "' + raw))
    yield Bad("a NUL at the end", text("a NUL at the end").encode() + b"\x00")
    yield Bad("too large", text("too large", data={"lane": "x" * LARGEST, "n": 1}).encode())
    yield Bad("huge", text("huge", data={"lane": "x" * 8_000_000, "n": 1}).encode())
    yield Bad("another key", text("another key").encode(), {"id": b"bad another key", "key": b"bad other key"})
    yield Bad("another id", text("another id").encode(), {"id": b"bad other id", "key": b"bad another id"})
    yield Bad("a key without end", b"{}", {"id": b"bad endless", "key": b"k" * 5000})
    yield Bad("a key of no text", b"{}", {"id": b"bad key", "key": b"\xff\xfe"})
    yield Bad("an id of no text", b"{}", {"id": b"\xfe\xff", "key": b"bad id"})
    yield Bad("an escape in the key", b"{}", {"id": b"bad escape", "key": b"\x1b[2J\x07"})


def twins() -> Iterator[Bad]:
    """Two events of one id and source, where the broker does not see to it that there is one; the first is bad."""
    yield Bad("twin", text("twin", data={}).encode())
    yield Bad("other twin", text("other twin", id="bad twin").encode())


def namesakes() -> Iterator[str]:
    """Of an event handled before: it comes again with other content, which is nothing new; one of another source, which is."""
    yield _edge(3, pad="other")
    yield json.dumps(json.loads(_edge(4)) | {"id": "edge 3", "source": "somewhere else"})


def good_messages() -> Iterator[str]:
    """Envelopes of others at the edge of what is allowed; their ids are `edge 1` and so on, their key is `edge`."""
    yield _edge(1, pad="x" * (LARGEST - len(_edge(1, pad=""))))
    yield _edge(2, pad="a\x00\U0001f600")
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    yield _edge(3, deep=deep, large=10**4000)


def _edge(n: int, **data: Any) -> str:
    return text("", id=f"edge {n}", partitionkey="edge", data={"lane": "edge", "n": n, **data}, other={"x": [1]})
