"""What a Dockerfile starts from, takes in and runs."""

from __future__ import annotations

import json
import re
from typing import Final

from skerry.architecture.manifests.found import Dockerfile
from skerry.architecture.source import Place

MAX_LINES: Final = 2_000
_NAME: Final = re.compile(r"(?:.*\.)?(?:Dockerfile|Containerfile)(?:[.-].*)?", re.IGNORECASE)


def is_dockerfile(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and not name.lower().endswith((".dockerignore", ".py", ".md", ".yaml", ".yml"))


def read(path: str, text: str) -> Dockerfile | None:
    """None for a file that builds nothing."""
    stages: dict[str, str] = {}
    base, command, ports = "", "", []
    copies: list[tuple[str, Place]] = []
    for line, word, rest in _instructions(text):
        if word == "FROM":
            parts = [part for part in rest.split() if not part.startswith("--")]
            if not parts:
                continue
            base = stages.get(parts[0].lower(), parts[0])
            if len(parts) > 2 and parts[1].upper() == "AS":
                stages[parts[2].lower()] = base
            command = ""
        elif word in {"COPY", "ADD"} and "--from=" not in rest:
            copies += [(source, Place(path, line)) for source in _sources(rest)]
        elif word in {"CMD", "ENTRYPOINT"}:
            command = f"{command} {_words(rest)}".strip()
        elif word == "EXPOSE":
            ports += [int(found) for found in re.findall(r"(?<![\w$])(\d{2,5})\b", rest)[:20]]
    if not base:
        return None
    return Dockerfile(place=Place(path, 1), base=base, copies=tuple(copies), command=command, ports=tuple(ports))


def _instructions(text: str) -> list[tuple[int, str, str]]:
    found: list[tuple[int, str, str]] = []
    held, first = "", 0
    for number, line in enumerate(text.splitlines()[:MAX_LINES], 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        first = first or number
        if bare.endswith("\\"):
            held += bare[:-1] + " "
            continue
        word, _, rest = (held + bare).partition(" ")
        found.append((first, word.upper(), rest.strip()))
        held, first = "", 0
    return found


def _sources(rest: str) -> list[str]:
    parts = [part for part in _words(rest).split() if not part.startswith("--")]
    return parts[:-1]


def _words(rest: str) -> str:
    if rest.startswith("["):
        try:
            words = json.loads(rest)
        except (ValueError, RecursionError):
            return rest
        if isinstance(words, list):
            return " ".join(str(word) for word in words)
    return rest
