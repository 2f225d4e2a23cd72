"""Python source as a tree, also where part of it is not Python that this interpreter knows.

A file with a mistake, with syntax of another version or from Python 2 is cut into its statements; those that can be read are
kept at their own lines, and a class or function whose head or body cannot be read as a whole is read part by part.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

MAX_DEPTH: Final = 8
"""How deep blocks within blocks are salvaged."""
MAX_TRIES: Final = 2_000
"""Pieces of one file that are tried."""
_IMPORT: Final = re.compile(r"^(?:import|from)[ \t](?:[^\n\\(#]|\\\n)*(?:\([^()]*\))?[^\n]*", re.MULTILINE)
"""A statement in the first column, over as many lines as its brackets or line ends with a backslash reach."""
_CLAUSE: Final = re.compile(r"(?:else|elif|except|finally)\b")
_QUOTES: Final = ('"""', "'''")
_HEAD: Final = re.compile(
    r"(?:async\s+def|def|class|if|elif|else|try|except|finally|for|while|with|async\s+for|async\s+with)\b"
)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A module; `lost` are the first lines of the pieces that could not be read."""

    tree: ast.Module
    text: str
    lost: tuple[int, ...] = ()


def decode(content: bytes) -> str:
    """Source as text by its own declaration; bytes that do not fit become U+FFFD. Never raises."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return content.decode(encoding, errors="replace")
    except (SyntaxError, LookupError, UnicodeError):
        return content.decode("utf-8", errors="replace")


def parse(content: bytes) -> Parsed:
    """The tree of `content`, as much of it as can be read. Never raises for what is written in it."""
    text = _text(content)
    tree = _tree(text)
    if tree is not None:
        return Parsed(tree, text)
    salvage = _Salvage()
    body = salvage.block(text.split("\n"), 0, 0)
    return Parsed(ast.Module(body=body, type_ignores=[]), text, tuple(salvage.lost))


def parse_imports(content: bytes) -> Parsed:
    """Only the imports at the top of a module, at their lines: much quicker where nothing else is asked. Never raises."""
    text = _text(content)
    kept: list[str] = []
    end = 0
    for found in _IMPORT.finditer(text):
        kept.append("\n" * text.count("\n", end, found.start()) + found[0])
        end = found.end()
    tree = _tree("".join(kept))
    return parse(content) if tree is None else Parsed(tree, text)


def _text(content: bytes) -> str:
    return decode(content).replace("\r\n", "\n").replace("\r", "\n").replace("\f", " ")


def _tree(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


class _Salvage:
    def __init__(self) -> None:
        self.lost: list[int] = []
        self._tries = 0

    def block(self, lines: list[str], first: int, depth: int) -> list[ast.stmt]:
        """The statements in `lines`, the first of which is line `first` (from 0) of the file."""
        found: list[ast.stmt] = []
        for start, end in _pieces(lines):
            found += self._piece(lines[start:end], first + start, depth)
        return found

    def _piece(self, lines: list[str], first: int, depth: int) -> list[ast.stmt]:
        self._tries += 1
        if self._tries > MAX_TRIES:
            self.lost.append(first + 1)
            return []
        tree = _tree("\n".join(lines) + "\n")
        if tree is not None:
            return [ast.increment_lineno(each, first) for each in tree.body]
        clauses = [i for i, line in enumerate(lines) if i and _CLAUSE.match(line)]
        if clauses and depth < MAX_DEPTH:
            found: list[ast.stmt] = []
            for start, end in pairwise([0, *clauses, len(lines)]):
                found += self._piece(["if True:", *lines[start + 1 : end]], first + start, depth + 1)
            return found
        body = next((i for i, line in enumerate(lines[1:], 1) if line.strip() and line[0] in " \t"), len(lines))
        if depth >= MAX_DEPTH or body == len(lines) or not _HEAD.match(lines[0]):
            self.lost.append(first + 1)
            return []
        inner = self.block(_dedent(lines[body:]), first + body, depth + 1)
        return self._headed(lines[:body], first, inner)

    def _headed(self, head: list[str], first: int, inner: list[ast.stmt]) -> list[ast.stmt]:
        """`inner` below its head, where that can be read by itself; else as a block of the same name."""
        tree = _tree("\n".join([*head, " pass"]))
        if tree is None:
            self.lost.append(first + 1)
            tree = _tree(_plain_head(head[0]))
        if tree is None or not tree.body or not hasattr(tree.body[0], "body"):
            return inner
        statement = ast.increment_lineno(tree.body[0], first)
        statement.body = inner or statement.body
        return [statement]


def _plain_head(line: str) -> str:
    """A class or function with its name only, for a head that this interpreter does not know."""
    found = re.match(r"\s*((?:async\s+)?def|class)\s+(\w+)", line)
    if found is None:
        return "if True: pass"
    return f"{found[1]} {found[2]}: pass" if found[1] == "class" else f"{found[1]} {found[2]}(): pass"


def _pieces(lines: list[str]) -> list[tuple[int, int]]:
    """Statements: runs of lines that begin in the first column, outside of a text over several lines and below no decorator."""
    starts: list[int] = []
    quotes = dict.fromkeys(_QUOTES, 0)
    decorated = False
    for i, line in enumerate(lines):
        inside = any(count % 2 for count in quotes.values())
        if line and line[0] not in " \t#)]}" and not inside and not _CLAUSE.match(line):
            if not decorated:
                starts.append(i)
            decorated = line.startswith("@")
        for quote in _QUOTES:
            quotes[quote] += line.count(quote)
    return list(pairwise([*starts, len(lines)]))


def _dedent(lines: list[str]) -> list[str]:
    width = min(
        (len(line) - len(line.lstrip()) for line in lines if line.strip() and not line.lstrip().startswith("#")),
        default=0,
    )
    return [line[width:] if len(line) - len(line.lstrip()) >= width else line.lstrip() for line in lines]
