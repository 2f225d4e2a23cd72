"""Sends what no honest client sends to a gateway, and judges what became of it: on the wire, at the backends, and after it.

`python -m tests.integration.gateway.abuse [FILE] [--engine embedded|envoy]` runs a file of the neutral table's shape, or without
one our own. Whatever a case expects, this always holds:

- every byte that a backend received is part of a well-formed request, and there are not more of them than the case allows;
- no connection is ever opened to an address that only the request named;
- a marked request after it, on the same connection (as long as that stays) and on a fresh one, gets its own answer;
- what a backend sees of a path leads, when it is read again, to that same backend.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.integration.gateway.abuse_meanings import MEANINGS
from tests.integration.gateway.abuse_prose import expectation_of
from tests.integration.gateway.abuse_table import REQUESTS, Abuse
from tests.integration.gateway.gateway_processes import ENGINES, Engine, Running, running
from tests.integration.gateway.raw_backends import Backend, serving
from tests.integration.gateway.raw_client import Answer, Broken, Connection, ask, request
from tests.integration.gateway.route_manifests import manifests
from tests.integration.gateway.strict_reading import Faulty, Seen, read_all

ROUTES = {
    "rules": [
        {"match": [{"path": {"prefix": "/admin"}}], "backends": [{"name": "v2"}], "hostnames": ["a.test"]},
        {"match": [{"path": {"prefix": "/"}}], "backends": [{"name": "v1"}], "hostnames": ["a.test"]},
        {"match": [{"path": {"prefix": "/"}}], "backends": [{"name": "v3"}], "hostnames": ["b.test"]},
    ]
}
REPEATED = re.compile(r"\{(.+?)\*([0-9]+)\}", re.DOTALL)
SHORT = 3.0
"""Seconds to wait for the answer to a request that may well have no end."""
CLOSING = 3.0
"""Seconds in which a connection has to end after its last answer; Envoy takes one, so that the answer gets through."""
UNFINISHED = 15.0
"""The same when a body never comes to its end: as long as a gateway waits for the rest of one."""


@dataclass
class Verdict:
    """What became of a case."""

    statuses: list[int]
    reached: int
    problems: list[str]

    @property
    def accepted(self) -> bool:
        return self.reached > 0


@dataclass
class Stage:
    """A gateway with its backends and a trap: an address that nobody was told."""

    gateway: Running
    backends: Mapping[str, Backend]
    trap: Backend
    marks: int = 0

    @property
    def seen(self) -> list[tuple[str, Seen]]:
        return [(name, seen) for name, backend in self.backends.items() for seen in backend.seen]


@contextmanager
def staged(engine: Engine) -> Iterator[Stage]:
    with serving("v1", "v2", "v3", "trap") as backends, tempfile.TemporaryDirectory(prefix="skerry-abuse-") as folder:
        trap = backends.pop("trap")
        routes, addresses = Path(folder) / "routes.yaml", Path(folder) / "backends.yaml"
        routes.write_text(manifests(ROUTES, port=80))
        addresses.write_text(json.dumps({name: backend.address for name, backend in backends.items()}))
        with running(["--gateway-api", routes, "--backends", addresses], engine=engine) as gateway:
            yield Stage(gateway, backends, trap)


def expand(raw: str, *, trap: int = 9) -> bytes:
    text = REPEATED.sub(lambda found: found[1] * int(found[2]), raw.replace("{trap}", str(trap)))
    return text.encode("latin-1")


def judge(case: Abuse, stage: Stage, *, strictly: bool = True) -> Verdict:
    """Sends it, and looks at everything that is to hold; unless `strictly`, only at what always has to."""
    for backend in [*stage.backends.values(), stage.trap]:
        backend.reset()
    expect = case.expect
    problems: list[str] = []
    method = case.raw.split(" ")[0]
    if not strictly:
        case = replace(case, expect=replace(expect, reaches=max(expect.reaches, 1), closes=False, sees={}))
    with Connection(stage.gateway.port, patience=SHORT) as connection:
        connection.send(expand(case.raw, trap=stage.trap.port))
        if expect.incomplete:
            connection.finish()
        answers, waiting = _read(connection, expect.answers, method)
        if waiting and not expect.incomplete:
            connection.finish()
            more, _ = _read(connection, 1, method)
            answers += more
        problems += _judge_end(case, stage, connection, answers, waiting=waiting)
    first = answers[0].status if answers else 0
    if strictly and first not in expect.statuses:
        problems.append(f"answered {first} instead of {sorted(expect.statuses)}")
    problems += _judge_backends(case, stage)
    reached = len(stage.seen)
    problems += _judge_mark(stage, None)
    return Verdict([answer.status for answer in answers], reached, problems)


def _read(connection: Connection, number: int, method: str) -> tuple[list[Answer], bool]:
    answers: list[Answer] = []
    try:
        while len(answers) < number:
            answers.append(connection.read(method))
            if "close" in (answers[-1].value("connection") or "").lower():
                break
    except TimeoutError:
        return answers, True
    except Broken:
        pass
    return answers, False


def _judge_end(case: Abuse, stage: Stage, connection: Connection, answers: list[Answer], *, waiting: bool) -> list[str]:
    told = bool(answers) and "close" in (answers[-1].value("connection") or "").lower()
    if told and case.expect.closes is False:
        return []  # it said so: that is looked at elsewhere
    if case.expect.closes or told:
        patience = UNFINISHED if case.expect.incomplete else CLOSING
        return [] if connection.closes(patience) else ["the connection stays open"]
    if waiting or connection.ended or not answers:
        return []
    reached = len(stage.seen)
    found = _judge_mark(stage, connection)
    # its mark is the only thing that came after the case
    for backend in stage.backends.values():
        backend.seen = [seen for seen in backend.seen if not seen.path.startswith("/mark-")]
    if len(stage.seen) > reached:
        found.append("a request appeared after the answer")
    return found


def _judge_mark(stage: Stage, connection: Connection | None) -> list[str]:
    """A request that can be known again, and whether its answer is its own."""
    stage.marks += 1
    mark = f"/mark-{stage.marks}"
    where = "the same connection" if connection else "a fresh one"
    try:
        if connection:
            connection.send(request("GET", mark, []))
            answer = connection.read()
        else:
            answer = ask(stage.gateway.port, mark)
    except Broken:
        # a gateway may close after what it did not like, as long as it says nothing wrong
        return [] if connection else ["no answer on a fresh connection"]
    except TimeoutError:
        return [f"no answer to the next request on {where}"]
    if answer.status == 200 and answer.json().get("target") == mark and answer.json().get("backend") == "v1":
        return []
    if connection and answer.status in {400, 408} and connection.closes(CLOSING):
        return []
    return [f"the next request on {where} was answered {answer.status} {answer.body[:120]!r}"]


def _judge_backends(case: Abuse, stage: Stage) -> list[str]:
    problems = []
    if stage.trap.raw or stage.trap.heads:
        problems.append("the gateway called an address that the request named")
    for name, backend in stage.backends.items():
        problems += [f"{name} received what is no HTTP: {fault}" for fault in backend.faults]
        for raw in backend.raw:
            try:
                read_all(bytes(raw))
            except Faulty as fault:
                problems.append(f"the record of {name} does not parse: {fault}")
    if len(stage.seen) > case.expect.reaches:
        requests = [(name, seen.method, seen.target) for name, seen in stage.seen]
        problems.append(f"{len(stage.seen)} requests reached a backend instead of {case.expect.reaches}: {requests}")
    for name, seen in stage.seen:
        problems += _compare(name, seen, case.expect.sees)
        if _leads_to(seen) not in {name, None}:
            problems.append(f"{name} saw {seen.target}, which is {_leads_to(seen)}'s")
    targets = case.expect.sees.get("targets")
    if targets is not None and stage.seen and [seen.target for _, seen in stage.seen] != targets:
        problems.append(f"the backends saw {[seen.target for _, seen in stage.seen]} instead of {targets}")
    return problems


def _leads_to(seen: Seen) -> str | None:
    """Whose a path is to a server that decodes once and then goes up; None where that is in nobody's eyes certain."""
    if (seen.value("host") or "").partition(":")[0] != "a.test" or ";" in seen.path:
        return None
    parts: list[str] = []
    for part in unquote(seen.path).split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    return "v2" if parts[:1] == ["admin"] else "v1"


