"""Where a part is asked for: its path with the variables of the client's path, and what of the client's query goes on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlencode

from skerry.gateway.model import Part
from skerry.service.problem import Problem

MAX_PARAMETERS = 100
_VARIABLE = re.compile(r"\{([a-z][a-z0-9_]*)\}")


class Address:
    """The path of one part, ready to be filled in.

    A value stands for itself and nothing more: whatever it holds, it is one segment, or the value of one parameter. So nobody
    adds a parameter to the query of a part, or goes to another path, by what he writes into his own.
    """

    __slots__ = ("_passed", "_pieces")

    def __init__(self, part: Part) -> None:
        # texts at even places, names of variables at odd ones
        self._pieces: list[str] = _VARIABLE.split(part.path)
        self._passed: tuple[str, ...] = part.query

    def filled(self, variables: Mapping[str, str], query: str = "") -> str:
        """The path with its query. `variables` are percent-encoded, `query` is the client's, without its question mark.

        Raises `Problem` 400 for a value that is no segment, or for a query that has too many parameters.
        """
        pieces = self._pieces.copy()
        for place in range(1, len(pieces), 2):
            value = unquote_to_bytes(variables[pieces[place]])
            if value in {b"", b".", b".."}:
                raise Problem(400, "bad_path", "The path is not accepted: it has an empty segment or a dot segment.")
            pieces[place] = quote(value, safe="")
        path = "".join(pieces)
        if not self._passed or not query:
            return path
        passed = _chosen(query, self._passed)
        return f"{path}{'&' if '?' in path else '?'}{urlencode(passed)}" if passed else path


def _chosen(query: str, names: tuple[str, ...]) -> list[tuple[str, str]]:
    """The first of each parameter that is named, in the order of the names."""
    try:
        told = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except ValueError:
        detail = f"The query is not accepted: it is not UTF-8, or has more than {MAX_PARAMETERS} parameters."
        raise Problem(400, "bad_query", detail) from None
    first: dict[str, str] = {}
    for name, value in told:
        first.setdefault(name, value)
    return [(name, first[name]) for name in names if name in first]
