"""The model as one HTML page with a picture that can be moved, and nothing that is fetched."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from skerry.architecture.model import SystemModel
from skerry.architecture.picture.data import as_data
from skerry.architecture.picture.judged import judged
from skerry.architecture.picture.places import places


def as_page(model: SystemModel, *, title: str, unparsed: int = 0, report: Mapping[str, Any] | None = None) -> str:
    """The page. Every name in it is data: it is neither markup nor script, whatever it is called.

    With a `report` (as the report gives it for JSON) its findings stand at the services and edges that they are about, and in a
    list beside the picture.
    """
    data: dict[str, Any] = as_data(model, unparsed=unparsed)
    data["judged"] = judged(report) if report is not None else None
    data["places"] = places(model)
    template = files("skerry.architecture.picture").joinpath("page.html").read_text(encoding="utf-8")
    # a text that ends the script, or begins a comment in it, would leave the data
    encoded = json.dumps(data).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    before, _, after = template.partition("__DATA__")
    return (
        before.replace("__TITLE__", html.escape(title))
        + encoded
        + after.replace("__LIST__", _list(model, data["judged"]))
    )


def _list(model: SystemModel, found: Mapping[str, Any] | None) -> str:
    """The same findings and edges as a list, for readers without scripts and for search."""
    rows = []
    for each in found["findings"] if found is not None else ():
        where = f"{each['file']}:{each['line'] or ''}".rstrip(":") if each["file"] else ""
        text = f"{each['severity']}, {each['rule']} ({', '.join(each['services'])}): {each['message']}"
        rows.append(f"<li>{html.escape(text)} <code>{html.escape(where)}</code></li>")
    for edge in model.edges:
        place = next((str(each.place) for each in edge.evidence if each.place), "")
        verb = "waits for" if edge.waits else f"sends {edge.topic or 'messages'} to"
        rows.append(f"<li>{html.escape(f'{edge.caller} {verb} {edge.callee}')} <code>{html.escape(place)}</code></li>")
    return "".join(rows)
