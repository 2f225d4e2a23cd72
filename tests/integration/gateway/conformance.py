"""Runs a neutral table of HTTPRoute cases against either engine.

`python -m tests.integration.gateway.conformance [FILE] [--engine embedded|envoy] [--group NAME]` runs any file of the table's
shape by itself, or without one our own table, tells each case that failed and how, and ends with status 1 when one did.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.integration.gateway import action_table, route_manifests, route_table
from tests.integration.gateway.gateway_processes import ENGINES, Engine, NotUp, Running, free_port, running
from tests.integration.gateway.raw_backends import Backend, Script, seconds, serving
from tests.integration.gateway.raw_client import Answer, Broken, ask

OWN: list[Mapping[str, Any]] = [*route_table.GROUPS, *action_table.GROUPS]
BACKENDS = ("v1", "v2", "v3")
MORE_OFTEN = 4
"""A share that is off is judged again on so many times as many requests: chance alone misses 5 points of 500 now and then."""
EXPECT = frozenset({
    "status", "backend", "location", "upstream", "distribution", "tolerance", "mirrored_to", "mirrored", "response_headers",
    "absent_response_headers", "response", "why", "note", "attempts", "headers", "absent_headers",
})  # fmt: skip
CASE = frozenset({
    "request", "expect", "backend_script", "backend_headers", "backend_response_headers", "repeat", "note", "why", "port",
})  # fmt: skip


@contextmanager
def staged(group: Mapping[str, Any], backends: Mapping[str, Backend], engine: Engine) -> Iterator[Running]:
    """The gateway that serves this group."""
    port = free_port()
    # what the table calls port 80 and 8080 are free ones here, the first of them the one that the gateway is told
    names = route_manifests.listener_ports(group)
    ports = {name: (port if number == 0 else free_port()) for number, name in enumerate(names)}
    text = json.dumps(group)
    for name, real in ports.items():
        text = re.sub(rf'("port": ){json.dumps(name)}(?=[,}}])', rf"\g<1>{real}", text)
    with tempfile.TemporaryDirectory(prefix="skerry-conformance-") as folder:
        manifests, addresses = Path(folder) / "routes.yaml", Path(folder) / "backends.yaml"
        manifests.write_text(route_manifests.manifests(json.loads(text) if ports else group, port=port))
        addresses.write_text(json.dumps({name: backend.address for name, backend in backends.items()}))
        with running(["--gateway-api", manifests, "--backends", addresses], engine=engine, port=port) as gateway:
            gateway.ports = ports  # type: ignore[attr-defined]
            yield gateway


def problems(case: Mapping[str, Any], gateway: Running, backends: Mapping[str, Backend]) -> list[str]:
    """What is wrong with what this case was answered; nothing when it passes."""
    if more := (set(case) - CASE) | (set(case["expect"]) - EXPECT):
        return [f"the case has {', '.join(sorted(more))}, which this suite does not know"]
    script = _script(case.get("backend_script", {}))
    for key in ("backend_headers", "backend_response_headers"):
        script.headers += case.get(key, {}).items()
    for backend in backends.values():
        backend.reset(Script(**{**vars(script), "headers": list(script.headers)}))
    repeat, expect = case.get("repeat", 1), case["expect"]
    answers = [_ask(case, gateway) for _ in range(repeat)]
    ports: Mapping[Any, int] = getattr(gateway, "ports", {})
    found = [problem for answer in answers[:20] for problem in _compare(answer, expect, ports)]
    found += _who_saw_it(answers, expect, backends)
    shares = {**expect.get("distribution", {}), **_mirrored_shares(expect)}
    if shares and _shares_off(shares, expect, backends, len(answers)):
        answers += [_ask(case, gateway) for _ in range(repeat * (MORE_OFTEN - 1))]
        found += _shares_off(shares, expect, backends, len(answers))
    found += [f"{name} received what is no HTTP: {fault}" for name, each in backends.items() for fault in each.faults]
    return list(dict.fromkeys(found))


def _script(given: Mapping[str, Any]) -> Script:
    known = {"answer", "succeed_after_failures", "delay_each_failure", "headers", "response_headers"}
    if more := set(given) - known:
        raise route_manifests.Unknown(f"a backend's script has {', '.join(sorted(more))}")
    headers = given.get("headers") or given.get("response_headers") or {}
    return Script(
        answer=given.get("answer", 500),
        failures=given.get("succeed_after_failures", 0),
        delay=seconds(given.get("delay_each_failure", "0s")),
        headers=list(headers.items()),
    )


def _ask(case: Mapping[str, Any], gateway: Running) -> Answer:
    wanted = case["request"]
    ports: Mapping[Any, int] = getattr(gateway, "ports", {})
    port = ports.get(wanted.get("port", case.get("port")), gateway.port)
    body = wanted.get("body", "").encode()
    return ask(
        port,
        wanted["path"],
        method=wanted.get("method", "GET"),
        headers=list(wanted.get("headers", {}).items()),
        host=wanted.get("host", "example.com" if not wanted.get("host") else wanted["host"]),
        body=body,
    )


def _compare(answer: Answer, expect: Mapping[str, Any], ports: Mapping[Any, int]) -> list[str]:
    found = []
    # a number, a list of them, or words with numbers among them
    statuses = [int(status) for status in re.findall("[1-5][0-9]{2}", str(expect.get("status", 200)))]
    if answer.status not in statuses:
        found.append(f"status {answer.status} instead of {statuses}: {answer.body[:200]!r}")
    echo = answer.json() if answer.status == 200 else {}
    if "backend" in expect and answer.status == 200 and echo.get("backend") != expect["backend"]:
        found.append(f"answered by {echo.get('backend')} instead of {expect['backend']}")
    if "location" in expect:
        found += _compare_location(answer.value("location"), expect["location"], ports)
    response = {**expect.get("response", {})}
    headers = {**response.get("headers", {}), **expect.get("response_headers", {}), **expect.get("headers", {})}
    absent = [
        name
        for holder, key in (
            (response, "absent_headers"),
            (expect, "absent_response_headers"),
            (expect, "absent_headers"),
        )
        for name in holder.get(key, ())
    ]
    found += _compare_headers(headers, absent, answer.value, "the answer's")
    if "upstream" in expect and echo:
        found += _compare_upstream(echo, expect["upstream"])
    return found


def _compare_location(location: str | None, expect: Mapping[str, Any] | str, ports: Mapping[Any, int]) -> list[str]:
    if location is None:
        return ["no Location"]
    if isinstance(expect, str):
        return [] if location == expect else [f"Location {location} instead of {expect}"]
    url = urlsplit(location)
    parts = {"scheme": url.scheme, "host": url.hostname, "port": url.port, "path": url.path, "query": url.query}
    found = []
    for key, value in expect.items():
        want = None if value in {"", None} else value
        if key == "port" and want is not None:
            want = int(want)
        if (parts[key] or None) not in {want, ports.get(want, want)}:  # a listener's port is a free one here
            found.append(f"Location {location}: {key} is {parts[key]!r} instead of {value!r}")
    return found


def _compare_headers(wanted: Mapping[str, Any], absent: list[str], value: Any, whose: str) -> list[str]:
    found = []
    for name, want in wanted.items():
        # a list is a choice; one of many values may come as one field or as several, with or without spaces
        choices = [_bare(each) for each in (want if isinstance(want, list) else [want])]
        if _bare(value(name)) not in choices:
            found.append(f"{whose} {name} is {value(name)!r} instead of {want!r}")
    return found + [f"{whose} {name} is there: {value(name)!r}" for name in absent if value(name) is not None]


def _bare(value: str | None) -> str | None:
    return None if value is None else re.sub(r"\s*,\s*", ",", value.strip())


def _compare_upstream(echo: Mapping[str, Any], expect: Mapping[str, Any]) -> list[str]:
    def value(name: str) -> str | None:
        values = [each for field, each in echo["headers"] if field.lower() == name.lower()]
        return ",".join(values) if values else None

    path, _, query = echo["target"].partition("?")
    seen = {"path": path, "query": query, "method": echo["method"], "host": value("host"), "body": echo["body"]}
    found = _compare_headers(expect.get("headers", {}), expect.get("absent_headers", []), value, "the upstream's")
    for key in expect.keys() - {"headers", "absent_headers"}:
        want = expect[key]
        have = echo["target"] if key == "path" and "?" in str(want) else seen.get(key)
        if have != want:
            found.append(f"the upstream's {key} is {have!r} instead of {want!r}")
    return found


def _who_saw_it(answers: list[Answer], expect: Mapping[str, Any], backends: Mapping[str, Backend]) -> list[str]:
    found = []
    mirrored = expect.get("mirrored_to", [])
    mirrored = (
        [{"to": name, "share": share} for name, share in mirrored.items()]
        if isinstance(mirrored, Mapping)
        else mirrored
    )
    for each in mirrored:
        name = each if isinstance(each, str) else each.get("to", each.get("name"))
        if isinstance(each, str) and len(backends[name].await_seen(len(answers))) != len(answers):
            found.append(f"mirrored {len(backends[name].seen)} of {len(answers)} to {name}")
    if "backend" in expect and not expect.get("mirrored"):
        names = {each if isinstance(each, str) else each.get("to", each.get("name")) for each in mirrored}
        others = [name for name in backends if name != expect["backend"] and name not in names and backends[name].seen]
        found += [f"{name} was called too" for name in others]
    if "attempts" in expect:
        calls = sum(each.heads for each in backends.values())
        if calls != expect["attempts"]:
            found.append(f"the backends were called {calls} times instead of {expect['attempts']}")
    return found


def _mirrored_shares(expect: Mapping[str, Any]) -> dict[str, float]:
    """`mirrored_to` with shares, or `mirrored: {v2: 0.2}`."""
    shares = dict(expect.get("mirrored", {})) if isinstance(expect.get("mirrored"), Mapping) else {}
    mirrored = expect.get("mirrored_to", [])
    if isinstance(mirrored, Mapping):
        return shares | mirrored
    for each in mirrored:
        if isinstance(each, Mapping):
            share = each.get("share", each.get("percent", 100) / 100)
            shares[each.get("to", each.get("name"))] = share
    return shares


def _shares_off(
    shares: Mapping[str, float], expect: Mapping[str, Any], backends: Mapping[str, Backend], asked: int
) -> list[str]:
    points = re.match(r"\s*([0-9.]+)", str(expect.get("tolerance", "5")))
    tolerance = float(points[1]) / 100 if points else 0.05
    for name, share in shares.items():
        if share:
            backends[name].await_seen(int(share * asked), patience=1.0)
    seen = Counter({name: len(backend.seen) for name, backend in backends.items()})
    return [
        f"{name} had {seen[name]} of {asked} instead of {share:.0%}"
        for name, share in shares.items()
        if abs(seen[name] / asked - share) > (tolerance if share else 0.0)
    ]


def run_group(group: Mapping[str, Any], engine: Engine) -> dict[int, list[str]]:
    """The problems of each case that failed, by its number; a gateway that does not come up fails all."""
    failed: dict[int, list[str]] = {}
    with serving(*BACKENDS) as backends:
        try:
            with staged(group, backends, engine) as gateway:
                for number, case in enumerate(group["cases"]):
                    try:
                        found = problems(case, gateway, backends)
                    except (Broken, OSError) as error:
                        found = [f"no answer: {error!r}"]
                    if found:
                        failed[number] = found
                if failed:
                    failed[max(failed)].append(f"the gateway wrote:\n{gateway.said}")
        except (NotUp, route_manifests.Unknown) as error:
            failed = {number: [str(error)] for number in range(len(group["cases"]))}
    return failed


def groups_of(file: Path) -> list[Mapping[str, Any]]:
    return list(json.loads(file.read_text())["groups"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.integration.gateway.conformance", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--engine", choices=ENGINES, default="embedded")
    parser.add_argument("--group", help="only this one")
    options = parser.parse_args()
    passed = total = 0
    for group in groups_of(options.file) if options.file else OWN:
        if options.group not in {None, group["group"]}:
            continue
        failed = run_group(group, options.engine)
        total += len(group["cases"])
        passed += len(group["cases"]) - len(failed)
        print(f"{group['group']}: {len(group['cases']) - len(failed)} of {len(group['cases'])}")
        for number, found in failed.items():
            print(f"  {number} {json.dumps(group['cases'][number]['request'])}")
            print("".join(f"    {problem}\n" for problem in found), end="")
    print(f"{passed} of {total} cases pass on {options.engine}")
    return 0 if passed == total and total else 1


if __name__ == "__main__":
    sys.exit(main())
