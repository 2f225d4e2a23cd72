"""Code whose lines say in a comment what the reader is to find there.

    requests.get(url)               #> unbounded
    requests.get(url, timeout=2)    #> bounded 2
    client.get("/a")                #> default 5 breaker
    for x in xs: ask(x)             #> items

Words: `unbounded`, `unknown`, `bounded [seconds]`, `default [seconds]`, `breaker`, `retry`, `items` (a call for each item, here
or in the function that is called here), `to NAME` (a variable, a service, or the host of an address), `none` (no call at all).
A line without a comment must hold no call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

from skerry.architecture.code.extract import extract
from skerry.architecture.code.facts import Call
from skerry.architecture.code.resolve import resolve

_MARK = re.compile(r"\s*#> (.*)$")


def calls_of(texts: Mapping[str, str]) -> tuple[Call, ...]:
    """The calls of these files."""
    return resolve({path: extract(path, text.encode()) for path, text in texts.items()}).calls


def wrong(texts: Mapping[str, str]) -> list[str]:
    """Every difference between what the comments say and what is found."""
    marks: dict[tuple[str, int], str] = {}
    plain: dict[str, str] = {}
    for path, text in texts.items():
        lines = text.strip("\n").split("\n")
        for number, line in enumerate(lines, 1):
            found = _MARK.search(line)
            if found:
                marks[path, number] = found[1]
        plain[path] = "\n".join(_MARK.sub("", line) for line in lines) + "\n"
    calls = calls_of(plain)
    at: dict[tuple[str, int], list[Call]] = {}
    for call in calls:
        at.setdefault((call.place.file, call.place.line), []).append(call)
    loops = {
        (loop.place.file, loop.place.line)
        for call in calls
        for loop in (*((call.loop,) if call.loop else ()), *call.repeated)
        if loop.over == "items" and loop.varies
    }
    found = [
        f"{file}:{line} not meant: {each[0].text}" for (file, line), each in at.items() if (file, line) not in marks
    ]
    found += [
        f"{file}:{line} not meant in a loop" for file, line in loops if "items" not in marks.get((file, line), "")
    ]
    for place, mark in marks.items():
        found += [f"{place[0]}:{place[1]} {each}" for each in _missing(mark.split(), at.get(place, []), place in loops)]
    return sorted(found)


def _missing(words: list[str], calls: list[Call], looped: bool) -> list[str]:
    if words == ["none"]:
        return [f"is no call: {call.text}" for call in calls]
    if "items" in words and not looped:
        return ["is not repeated for each item"]
    if not calls:
        return [] if words == ["items"] else [f"not found, wanted {' '.join(words)}"]
    missing = []
    for word, after in pairwise([*words, ""]):
        differs = [_differs(word, after, call) for call in calls]
        missing += [] if [] in differs else differs[0]
    if "breaker" not in words and calls[0].breaker is not None:
        missing.append(f"has the breaker {calls[0].breaker.name}")
    return missing


def _differs(word: str, after: str, call: Call) -> list[str]:
    limit = call.timeout
    if word in {"bounded", "default", "unbounded", "unknown"}:
        number = after if re.fullmatch(r"[\d.]+", after) else ""
        right = limit.bound.value == word and (not number or limit.seconds == float(number))
        return [] if right else [f"is {limit.bound.value} {limit.seconds} ({limit.why}), not {word} {number}"]
    if word == "to":
        known = (*call.target.variables, call.target.service, call.target.url)
        right = any(after == each or f"//{after}" in each or each.startswith(after) for each in known)
        return [] if right else [f"goes to {known}, not {after}"]
    return [f"has no {word}"] if word in {"breaker", "retry"} and getattr(call, word) is None else []
