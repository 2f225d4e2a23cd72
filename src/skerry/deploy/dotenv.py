"""The file `.env` beside `skerry.toml`: variables for every process of a system that runs on this machine.

It has the form that Compose reads, but fills nothing in: what it holds is kept out of repositories, so a value that depends on
where it is read would be found by nobody. That, and errors that never show a value, is why it is not read by python-dotenv, which
nothing else here needs either.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from skerry.deploy.secrets import SecretFolder
from skerry.errors import ConfigurationError

DOTENV: Final = ".env"
_BLANK: Final = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_NAME: Final = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=")
_SINGLE: Final = re.compile(r"[ \t]*'([^']*)'[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_DOUBLE: Final = re.compile(r'[ \t]*"((?:[^"\\]|\\.)*)"[ \t]*(?:#[^\n]*)?(?:\n|\Z)', re.DOTALL)
_BARE: Final = re.compile(r"(?![ \t]*['\"])([^\n]*)(?:\n|\Z)")
_COMMENT: Final = re.compile(r"[ \t]#")
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "$": "$"}
_FILLED_IN: Final = re.compile(r"(?<!\\)\$\{")


def read_dotenv(folder: Path) -> dict[str, str]:
    r"""The variables in the file `.env` of `folder`; none where there is no such file.

    `NAME=VALUE` lines, `export ` before them or not, and comments after `#`. A value in quotes may have line ends; in double ones
    also `\n`, `\r`, `\t`, `\"`, `\\` and `\$`. Of a name that comes twice the last one counts. At most 64 KiB.

    Raises `ConfigurationError` with file and line, never with a value, for a line that is something else and for a value with
    `${NAME}`, which nobody would fill in.
    """
    file = folder / DOTENV
    if file.is_dir():  # some keep an environment of Python in a folder of that name
        return {}
    text = SecretFolder(folder).text(DOTENV).removeprefix("\ufeff").replace("\r\n", "\n")
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        if blank := _BLANK.match(text, position):
            position = blank.end()
            continue
        name = _NAME.match(text, position)
        line = text.count("\n", 0, position) + 1
        if name is None:
            raise ConfigurationError("is no line NAME=VALUE", source=str(file), line=line)
        value, position = _value(text, name.end(), file, line)
        found[name[1]] = value
    return found


def _value(text: str, start: int, file: Path, line: int) -> tuple[str, int]:
    """The value that begins there, and where the next line does."""
    single, double, bare = (form.match(text, start) for form in (_SINGLE, _DOUBLE, _BARE))
    match = single or double or bare
    if match is None:
        raise ConfigurationError("has a quote that is not closed, or something after it", source=str(file), line=line)
    value = match[1]
    if bare:
        value = _COMMENT.split(value, maxsplit=1)[0].strip()
    if not single and _FILLED_IN.search(value):
        problem = "has a ${NAME}, and nothing is filled in here: write out what it stands for, or use single quotes"
        raise ConfigurationError(problem, source=str(file), line=line)
    if "\0" in value:
        raise ConfigurationError("has a character that no variable can have", source=str(file), line=line)
    return (_ESCAPE.sub(_unescaped, value) if double else value), match.end()


def _unescaped(match: re.Match[str]) -> str:
    return _ESCAPED.get(match[1], match[0])
