"""The model as one HTML page with a picture that can be moved, and nothing that is fetched."""

from __future__ import annotations

import html
import json
from collections import defaultdict
from importlib.resources import files
from typing import Any

from skerry.architecture.model import SystemModel
from skerry.architecture.picture.data import as_data

COLUMN = 280
ROW = 92
MAX_ROUNDS = 200


def as_page(model: SystemModel, *, title: str, unparsed: int = 0) -> str:
    """The page. Every name in it is data: it is neither markup nor script, whatever it is called."""
    data: dict[str, Any] = as_data(model, unparsed=unparsed)
    data["places"] = _places(model)
    template = files("skerry.architecture.picture").joinpath("page.html").read_text(encoding="utf-8")
    # a text that ends the script, or begins a comment in it, would leave the data
    encoded = json.dumps(data).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    before, _, after = template.partition("__DATA__")
    return before.replace("__TITLE__", html.escape(title)) + encoded + after.replace("__LIST__", _list(model))


def _list(model: SystemModel) -> str:
    """The same edges as a list, for readers without scripts and for search."""
    rows = []
    for edge in model.edges:
        place = next((str(each.place) for each in edge.evidence if each.place), "")
        verb = "waits for" if edge.waits else f"sends {edge.topic or 'messages'} to"
        rows.append(f"<li>{html.escape(f'{edge.caller} {verb} {edge.callee}')} <code>{html.escape(place)}</code></li>")
    return "".join(rows)


def _places(model: SystemModel) -> dict[str, tuple[int, int]]:
    """Where each service stands: callers left of those they wait for, databases at the far right."""
    layer = dict.fromkeys(model.services, 0)
    calls = [
        (edge.caller, edge.callee)
        for edge in model.edges
        if edge.waits and edge.caller in layer and edge.callee in layer
    ]
    last = max(len(layer) - 1, 0)
    for _ in range(min(len(layer), MAX_ROUNDS)):
        moved = False
        for caller, callee in calls:
            if layer[callee] <= layer[caller] < last and not _cyclic(calls, caller, callee):
                layer[callee], moved = layer[caller] + 1, True
        if not moved:
            break
    columns: dict[int, list[str]] = defaultdict(list)
    for name, column in layer.items():
        columns[column].append(name)
    tallest = max((len(names) for names in columns.values()), default=1)
    found: dict[str, tuple[int, int]] = {}
    for n, column in enumerate(sorted(columns)):
        names = columns[column]
        shift = (tallest - len(names)) * ROW // 2
        # every other one a little to the side, so that a line between two columns does not run through a third box
        found |= {name: (n * COLUMN + (i % 2) * 24, shift + i * ROW) for i, name in enumerate(names)}
    keepers: dict[str, list[int]] = defaultdict(list)
    for use in model.uses:
        if use.service in found:
            keepers[use.store].append(found[use.service][1])
    right = len(columns) * COLUMN
    order = sorted(model.stores, key=lambda each: (sum(keepers[each]) / max(len(keepers[each]), 1), each))
    return found | {f"store {identity}": (right, i * ROW) for i, identity in enumerate(order)}


def _cyclic(calls: list[tuple[str, str]], caller: str, callee: str) -> bool:
    """Whether `callee` waits for `caller` too, over others or directly."""
    seen, waiting = {callee}, [callee]
    while waiting:
        current = waiting.pop()
        for one, other in calls:
            if one == current and other not in seen:
                seen.add(other)
                waiting.append(other)
    return caller in seen
