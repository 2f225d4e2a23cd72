"""Boxes stand so that what matters is seen without moving any: who calls whom, and which databases are shared."""

from __future__ import annotations

from itertools import combinations

from skerry.architecture.model import Datastore, Edge, Service, SystemModel, Use
from skerry.architecture.picture.places import TALLEST, places


def model(services: str, calls: tuple[str, ...] = (), uses: tuple[str, ...] = ()) -> SystemModel:
    """Services and stores have names of one letter; a call or a use is two of them."""
    return SystemModel(
        services={name: Service(name=name) for name in services},
        stores={use[1]: Datastore(identity=use[1], kind="sqlite", server="") for use in uses},
        uses=tuple(Use(service=use[0], store=use[1]) for use in uses),
        edges=tuple(Edge(caller=one, callee=other, waits=True) for one, other in calls),
    )


def test_a_database_of_one_service_stands_below_it() -> None:
    """Also the second one of the same service, below the first."""
    found = places(model("ab", ("ab",), ("aX", "aY", "bZ")))
    assert found["a"][0] == found["store X"][0] == found["store Y"][0]
    assert found["a"][1] < found["store X"][1] < found["store Y"][1]
    assert found["b"][0] == found["store Z"][0]


def test_a_shared_one_stands_right_of_all_services() -> None:
    """There it is seen."""
    found = places(model("abc", ("ab", "bc"), ("aX", "cX")))
    assert found["store X"][0] > max(found[name][0] for name in "abc")


def test_callers_stand_left_of_those_they_wait_for() -> None:
    """Over any number of hops; where two wait for each other it ends."""
    found = places(model("abcd", ("ab", "bc", "ad", "cb")))
    assert found["a"][0] < found["b"][0]
    assert found["a"][0] < found["d"][0]


def test_no_two_boxes_stand_on_each_other() -> None:
    """Whatever there is: a wide fan, databases of all kinds, services that reach nothing."""
    many = "abcdefghijklmnopqrstuvwxyz"
    found = places(model(many, tuple(f"a{name}" for name in many[1:14]), ("aX", "bX", "cY", "dZ", "dV", "zW")))
    assert len(found) == len(many) + 5
    for one, other in combinations(found.values(), 2):
        assert abs(one[0] - other[0]) >= 168 or abs(one[1] - other[1]) >= 54


def test_a_wide_fan_becomes_two_columns() -> None:
    """A picture of thirty boxes in one column could not be read."""
    found = places(model("abcdefghijklm", tuple(f"a{name}" for name in "bcdefghijklm")))
    columns = [x // 280 for name, (x, _) in found.items() if name != "a"]
    assert max(columns.count(column) for column in set(columns)) <= TALLEST
    assert len(set(columns)) == 2


def test_services_that_reach_nothing_stand_below() -> None:
    """They are many in a repository in several languages, and would make the columns too tall."""
    found = places(model("abxyz", ("ab",)))
    assert min(found[name][1] for name in "xyz") > max(found[name][1] for name in "ab")


def test_an_empty_system() -> None:
    """Nothing stands anywhere."""
    assert places(SystemModel()) == {}
