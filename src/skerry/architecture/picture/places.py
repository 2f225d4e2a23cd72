"""Where each box of the picture stands before anybody moves it.

Callers stand left of those they wait for. A database that one service has for itself stands below it; those that several use
stand at the far right, so that what is shared is seen at once. Services that reach nothing are in rows at the bottom.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from skerry.architecture.model import SystemModel
from skerry.topology.reaching import reached

COLUMN: Final = 280
ROW: Final = 92
BELOW: Final = 68
"""From a service to its database, and from there to the next."""
TALLEST: Final = 8
"""Services in one column; more stand in a second one beside it."""
_ASIDE: Final = 24
"""Every other one a little to the side, so that a line between two does not run through a third box."""
_SWEEPS: Final = 6
_MAX_ROUNDS: Final = 200

Point = tuple[int, int]


def places(model: SystemModel) -> dict[str, Point]:
    """The upper left corner of each service, by its name, and of each store, by `store ` and its identity."""
    users: dict[str, set[str]] = defaultdict(set)
    for use in model.uses:
        if use.service in model.services:
            users[use.store].add(use.service)
    own: dict[str, list[str]] = defaultdict(list)
    for store in sorted(model.stores):
        if len(users[store]) == 1:
            own[min(users[store])].append(store)
    near = _neighbours(model)
    for store, names in users.items():
        if len(names) > 1 and store in model.stores:
            for name in names:
                near[name] |= names - {name}
    columns = _columns(model, [name for name in model.services if near[name] or own[name]], near)
    found = _stand(columns, own)
    shared = [store for store in model.stores if len(users[store]) != 1]
    middle = {
        store: sum(found[name][1] for name in users[store] if name in found) / max(len(users[store]), 1)
        for store in shared
    }
    lowest = -ROW
    for store in sorted(shared, key=lambda each: (middle[each], each)):
        lowest = max(lowest + ROW, int(middle[store]))
        found[f"store {store}"] = (len(columns) * COLUMN, lowest)
    return found | _rows([name for name in model.services if name not in found], found, len(columns))


def _neighbours(model: SystemModel) -> dict[str, set[str]]:
    near: dict[str, set[str]] = defaultdict(set)
    for edge in model.edges:
        if edge.caller in model.services and edge.callee in model.services:
            near[edge.caller].add(edge.callee)
            near[edge.callee].add(edge.caller)
    return near


def _columns(model: SystemModel, names: list[str], near: dict[str, set[str]]) -> list[list[str]]:
    """Services from left to right, those that reach each other at about the same height."""
    layers = _layers(model, names)
    columns = [[name for name in names if layers[name] == layer] for layer in sorted(set(layers.values()))]
    for sweep in range(_SWEEPS):
        height = {name: (number + 0.5) / len(column) for column in columns for number, name in enumerate(column)}
        for column in columns if sweep % 2 else reversed(columns):
            mean = {
                name: sum(height[each] for each in near[name] if each in height) / len(near[name])
                if near[name]
                else height[name]
                for name in column
            }
            column.sort(key=lambda name: (mean[name], name))
            height |= {name: (number + 0.5) / len(column) for number, name in enumerate(column)}
    return [column[start : start + TALLEST] for column in columns for start in range(0, len(column), TALLEST)]


def _layers(model: SystemModel, names: list[str]) -> dict[str, int]:
    layer = dict.fromkeys(names, 0)
    calls = sorted(
        {
            (edge.caller, edge.callee)
            for edge in model.edges
            if edge.waits and {edge.caller, edge.callee} <= layer.keys()
        }
    )
    onward: dict[str, set[str]] = defaultdict(set)
    for caller, callee in calls:
        onward[caller].add(callee)
    behind = {callee: {callee, *reached(callee, onward)} for callee in {callee for _, callee in calls}}
    forward = [(caller, callee) for caller, callee in calls if caller not in behind[callee]]
    for _ in range(min(len(layer), _MAX_ROUNDS)):
        moved = False
        for caller, callee in forward:
            if layer[callee] <= layer[caller] < len(layer) - 1:
                layer[callee], moved = layer[caller] + 1, True
        if not moved:
            break
    return layer


def _stand(columns: list[list[str]], own: dict[str, list[str]]) -> dict[str, Point]:
    heights = [sum(ROW + BELOW * len(own[name]) for name in column) for column in columns]
    found: dict[str, Point] = {}
    for number, column in enumerate(columns):
        y = (max(heights) - heights[number]) // 2
        for i, name in enumerate(column):
            x = number * COLUMN + (i % 2) * _ASIDE
            found[name] = (x, y)
            for n, store in enumerate(own[name], 1):
                found[f"store {store}"] = (x, y + n * BELOW)
            y += ROW + BELOW * len(own[name])
    return found


def _rows(names: list[str], above: dict[str, Point], columns: int) -> dict[str, Point]:
    wide = max(columns + 1, 4)
    top = max((y for _, y in above.values()), default=-2 * ROW) + 2 * ROW
    return {name: (n % wide * COLUMN, top + n // wide * ROW) for n, name in enumerate(sorted(names))}
