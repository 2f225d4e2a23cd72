"""The model as one HTML page with a picture that can be moved, and nothing that is fetched."""

from __future__ import annotations

import html
import json
from importlib.resources import files
from typing import Any

from skerry.architecture.model import SystemModel
from skerry.architecture.picture.data import as_data
from skerry.architecture.picture.places import places


def as_page(model: SystemModel, *, title: str, unparsed: int = 0) -> str:
    """The page. Every name in it is data: it is neither markup nor script, whatever it is called."""
    data: dict[str, Any] = as_data(model, unparsed=unparsed)
    data["places"] = places(model)
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
