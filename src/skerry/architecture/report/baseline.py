"""A file of findings that are known: they are shown no more, and do not decide the exit code.

JSON, so that a program can read it, sorted and with the text of each finding, so that a person can review what is accepted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from skerry.architecture.report.clean import clean
from skerry.architecture.rules.finding import Finding
from skerry.architecture.source.files import MiB
from skerry.errors import ConfigurationError

VERSION: Final = 1
MAX_SIZE: Final = 32 * MiB
MAX_ENTRIES: Final = 100_000
_MAX_TEXT: Final = 400


@dataclass(frozen=True, slots=True)
class Entry:
    """What a baseline says of one finding."""

    fingerprint: str
    rule: str
    message: str
    file: str = ""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Known findings by their fingerprints."""

    entries: Mapping[str, Entry] = field(default_factory=dict)


def as_baseline(findings: Iterable[tuple[Finding, str]]) -> str:
    """The file's text for findings with their fingerprints."""
    entries = [
        {
            "fingerprint": fingerprint,
            "rule": each.rule,
            "services": [clean(name, _MAX_TEXT) for name in each.services],
            "file": clean(each.place.file, _MAX_TEXT) if each.place else None,
            "message": clean(each.message, _MAX_TEXT),
        }
        for each, fingerprint in findings
    ]
    entries.sort(key=lambda each: (str(each["rule"]), str(each["file"] or ""), str(each["fingerprint"])))
    about = "Known findings of `skerry check`: made by --write-baseline, read by --baseline. Lines may be taken out."
    return json.dumps({"about": about, "version": VERSION, "findings": entries}, indent=2) + "\n"


def read_baseline(path: Path) -> Baseline:
    """Raises `ConfigurationError` for a file that is not there, too large, or no baseline."""
    try:
        with path.open("rb") as opened:
            content = opened.read(MAX_SIZE + 1)
    except OSError as error:
        raise ConfigurationError(f"the baseline {path} cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_SIZE:
        raise ConfigurationError(f"the baseline {path} is larger than {MAX_SIZE // MiB} MiB")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise ConfigurationError(f"the baseline {path} is no JSON: write one with --write-baseline") from None
    return Baseline({each.fingerprint: each for each in _entries(path, document)})


def _entries(path: Path, document: Any) -> Iterable[Entry]:
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise ConfigurationError(f"the baseline {path} is not of version {VERSION}: write one with --write-baseline")
    listed = document.get("findings")
    if not isinstance(listed, list) or len(listed) > MAX_ENTRIES:
        raise ConfigurationError(f"the baseline {path} has no list `findings`, or one of more than {MAX_ENTRIES:,}")
    for number, each in enumerate(listed):
        if not isinstance(each, dict) or not isinstance(each.get("fingerprint"), str):
            raise ConfigurationError(f"the baseline {path} has no fingerprint in findings[{number}]")
        texts = [text if isinstance(text := each.get(name), str) else "" for name in ("rule", "message", "file")]
        yield Entry(each["fingerprint"][:64], *(clean(text, _MAX_TEXT) for text in texts))
