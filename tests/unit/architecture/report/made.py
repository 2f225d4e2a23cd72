"""Subjects and findings for the reports, made by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from skerry.architecture.code.facts import Allowed, Code
from skerry.architecture.model import Evidence, Service, Source, SystemModel
from skerry.architecture.report import Report, report
from skerry.architecture.rules import Finding, Severity, Subject, Verdict
from skerry.architecture.source import Place, Skipped, Unreadable

HOSTILE = 'x\x1b[31m\x07\u202e\udcff[red]`|`<script>alert(1)</script>&@all #1 **b** [a](http://a.example) "q"\n## head\r\n- item'
"""What a name in a repository may be."""


@dataclass(frozen=True)
class Rule:
    """A rule that says what it was told to."""

    name: str
    why: str = "It hurts because it does."
    fix: str = "Do something else (skerry: something; else anything)."

    def check(self, subject: Subject) -> Iterator[Finding]:
        """Nothing: reports are given findings."""
        return iter(())


@dataclass(frozen=True)
class Memory:
    """Files without a disk."""

    contents: Mapping[str, bytes] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()

    @property
    def sizes(self) -> Mapping[str, int]:
        return {path: len(self.contents[path]) for path in sorted(self.contents)}

    def read(self, path: str) -> bytes:
        if path not in self.contents:
            raise Unreadable(path)
        return self.contents[path]


RULES = (Rule("no-timeout"), Rule("shared-database"), Rule("chatty"))


def found(rule: str = "no-timeout", at: str = "order/app.py:12", **more: Any) -> Finding:
    """A violation, unless `more` says otherwise."""
    file, _, line = at.rpartition(":")
    values: dict[str, Any] = {
        "verdict": Verdict.VIOLATION,
        "severity": Severity.ERROR,
        "services": ("order", "payment"),
        "message": "order waits for payment without a limit",
        "evidence": (Evidence("requests.get(url)", Source.CODE, Place(file, int(line))),),
        "key": "charge/GET",
    }
    return Finding(rule=rule, place=Place(file, int(line)), **values | more)


def clean(rule: str = "chatty", message: str = "3 calls were read, none in a loop") -> Finding:
    return Finding(rule=rule, verdict=Verdict.CLEAN, message=message)


def unknown(rule: str = "chatty", message: str = "the value of PEER_URL is missing") -> Finding:
    return Finding(rule=rule, verdict=Verdict.UNKNOWN, message=message)


def subject(
    *,
    allowed: tuple[Allowed, ...] = (),
    unparsed: tuple[Skipped, ...] = (),
    skipped: tuple[Skipped, ...] = (),
    part: str = "",
    **files: bytes,
) -> Subject:
    """A system of two services. `files` by name, with `__` for a slash and `_` for a dot."""
    contents = {name.replace("__", "/").replace("_", "."): content for name, content in files.items()}
    model = SystemModel(services={name: Service(name=name, roots=(name,)) for name in ("order", "payment")})
    code = Code(allowed=allowed, unparsed=unparsed)
    return Subject(files=Memory(contents), code=code, model=model, part=part, skipped=skipped)


def reported(*findings: Finding, given: Subject | None = None, **options: Any) -> Report:
    """The report on these findings."""
    return report(given or subject(), findings, rules=RULES, **options)
