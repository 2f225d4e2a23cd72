"""A rule for a person, and findings that an earlier report has kept."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from skerry.architecture.model import Evidence, Source
from skerry.architecture.report.clean import clean
from skerry.architecture.report.examples import EXAMPLES
from skerry.architecture.report.finding_text import WIDTH, Page, advice
from skerry.architecture.report.report import Marked
from skerry.architecture.rules.finding import Finding, Rule, Severity, Verdict
from skerry.architecture.source import Place
from skerry.architecture.source.files import MiB
from skerry.errors import ConfigurationError

MAX_SIZE: Final = 256 * MiB
MIN_PREFIX: Final = 6
_LISTS: Final = ("findings", "unknown", "clean", "allowed", "known")


def as_rule(rule: Rule, *, width: int = WIDTH, colour: bool = False) -> str:
    """Why it hurts, what to do, and an example with its two ways out."""
    page = Page(width=width, colour=colour)
    lines = [page.style(rule.name, bold=True), "", *advice(rule, page, indent="  ")]
    example = EXAMPLES.get(rule.name)
    if example is not None:
        for title, text in (
            ("the fault", example.fault),
            ("with skerry", example.skerry),
            ("without", example.without),
        ):
            lines += ["", f"  {title}:", *textwrap.indent(text, "      ").rstrip("\n").split("\n")]
    lines += ["", f"  To allow a finding, with the reason: # skerry: allow[{rule.name}] REASON"]
    return "\n".join(lines) + "\n"


def rule_data(rule: Rule) -> dict[str, Any]:
    """The same as data."""
    example = EXAMPLES.get(rule.name)
    shown = {"fault": example.fault, "skerry": example.skerry, "without": example.without} if example else None
    return {"rule": rule.name, "why": rule.why, "fix": rule.fix, "example": shown}


def find(marked: Iterable[Marked], prefix: str) -> Marked:
    """The finding whose fingerprint begins so. Raises `ConfigurationError` when none does, or several do."""
    if len(prefix) < MIN_PREFIX:
        raise ConfigurationError(f"{clean(prefix, 40)!r} is no rule, and too short for a fingerprint")
    found = [each for each in marked if any(name.startswith(prefix.lower()) for name in each.names)]
    if not found:
        raise ConfigurationError(f"no finding has the fingerprint {clean(prefix, 40)}: it may be mended")
    if len(found) > 1:
        raise ConfigurationError(f"{len(found)} findings have fingerprints that begin with {clean(prefix, 40)}")
    return found[0]


def read_report(path: Path) -> tuple[Marked, ...]:
    """All findings of a report that `skerry check -o json` wrote. Raises `ConfigurationError` for anything else."""
    try:
        with path.open("rb") as opened:
            content = opened.read(MAX_SIZE + 1)
        document = json.loads(content) if len(content) <= MAX_SIZE else None
    except OSError as error:
        raise ConfigurationError(f"the report {path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("findings"), list):
        raise ConfigurationError(f"{path} is no report: write one with skerry check -o json --output FILE")
    return tuple(
        found
        for name in _LISTS
        if isinstance(document.get(name), list)
        for each in document[name]
        if (found := _marked(each)) is not None
    )


def _marked(each: Any) -> Marked | None:
    """What a report says of one finding; None for what is none."""
    if not isinstance(each, dict) or not isinstance(each.get("fingerprint"), str):
        return None
    with suppress(ValueError, KeyError):
        finding = Finding(
            rule=_text(each.get("rule")),
            verdict=Verdict(each["verdict"]),
            severity=Severity(each["severity"]),
            message=_text(each.get("message")),
            services=tuple(_text(name) for name in _list(each.get("services"))),
            place=_place(each),
            evidence=tuple(_evidence(each.get("evidence"))),
        )
        return Marked(finding, each["fingerprint"][:64])
    return None


def _evidence(listed: Any) -> Iterator[Evidence]:
    for each in _list(listed):
        if isinstance(each, dict):
            with suppress(ValueError):
                yield Evidence(_text(each.get("text")), Source(_text(each.get("source"))), _place(each))


def _place(each: dict[str, Any]) -> Place | None:
    file, line = each.get("file"), each.get("line")
    return Place(file, line if isinstance(line, int) else 0) if isinstance(file, str) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
