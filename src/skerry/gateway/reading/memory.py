"""What was read before, for a file that is read again and again: of a hundred routes mostly one is another.

What stands at the same place with the same text is not looked at again, and is the same object afterwards, by which those who
compile routes know it. A document with anchors is read anew, for there a text may mean what another place says.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from skerry.gateway.model import Route

_ANCHOR: Final = "&"
_MARK: Final = "\ufeff"
Place = tuple[str, int, int, Any]


class Memory:
    """What one reading leaves to the next. Only what had no mistake is remembered."""

    def __init__(self) -> None:
        self._text: str | None = None
        self._values: dict[Place, dict[str, Any]] = {}
        self._values_now: dict[Place, dict[str, Any]] = {}
        self._routes: dict[int, tuple[Any, str, Route]] = {}
        self._routes_now: dict[int, tuple[Any, str, Route]] = {}
        self._sound: dict[int, Route] = {}
        self._sound_now: dict[int, Route] = {}
        self._defaults: object = None
        self._around: object = None

    def begin(self, text: str) -> None:
        """Another reading, of `text`."""
        self._text = None if _ANCHOR in text or _MARK in text else text
        self._values_now, self._routes_now, self._sound_now = {}, {}, {}

    def end(self) -> None:
        """It came to its end, and nothing was wrong."""
        self._values, self._routes, self._sound = self._values_now, self._routes_now, self._sound_now

    def place(self, node: yaml.Node) -> Place | None:
        """By what a node is known; None when it cannot be."""
        if self._text is None:
            return None
        start = node.start_mark
        text = self._text[start.index : node.end_mark.index]
        return text, start.line, start.column, getattr(node, "flow_style", None)

    def value(self, place: Place) -> dict[str, Any] | None:
        """What was read there."""
        found = self._values.get(place)
        if found is not None:
            self._values_now[place] = found
        return found

    def keep_value(self, place: Place, value: dict[str, Any]) -> None:
        """Remember it."""
        self._values_now[place] = value

    def defaults(self, defaults: object) -> None:
        """From what routes are made beside their own values; others make all of them anew."""
        if defaults != self._defaults:
            self._defaults, self._routes = defaults, {}

    def route(self, name: str, value: object) -> Route | None:
        """What these values became, the same object as before, under this name."""
        found = self._routes.get(id(value))
        if found is None or found[1] != name:
            return None
        self._routes_now[id(value)] = found
        return found[2]

    def keep_route(self, name: str, value: object, route: Route) -> None:
        """Remember it; `value` is held, so that nothing else gets its identity."""
        self._routes_now[id(value)] = (value, name, route)

    def around(self, around: object) -> None:
        """By what routes are checked beside themselves; when it is another, all are checked again."""
        if around != self._around:
            self._around, self._sound = around, {}

    def is_sound(self, route: Route) -> bool:
        """Whether it was found to be so."""
        sound = id(route) in self._sound
        if sound:
            self._sound_now[id(route)] = route
        return sound

    def keep_sound(self, route: Route) -> None:
        """Nothing is wrong with it."""
        self._sound_now[id(route)] = route
