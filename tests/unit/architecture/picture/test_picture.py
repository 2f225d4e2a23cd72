from __future__ import annotations

import json
import re

from skerry.architecture.model import Datastore, Edge, Evidence, Service, Source, SystemModel, Use
from skerry.architecture.picture import as_data, as_mermaid, as_page, as_text
from skerry.architecture.source import Place

EVIL = '</script><img src=x onerror=alert(1)>\x1b[2J"]'
SAID = (Evidence("said", Source.CODE, Place("a.py", 3)),)


def model(name: str = "b") -> SystemModel:
    return SystemModel(
        services={"a": Service(name="a", evidence=SAID), name: Service(name=name)},
        stores={"s": Datastore(identity="s", kind="sqlite", server="a", database=name)},
        uses=(Use(service="a", store="s", evidence=SAID),),
        edges=(Edge(caller="a", callee=name, waits=True, evidence=SAID),),
    )


def test_every_edge_has_its_place() -> None:
    """Text and JSON tell the file and line of an edge."""
    assert "waits for b (http)  a.py:3" in as_text(model())
    assert as_data(model())["edges"][0]["evidence"] == [{"text": "said", "source": "code", "file": "a.py", "line": 3}]


def test_a_name_is_never_markup() -> None:
    """A name that would end the script, a label or a line is shown, not obeyed."""
    page = as_page(model(EVIL), title=EVIL)
    assert "<img" not in page
    assert "\x1b" not in as_text(model(EVIL))
    assert not re.search(r'["<>\]]', re.findall(r'\["(.*)"\]', as_mermaid(model(EVIL)))[1])


def test_the_page_holds_its_data_and_fetches_nothing() -> None:
    """The data can be read back; no address of another place is in the page."""
    page = as_page(model(), title="t")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert data is not None
    assert json.loads(data[1])["places"].keys() == {"a", "b", "store s"}
    assert not re.search(r'(?:src|href)="?(?:https?:)?//', page)


def test_callers_stand_left_of_those_they_wait_for() -> None:
    """Also where two wait for each other, which ends."""
    cycle = SystemModel(
        services={name: Service(name=name) for name in "abc"},
        edges=tuple(Edge(caller=one, callee=other, waits=True) for one, other in ("ab", "ba", "bc")),
    )
    page = as_page(cycle, title="t")
    found = re.search(r'"places": (\{.*?\})\}', page)
    assert found is not None
    places = json.loads(found[1])
    assert places["b"][0] < places["c"][0]
