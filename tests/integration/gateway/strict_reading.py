"""How a backend without any leniency reads requests: what it does not take is a fault of the gateway that sent it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
REQUEST_LINE = re.compile(rb"(%s) ([\x21-\x7e]+) (HTTP/1\.[01])" % TOKEN)
FIELD = re.compile(
    rb"(%s):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff\t]*[\x21-\x7e\x80-\xff])?)?)[ \t]*" % TOKEN
)
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")


class Faulty(ValueError):
    """Bytes that no sender of HTTP/1.1 may send."""


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    version: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def values(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each.lower() == name.lower()]

    def value(self, name: str) -> str | None:
        """Repeated fields joined as a recipient may join them."""
        values = self.values(name)
        return ",".join(values) if values else None

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


def take_head(buffer: bytearray) -> Seen | None:
    """The head at the front of the buffer, taken out of it; None as long as it is not whole."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if b"\n\n" in buffer:
            raise Faulty("lines that end with a bare line feed")
        return None
    first, *lines = bytes(buffer[:end]).split(b"\r\n")
    del buffer[: end + 4]
    line = REQUEST_LINE.fullmatch(first)
    if line is None:
        raise Faulty(f"no request line: {first[:80]!r}")
    seen = Seen(*(part.decode("ascii") for part in line.groups()))
    for each in lines:
        found = FIELD.fullmatch(each)
        if found is None:
            raise Faulty(f"no header field: {each[:80]!r}")
        seen.headers.append((found[1].decode("ascii"), found[2].decode("latin-1")))
    _check_framing(seen)
    return seen


def _check_framing(seen: Seen) -> None:
    lengths, codings = seen.values("content-length"), seen.values("transfer-encoding")
    if len(seen.values("host")) != 1:
        raise Faulty(f"Host stands {len(seen.values('host'))} times")
    if len(lengths) > 1 or (lengths and not re.fullmatch(r"[0-9]{1,18}", lengths[0])):
        raise Faulty(f"Content-Length: {lengths}")
    if codings not in ([], ["chunked"]):
        raise Faulty(f"Transfer-Encoding: {codings}")
    if lengths and codings:
        raise Faulty("both Content-Length and Transfer-Encoding")


def take_body(seen: Seen, buffer: bytearray) -> bool:
    """Moves what is there of the body from the buffer to the request; true when that is all of it."""
    if seen.values("transfer-encoding"):
        return _take_chunks(seen, buffer)
    missing = int(seen.value("content-length") or 0) - len(seen.body)
    seen.body += bytes(buffer[:missing])
    del buffer[:missing]
    return len(seen.body) == int(seen.value("content-length") or 0)


def _take_chunks(seen: Seen, buffer: bytearray) -> bool:
    while True:
        size = CHUNK.match(buffer)
        if size is None:
            if len(buffer) > 18 or b"\n" in buffer:
                raise Faulty(f"no chunk: {bytes(buffer[:40])!r}")
            return False
        length, begin = int(size[1], 16), size.end()
        if length == 0:
            return _take_trailers(buffer, begin)
        if len(buffer) < begin + length + 2:
            return False
        if buffer[begin + length : begin + length + 2] != b"\r\n":
            raise Faulty("a chunk longer than it says")
        seen.body += bytes(buffer[begin : begin + length])
        del buffer[: begin + length + 2]


def _take_trailers(buffer: bytearray, begin: int) -> bool:
    if buffer[begin : begin + 2] == b"\r\n":
        del buffer[: begin + 2]
        return True
    end = buffer.find(b"\r\n\r\n", begin)
    if end < 0:
        return False
    for line in bytes(buffer[begin:end]).split(b"\r\n"):
        if FIELD.fullmatch(line) is None:
            raise Faulty(f"no trailer field: {line[:80]!r}")
    del buffer[: end + 4]
    return True


def read_all(raw: bytes) -> list[Seen]:
    """Every request of one connection, to the last byte. An unfinished one at the end is not a fault: a client may go away."""
    buffer, found = bytearray(raw), []
    while buffer:
        seen = take_head(buffer)
        if seen is None or not take_body(seen, buffer):
            break
        found.append(seen)
    return found
