"""A client on a raw socket: it sends exactly the bytes it was given, and reads answers strictly."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass, field
from typing import Any

STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([^\r\n]*))?")
PATIENCE = 20.0
"""Seconds until a test gives up on a gateway that neither answers nor closes."""


class Broken(Exception):
    """The connection ended, or what came is no answer."""


@dataclass
class Answer:
    """What came back. `whole` is false when the connection ended inside the body."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    whole: bool = True
    minor: int = 1

    def values(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each.lower() == name.lower()]

    def value(self, name: str) -> str | None:
        values = self.values(name)
        return ",".join(values) if values else None

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return {}


class Connection:
    """One connection to a gateway."""

    def __init__(self, port: int, *, patience: float = PATIENCE) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=patience)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:  # it was reset already, and nobody else would close it
            self._socket.close()
            raise
        self._buffer = bytearray()
        self.ended = False

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def finish(self) -> None:
        """No more will be sent; what comes is still read."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.ended = True

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.ended = True  # it may have answered before it closed: that is still to be read

    def _more(self) -> bool:
        try:
            data = self._socket.recv(65536)
        except ConnectionError:
            data = b""
        self._buffer += data
        self.ended = not data
        return bool(data)

    def read(self, method: str = "GET") -> Answer:
        """The next final answer; those of 100 to 199 before it are passed over, but 101."""
        while True:
            answer = self._head()
            if answer.status >= 200 or answer.status == 101:
                break
        self._body(answer, method)
        return answer

    def read_interim(self) -> Answer:
        """The next head, whatever its status."""
        return self._head()

    def _head(self) -> Answer:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > 1 << 21:
                raise Broken("a head of more than 2 MiB")
            if not self._more():
                raise Broken(f"closed instead of an answer, after {bytes(self._buffer[:200])!r}")
        first, *lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        line = STATUS_LINE.fullmatch(first)
        if line is None:
            raise Broken(f"no status line: {first[:80]!r}")
        fields = [each.decode("latin-1").partition(":") for each in lines]
        return Answer(int(line[2]), [(name, value.strip()) for name, _, value in fields], minor=int(line[1]))

    def _body(self, answer: Answer, method: str) -> None:
        if method == "HEAD" or answer.status in {101, 204, 304}:
            return
        if (answer.value("transfer-encoding") or "").lower() == "chunked":
            answer.whole = self._chunks(answer)
            return
        length = answer.value("content-length")
        while length is None or len(self._buffer) < int(length):
            if not self._more():
                answer.body, answer.whole = bytes(self._buffer), length is None
                self._buffer.clear()
                return
        answer.body = bytes(self._buffer[: int(length)])
        del self._buffer[: int(length)]

    def _chunks(self, answer: Answer) -> bool:
        while True:
            while (end := self._buffer.find(b"\r\n")) < 0:
                if not self._more():
                    return False
            size = int(bytes(self._buffer[:end]).split(b";")[0], 16)
            while len(self._buffer) < end + 2 + size + 2:
                if not self._more():
                    return False
            answer.body += bytes(self._buffer[end + 2 : end + 2 + size])
            del self._buffer[: end + 2 + size + 2]
            if size == 0:
                return True

    def all_answers(self, *, patience: float, method: str = "GET") -> list[Answer]:
        """Every answer until the connection ends or nothing has come for `patience` seconds."""
        self._socket.settimeout(patience)
        answers = []
        try:
            while True:
                answers.append(self.read(method))
        except (Broken, TimeoutError):
            return answers
        finally:
            self._socket.settimeout(PATIENCE)

    def receive(self, number: int) -> bytes:
        """So many bytes of what is no HTTP any more."""
        while len(self._buffer) < number:
            if not self._more():
                raise Broken("closed")
        data = bytes(self._buffer[:number])
        del self._buffer[:number]
        return data

    def closes(self, within: float) -> bool:
        """Whether the gateway has closed, or closes within so many seconds."""
        self._socket.settimeout(within)
        try:
            while not self.ended:
                self._more()
        except TimeoutError:
            return False
        finally:
            self._socket.settimeout(PATIENCE)
        return True


def request(
    method: str, target: str, headers: list[tuple[str, str]], body: bytes = b"", *, host: str = "a.test"
) -> bytes:
    """A plain request of HTTP/1.1."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def ask(
    port: int,
    target: str,
    *,
    method: str = "GET",
    headers: list[tuple[str, str]] | None = None,
    body: bytes = b"",
    host: str = "a.test",
) -> Answer:
    """One request on a connection of its own."""
    with Connection(port) as connection:
        connection.send(request(method, target, headers or [], body, host=host))
        return connection.read(method)
