"""What a gateway serves while its specification and its ramps change."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from strangling_stage import write_spec

from skerry.gateway import reading
from skerry.gateway.model import Forward, GatewaySpec
from skerry.gateway.strangler import shares
from skerry.gateway.strangler.keeping import Loading
from skerry.gateway.strangler.shares import Share, Shares


def at(spec: GatewaySpec | None) -> float:
    """Percent that go to the candidate."""
    assert spec is not None
    (books,) = (route for route in spec.routes if route.name == "books")
    assert isinstance(books.action, Forward)
    return books.action.backends[1].weight / 100


def test_shares_that_cannot_be_read_leave_a_gateway_as_it_is(tmp_path: Path) -> None:
    """Although its specification is not taken either just then; with the next shares that can be read it goes on."""
    spec, folder = write_spec(tmp_path / "gateway.yaml"), tmp_path / "state"
    shares.write(folder, Shares(1, {"books": Share(10.0)}))
    with closing(Loading(lambda: reading.read(spec), folder=folder, spec=spec, first=reading.read(spec))) as loading:
        assert at(loading.load()) == 10.0
        shares.write(folder, Shares(2, {"books": Share(50.0)}))
        loading.load()  # which an engine does not take
        (folder / shares.FILE).write_text("{")
        assert loading.instead() is None
        shares.write(folder, Shares(3, {"books": Share(100.0)}))
        loading.load()  # nor this
        assert at(loading.instead()) == 100.0
