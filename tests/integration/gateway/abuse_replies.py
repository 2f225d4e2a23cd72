# ruff: noqa: E501 - a table is read by its lines
"""Answers that no honest service gives, and what a client may be told of them.

Besides what each case expects, this always holds: a client that was told a length gets that many bytes or sees the connection end;
and what is left of a hostile answer is never the answer to somebody else's request.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from tests.integration.gateway.abuse import Stage, expand
from tests.integration.gateway.abuse_prose import NEVER, STATUS
from tests.integration.gateway.raw_backends import Script
from tests.integration.gateway.raw_client import Answer, Broken, Connection, request

CLOSE = "<close>"


@dataclass(frozen=True)
class Reply:
    """`statuses` the client may see, 0 for an answer cut off; `body` it then sees with a 2xx; headers that have to be there, one
    field for each value; `method` it asked with.
    """

    id: str
    raw: str
    statuses: frozenset[int] = frozenset({502})
    body: bytes | None = None
    values: tuple[tuple[str, tuple[str, ...]], ...] = ()
    absent: tuple[str, ...] = ()
    method: str = "GET"


def _raw(*lines: str, body: str = "", status: str = "HTTP/1.1 200 OK") -> str:
    return "\r\n".join([status, *lines, "", body])


SERVED = frozenset({200})
CUT = frozenset({0, 502})
EITHER = frozenset({200, 502})

REPLIES = [
    Reply("answer-shorter-than-told", _raw("Content-Length: 10", body="abc<close>"), CUT),
    Reply("answer-longer-than-told", _raw("Content-Length: 3", body="abcHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nX"), SERVED, b"abc"),
    Reply("answer-with-two-lengths", _raw("Content-Length: 3", "Content-Length: 5", body="abcde")),
    Reply("answer-with-lengths-alike", _raw("Content-Length: 3", "Content-Length: 3", body="abc"), EITHER, b"abc"),
    Reply("answer-with-length-and-chunks", _raw("Content-Length: 3", "Transfer-Encoding: chunked", body="0\r\n\r\n"), EITHER, b""),
    Reply("answer-with-negative-length", _raw("Content-Length: -1", body="abc")),
    Reply("answer-with-length-in-letters", _raw("Content-Length: 3x", body="abc")),
    Reply("answer-with-length-past-64-bits", _raw("Content-Length: 18446744073709551617", body="abc<close>"), CUT),
    Reply("answer-of-chunks", _raw("Transfer-Encoding: chunked", body="3\r\nabc\r\n0\r\n\r\n"), SERVED, b"abc"),
    Reply("answer-of-broken-chunks", _raw("Transfer-Encoding: chunked", body="3\r\nabcd\r\n0\r\n\r\n"), CUT),
    Reply("answer-of-chunks-with-0x", _raw("Transfer-Encoding: chunked", body="0x3\r\nabc\r\n0\r\n\r\n"), CUT),
    Reply("answer-of-chunks-that-end-early", _raw("Transfer-Encoding: chunked", body="3\r\nabc\r\n<close>"), CUT),
    Reply("answer-of-unknown-coding", _raw("Transfer-Encoding: gzip", body="abc<close>"), frozenset({0, 502})),
    Reply("answer-of-coding-twice", _raw("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body="0\r\n\r\n"), EITHER, b""),
    Reply("answer-until-close", _raw(body="abc<close>"), SERVED, b"abc"),
    Reply("answer-204-with-body", _raw("Content-Length: 3", body="abc", status="HTTP/1.1 204 No Content"), frozenset({204, 502}), b""),
    Reply("answer-304-with-length", _raw("Content-Length: 1024", status="HTTP/1.1 304 Not Modified"), frozenset({304}), b""),
    Reply("answer-to-head-with-body", _raw("Content-Length: 3", body="abc"), SERVED, b"", method="HEAD"),
    Reply("two-cookies", _raw("Set-Cookie: a=1", "Set-Cookie: b=2", "Content-Length: 0"), SERVED, b"", (("Set-Cookie", ("a=1", "b=2")),)),
    Reply("location-is-not-followed", _raw("Location: http://127.0.0.1:1/", "Content-Length: 0", status="HTTP/1.1 302 Found"), frozenset({302}), b"", (("Location", ("http://127.0.0.1:1/",)),)),
    Reply("head-of-a-mebibyte", _raw("X: {A*1048576}", "Content-Length: 0")),
    Reply("head-of-ten-thousand-fields", _raw("{X: y\r\n*10000}Content-Length: 0")),
    Reply("head-that-never-ends", "HTTP/1.1 200 OK\r\nX: {A*2000000}"),
    Reply("head-with-nul", _raw("X: a\x00b", "Content-Length: 0")),
    Reply("head-with-bare-cr", _raw("X: a\rContent-Length: 3", "Content-Length: 0")),
    Reply("head-folded", _raw("X: a\r\n b", "Content-Length: 0"), EITHER, b""),
    Reply("head-without-colon", _raw("garbage", "Content-Length: 0")),
    Reply("head-with-space-before-colon", _raw("Content-Length : 3", body="abc<close>"), CUT),
    Reply("no-http-at-all", "hello\r\n\r\n"),
    Reply("bytes-of-tls", "\x15\x03\x01\x00\x02\x02\x28<close>"),
    Reply("http-0.9", "<html>hello</html><close>"),
    Reply("http-2.0", _raw("Content-Length: 0", status="HTTP/2.0 200 OK")),
    Reply("http-1.0", _raw("Content-Length: 3", body="abc", status="HTTP/1.0 200 OK"), SERVED, b"abc"),
    Reply("status-of-two-digits", _raw("Content-Length: 0", status="HTTP/1.1 20 OK")),
    Reply("status-of-four-digits", _raw("Content-Length: 0", status="HTTP/1.1 2000 OK")),
    Reply("status-999", _raw("Content-Length: 0", status="HTTP/1.1 999 No"), frozenset({502, 999})),
    Reply("status-101-unasked", _raw("Connection: Upgrade", "Upgrade: x", status="HTTP/1.1 101 Switching Protocols")),
    Reply("continue-unasked", "HTTP/1.1 100 Continue\r\n\r\n" + _raw("Content-Length: 3", body="abc"), EITHER, b"abc"),
    Reply("early-hints", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + _raw("Content-Length: 3", body="abc"), EITHER, b"abc"),
    Reply("a-thousand-early-hints", "{HTTP/1.1 103 Early Hints\r\n\r\n*1000}" + _raw("Content-Length: 3", body="abc"), EITHER, b"abc"),
    Reply("early-hints-without-end", "{HTTP/1.1 103 Early Hints\r\n\r\n*50000}" + _raw("Content-Length: 3", body="abc")),
    Reply("nothing-and-closed", CLOSE, frozenset({502, 503})),
    Reply("hop-by-hop-of-a-service", _raw("Connection: X-Inner", "X-Inner: 1", "Keep-Alive: 9", "Content-Length: 0"), SERVED, b"", absent=("X-Inner", "Keep-Alive")),
    Reply("two-answers-at-once", _raw("Content-Length: 1", body="a") + _raw("Content-Length: 6", body="poison"), SERVED, b"a"),
    Reply("answer-and-then-garbage", _raw("Content-Length: 1", body="a") + "garbage", SERVED, b"a"),
]  # fmt: skip


def judge(case: Reply, stage: Stage) -> list[str]:
    """What is wrong with what the client was told, and with what others are told after it."""
    for backend in stage.backends.values():
        backend.reset()
    raw = expand(case.raw.removesuffix(CLOSE).replace(CLOSE, ""))
    stage.backends["v1"].script = Script(raw=raw, raw_path="/hostile", close=case.raw.endswith(CLOSE))
    problems = []
    with Connection(stage.gateway.port) as connection:
        connection.send(request(case.method, "/hostile", []))
        try:
            answer = connection.read(case.method)
        except Broken:
            answer = Answer(0)
        problems += _compare(case, answer)
        if answer.whole and answer.status and "close" not in (answer.value("connection") or ""):
            problems += _next(connection, "the same connection")
    for _ in range(3):
        with Connection(stage.gateway.port) as fresh:
            problems += _next(fresh, "a fresh connection")
    return list(dict.fromkeys(problems))


def _compare(case: Reply, answer: Answer) -> list[str]:
    status = answer.status if answer.whole else 0
    if status not in case.statuses:
        what = f"{answer.status}, {'whole' if answer.whole else 'cut off'}"
        return [f"the client saw {what}, {answer.body[:80]!r} instead of {sorted(case.statuses)}"]
    problems = []
    if case.body is not None and 200 <= status < 400 and answer.body != case.body:
        problems.append(f"the client saw the body {answer.body[:80]!r} instead of {case.body!r}")
    if 200 <= status < 400:
        problems += [
            f"{name} is {answer.values(name)}" for name, wanted in case.values if answer.values(name) != list(wanted)
        ]
        problems += [f"{name} went on to the client" for name in case.absent if answer.value(name) is not None]
    lengths, codings = answer.values("content-length"), answer.values("transfer-encoding")
    if len(lengths) + len(codings) > 1:
        problems.append(f"the client was told of lengths {lengths} and codings {codings}")
    return problems


def _next(connection: Connection, where: str) -> list[str]:
    connection.send(request("GET", "/mark-after", []))
    try:
        answer = connection.read()
    except Broken:
        return [] if where == "the same connection" else [f"no answer on {where}"]
    if answer.status == 200 and answer.json().get("target") == "/mark-after":
        return []
    return [f"the next request on {where} was answered {answer.status} {answer.body[:80]!r}"]


def replies_of(file: Path) -> list[Reply]:
    """The hostile answers of a neutral table. Prose is read for its statuses; what it says of bodies is kept by our own."""
    ours = {case.raw: case for case in REPLIES}
    found = []
    for case in json.loads(file.read_text())["cases"]:
        if "backend_raw" not in case:
            continue
        raw, prose = case["backend_raw"], case["expect"]
        if not re.search(r"(?i)content-length|transfer-encoding| (?:204|304) |<close>", raw):
            raw += CLOSE  # nothing else would end it
        if raw in ours:
            found.append(ours[raw])
            continue
        told = frozenset(int(status) for status in STATUS.findall(NEVER.sub("", prose)))
        own = re.match(r"HTTP/1\.[01] ([2-5][0-9]{2})", raw)
        cut = {0} if re.search("abort|truncat|cut|close", prose) else set()
        found.append(Reply(case["id"], raw, told | cut or {int(own[1]) if own else 502, 502}))
    return found
