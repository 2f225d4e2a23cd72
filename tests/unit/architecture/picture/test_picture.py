from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from skerry.architecture.model import Datastore, Edge, Evidence, Service, Source, SystemModel, Use
from skerry.architecture.picture import as_data, as_mermaid, as_page, as_text
from skerry.architecture.picture.judged import MAX_EVIDENCE, MAX_FINDINGS
from skerry.architecture.report.data import finding_data
from skerry.architecture.report.report import Marked
from skerry.architecture.rules import Finding, Severity, Verdict
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


def report(name: str = "b", *, findings: int = 1) -> dict[str, Any]:
    said = tuple(Evidence(name, Source.CODE, Place("a.py", line)) for line in range(1, 30))
    finding = Finding(
        rule="no-timeout",
        verdict=Verdict.VIOLATION,
        message=name,
        services=("a", name),
        place=Place(f"{name}.py", 3),
        severity=Severity.ERROR,
        evidence=said,
        fix=name,
    )
    one = finding_data(Marked(finding, "0" * 16), {})
    rule = {"rule": "no-timeout", "verdict": "violation", "allowed": 0, "known": 0, "why": name, "fix": name}
    return {"findings": [one] * findings, "unknown": [one], "rules": [rule]}


def judged_in(page: str) -> Any:
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert data is not None
    return json.loads(data[1])["judged"]


def test_its_colours_are_those_of_the_console() -> None:
    """Who knows the one reads the other; light and dark are told apart by people with any colour vision."""
    console = Path(__file__).parents[4] / "ui" / "src" / "colours.css"
    for page, others in zip(palettes(as_page(model(), title="t")), palettes(console.read_text()), strict=True):
        assert page
        assert page <= others


def palettes(text: str) -> list[set[str]]:
    """The colours for light, and for dark."""
    light, _, dark = text.partition("prefers-color-scheme: dark")
    return [set(re.findall(r"--\w[\w-]*: (#\w{6})", part)) for part in (light, dark)]


def test_an_error_on_a_line_has_a_shape_of_its_own() -> None:
    """A line has no room for a word, and colour alone does not tell an error from a warning."""
    shape = re.search(r'class: "shape", d: severity === "error" \? "([^"]+)" : "([^"]+)"', as_page(model(), title="t"))
    assert shape is not None
    assert shape[1] != shape[2]


def test_what_was_found_is_in_the_picture_and_beside_it() -> None:
    """The page's data has each finding with the services that it marks, and the list for those without scripts says it too."""
    page = as_page(model(), title="t", report=report())
    (found,) = judged_in(page)["findings"]
    assert (found["services"], found["severity"], found["file"], found["line"]) == (["a", "b"], "error", "b.py", 3)
    assert "<li>error, no-timeout (a, b): b <code>b.py:3</code></li>" in page
    assert judged_in(as_page(model(), title="t")) is None


def test_a_finding_is_never_markup() -> None:
    """Messages, places, evidence and advice that would end the script are data in it, and text in the list."""
    page = as_page(model(EVIL), title="t", report=report(EVIL))
    assert "<img" not in page
    assert page.count("</script>") == 2
    assert judged_in(page)["findings"][0]["message"].startswith("</script><img")


def test_a_page_has_a_bounded_number_of_findings() -> None:
    """Of very many the first are on it, with how many are not; each with some of its evidence."""
    found = judged_in(as_page(model(), title="t", report=report(findings=MAX_FINDINGS + 7)))
    assert (len(found["findings"]), found["more"]) == (MAX_FINDINGS, 7)
    assert len(found["findings"][0]["evidence"]) == MAX_EVIDENCE


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
