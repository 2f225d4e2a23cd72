"""All files of a repository beside each other: who imports whom, who calls whom across files."""

from __future__ import annotations

from collections.abc import Mapping

from skerry.architecture.code import calls
from skerry.architecture.code.extract import FileFacts
from skerry.architecture.code.facts import Code
from skerry.architecture.code.structure import Resolved
from skerry.architecture.code.structure.imports import Modules
from skerry.architecture.source import Skipped


def resolve(facts: Mapping[str, FileFacts]) -> Code:
    """What all files say together. `facts` are by path; the order does not matter."""
    files = {path: facts[path].structure for path in sorted(facts)}
    modules = Modules(files)
    imports = {path: each.imports for path, each in files.items()}
    known = Resolved(files, modules, {path: each.role for path, each in files.items()}, modules.by_file(imports))
    raw = {path: facts[path].calls for path in files}
    return Code(
        calls=calls.resolve(raw, known),
        imports=imports,
        roles=known.roles,
        lines={path: each.lines for path, each in files.items()},
        allowed=tuple(mark for each in files.values() for mark in each.allowed),
        unparsed=tuple(Skipped(path, _lost(facts[path].lost)) for path in files if facts[path].lost),
    )


def _lost(lines: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, lines[:5]))
    return f"could not be understood at line {shown}" + (f" and {len(lines) - 5} more" if len(lines) > 5 else "")
