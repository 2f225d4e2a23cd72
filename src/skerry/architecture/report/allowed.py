"""Comments that allow a finding: `# skerry: allow[rule] reason`.

A finding is allowed by a comment in the statement at the place that the report names first, or on a line of its own above it. The
reason is not optional: without one the comment allows nothing, and the report says so.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from skerry.architecture.code.facts import Allowed
from skerry.architecture.rules.finding import Finding
from skerry.architecture.source import Files, Place, Unreadable

_ALLOW: Final = re.compile(r"#\s*skerry:\s*allow\[([\w\s,*-]{1,200})\]\s*(.{0,300})")
_MAX_FILES: Final = 200
"""Files that are no Python and have findings, which are searched for comments."""
_MAX_LINE: Final = 2_000
_MAX_COMMENTS: Final = 1_000
"""Of one rule in one file that are of use: each is compared with each finding there."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about a comment or a baseline that the user should know; it changes no verdict."""

    text: str
    place: Place | None = None


class Comments:
    """All comments that allow something, and which of them were of use."""

    def __init__(self, allowed: Iterable[Allowed], rules: Collection[str]) -> None:
        """`rules` are the names of all rules that there are."""
        self._known = frozenset(rules)
        self._all = tuple(dict.fromkeys(allowed))
        self._used: set[Allowed] = set()
        self._at: dict[tuple[str, str], list[Allowed]] = {}
        for each in self._all:
            here = self._at.setdefault((each.rule, each.place.file), [])
            if each.reason and each.rule in self._known and len(here) < _MAX_COMMENTS:
                here.append(each)

    def for_(self, finding: Finding) -> Allowed | None:
        """The comment that allows `finding`."""
        if finding.place is None:
            return None
        line = finding.place.line
        for each in self._at.get((finding.rule, finding.place.file), ()):
            if line == each.place.line or each.lines[0] <= line <= each.lines[1]:
                self._used.add(each)
                return each
        return None

    def remarks(self, asked: Collection[str]) -> Sequence[Remark]:
        """What is wrong with comments. Of rules that are not among `asked` nobody knows whether theirs are of use."""
        found: list[Remark] = []
        for each in sorted(self._all, key=lambda each: (each.place, each.rule)):
            name = each.rule[:60]
            if each.rule not in self._known:
                found.append(Remark(f"there is no rule {name!r} that could be allowed", each.place))
            elif not each.reason:
                found.append(Remark(f"allow[{name}] without a reason allows nothing: write why after it", each.place))
            elif each.rule in asked and each not in self._used:
                found.append(Remark(f"allow[{name}] matches no finding: take it out", each.place))
        return found


def in_manifests(files: Files, findings: Iterable[Finding]) -> tuple[Allowed, ...]:
    """Comments in the files of findings that are no Python, such as a Compose file. Each holds for its line and the next."""
    names = sorted({each.place.file for each in findings if each.place and not each.place.file.endswith(".py")})
    found: list[Allowed] = []
    for name in names[:_MAX_FILES]:
        if name not in files.sizes:
            continue
        try:
            content = files.read(name)
        except Unreadable:
            continue
        if b"skerry:" in content:
            found += _comments(name, content.decode("utf-8", errors="replace"))
    return tuple(found)


def _comments(name: str, text: str) -> Iterable[Allowed]:
    for number, line in enumerate(text.split("\n"), 1):
        if "skerry:" not in line or len(line) > _MAX_LINE:
            continue
        match = _ALLOW.search(line)
        if match is None:
            continue
        alone = not line[: match.start()].strip()
        for rule in filter(None, (each.strip() for each in match[1].split(","))):
            yield Allowed(place=Place(name, number), rule=rule, reason=match[2].strip(), lines=(number, number + alone))
