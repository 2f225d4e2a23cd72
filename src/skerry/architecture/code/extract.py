"""What one Python file says. Pure, so that it can run in another process and be kept by the file's path and content."""

from __future__ import annotations

from dataclasses import dataclass

from skerry.architecture.code import calls, structure
from skerry.architecture.code.calls import RawCalls
from skerry.architecture.code.parse import decode, parse, parse_imports
from skerry.architecture.code.structure import Structure


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One file: text, numbers, tuples and values made of them, so a generic converter can keep it.

    Equal path and equal content give equal facts: the path counts, for it tells tests from what serves requests.
    """

    structure: Structure
    calls: RawCalls
    lost: tuple[int, ...] = ()
    """First lines of the pieces that could not be understood."""


def extract(path: str, content: bytes) -> FileFacts:
    """The facts of the Python or SQL file at `path`, relative with `/`.

    Never raises for what `content` holds; takes time in proportion to its size.
    """
    if path.endswith(".sql"):
        text = decode(content)
        return FileFacts(structure.read_sql(text, path), RawCalls())
    parsed = parse_imports(content) if structure.is_quiet(path, content) else parse(content)
    found = structure.read(parsed, path, content)
    return FileFacts(found, calls.read(parsed, found.role), parsed.lost)
