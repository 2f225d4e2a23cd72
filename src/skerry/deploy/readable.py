"""What processes write, for a person: `order | 14:02:11.085 RelayChanged state=leading`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from skerry.deploy.colours import colours, shown

_HEAD: Final = frozenset({"time", "level", "service", "signal", "logger", "message", "exception", "trace_id"})
_LEVELS: Final[Mapping[str, int]] = {"error": 160, "critical": 160, "warning": 130}
"""Levels that are worth a word, and its colour."""
_QUIET: Final = frozenset({"info", "debug"})
_FAINT, _END = "\x1b[2m", "\x1b[0m"


class Prefixes:
    """Makes `name | text` of lines, each name as wide as the widest, in its colour when `colour`.

    `names` are all that have a colour; the column is as wide as those in `only`, where that is given.
    """

    def __init__(self, names: Iterable[str], *, colour: bool, only: Iterable[str] | None = None) -> None:
        names = [shown(name, styled=False) for name in names]
        self._width = max((len(shown(name, styled=False)) for name in (names if only is None else only)), default=0)
        self._colour = colour
        self._colours = colours(names) if colour else {}

    def line(self, name: str, text: str) -> str:
        """The line to show, or lines. Neither the name nor the text can do more to a terminal than be read."""
        name = shown(name, styled=False)
        prefix = f"{name:{self._width}} |"
        if name in self._colours:
            prefix = f"\x1b[38;5;{self._colours[name]}m{prefix}\x1b[0m"
        return "\n".join(f"{prefix} {line}" for line in readable(text, styled=self._colour))


def readable(text: str, *, styled: bool) -> list[str]:
    """The line as it is shown: several where it tells of an exception; as it is where it is no log line of ours.

    Times are those of this machine's zone. Values that say nothing are left out.
    """
    record = _record(text)
    if record is None:
        return [shown(text, styled=styled)]
    level = str(record["level"]).lower()
    words = [_faint(_clock(record["time"]), styled=styled)]
    if level not in _QUIET:
        word = shown(level.upper(), styled=False)
        words.append(f"\x1b[1;38;5;{_LEVELS.get(level, _LEVELS['warning'])}m{word}{_END}" if styled else word)
    said = record.get("signal") or record.get("message") or ""
    words += [shown(line, styled=False) for line in str(said).splitlines()[:1]]
    fields = {name: value for name, value in record.items() if name not in _HEAD and value not in (None, "", [], {})}
    if "trace_id" in record:
        fields["trace"] = record["trace_id"]
    if record.get("logger") not in (None, "", "root", record.get("service")):
        fields["logger"] = record["logger"]
    words += [shown(f"{name}={_value(value)}", styled=False) for name, value in fields.items()]
    more = [*str(said).splitlines()[1:], *str(record.get("exception") or "").splitlines()]
    return [" ".join(words), *(f"  {shown(line, styled=False)}" for line in more)]


def _record(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if (
        not isinstance(record, dict)
        or not {"time", "level"} <= record.keys()
        or not record.keys() & {"signal", "message"}
    ):
        return None
    return record


def _clock(time: object) -> str:
    try:
        return datetime.fromisoformat(str(time)).astimezone().isoformat(timespec="milliseconds")[11:23]
    except (ValueError, OverflowError, OSError):
        return shown(str(time), styled=False)


def _faint(text: str, *, styled: bool) -> str:
    return f"{_FAINT}{text}{_END}" if styled else text


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str) and value and not any(each.isspace() or each in "\"'=" for each in value):
        return value
    return json.dumps(value, ensure_ascii=False)