def _compare(name: str, seen: Seen, sees: Mapping[str, Any]) -> list[str]:
    have = {"backend": name, "host": seen.value("host"), "path": seen.path, "method": seen.method}
    problems = [
        f"a backend saw {key} {have[key]!r} instead of {sees[key]!r}"
        for key in sees.keys() & have
        if have[key] != sees[key]
    ]
    if "body" in sees and seen.body != sees["body"].encode() and seen.method == "POST":
        problems.append(f"a backend saw the body {seen.body!r} instead of {sees['body']!r}")
    problems += [f"a backend saw {field}" for field in sees.get("absent_headers", []) if seen.value(field) is not None]
    text = "\n".join(value for _, value in seen.headers)
    return problems + [f"a backend saw {word} in a header" for word in sees.get("not_in", []) if word in text]


def cases_of(file: Path) -> list[Abuse]:
    """The raw requests of a neutral table; its prose is read by rules, and by what we know of an id."""
    return [
        Abuse(case["id"], case["raw"], expectation_of(case), "neutral", case.get("why", ""), case.get("ref", ""))
        for case in json.loads(file.read_text())["cases"]
        if "raw" in case
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.integration.gateway.abuse", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--engine", choices=ENGINES, default="embedded")
    parser.add_argument("--only")
    options = parser.parse_args()
    from tests.integration.gateway import abuse_replies  # it stands on this module

    cases = cases_of(options.file) if options.file else [*REQUESTS, *MEANINGS]
    replies = abuse_replies.replies_of(options.file) if options.file else abuse_replies.REPLIES
    failed = 0
    with staged(options.engine) as stage:
        for case in cases:
            if not options.only or options.only in case.id:
                verdict = judge(case, stage)
                failed += _tell(case.id, f"{verdict.statuses}, {verdict.reached} reached", verdict.problems)
        for reply in replies:
            if not options.only or options.only in reply.id:
                failed += _tell(reply.id, "answered by a backend", abuse_replies.judge(reply, stage))
    print(f"{failed} of {len(cases) + len(replies)} cases fail on {options.engine}")
    return 1 if failed else 0


def _tell(name: str, what: str, problems: list[str]) -> int:
    print(f"{'FAIL' if problems else 'ok  '} {name}: {what}")
    print("".join(f"     {problem}\n" for problem in problems), end="", flush=True)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
