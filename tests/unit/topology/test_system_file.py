"""Reading skerry.toml."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from skerry.errors import ConfigurationError
from skerry.topology import MAX_FILE_SIZE, find, load

GOOD = """\
[system]
name = "shop"
events = "sqlite:///events/"
[gateway]
spec = "gateway.yaml"
port = 8081
calls = ["order"]
[topics]
"shop.order.placed" = {owner = "order", description = "An order was placed."}
[services.order]
app = "order.app:service"
database = "sqlite:///order.db"
calls = [
  "payment",
]
publishes = ["shop.order.placed"]
env = {LEVEL = "high"}
[services.payment]
app = "payment.app:service"
database = "sqlite:///payment.db"
subscribes = ["shop.order.placed"]
description = "Takes money."
grpc = true
"""


def test_a_service_has_any_port_or_its_own(tmp_path: Path) -> None:
    """Without a port in its table a service takes any that is free."""
    system = load(write(tmp_path, GOOD.replace("grpc = true", "port = 9001")))
    assert [service.port for service in system.services.values()] == [0, 9001]


def write(folder: Path, text: str | bytes) -> Path:
    (folder / "gateway.yaml").write_text("")
    file = folder / "skerry.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_whole_system(tmp_path: Path) -> None:
    """Everything in the file is in the model."""
    system = load(write(tmp_path, GOOD))
    assert (system.name, system.events, system.folder) == ("shop", "sqlite:///events/", tmp_path.resolve())
    assert system.gateway is not None
    assert (system.gateway.spec.name, system.gateway.port, system.gateway.calls) == ("gateway.yaml", 8081, ("order",))
    assert system.topics["shop.order.placed"].owner == "order"
    order, payment = system.services.values()
    assert (order.grpc, payment.grpc) == (False, True)
    assert (order.calls, order.publishes, order.env) == (("payment",), ("shop.order.placed",), {"LEVEL": "high"})
    assert (payment.database, payment.subscribes, payment.description) == (
        "sqlite:///payment.db",
        ("shop.order.placed",),
        "Takes money.",
    )


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('name = "shop"', 'name = "My Shop"', 2, "no name for a system"),
        ('name = "shop"', "name = 7", 2, "must be a text"),
        ('name = "shop"\n', "", 1, "needs"),
        ("[system]", "[sistem]", 1, 'did you mean "system"?'),
        ("sqlite:///events/", "memory:", 3, "no known URL"),
        ('events = "sqlite:///events/"\n', "", 1, "no event log"),
        ("gateway.yaml", "other.yaml", 5, "does not exist"),
        ('spec = "gateway.yaml"', 'spec = "gateway.yaml"\nengine = "steam"', 6, "use one of embedded, envoy"),
        ("8081", "80810", 6, "from 0 to 65535"),
        ("8081", "true", 6, "from 0 to 65535"),
        ('calls = ["order"]', 'calls = ["ordr"]', 7, 'did you mean "order"?'),
        ('owner = "order"', 'owner = "ordering"', 9, "no service of this system"),
        ('owner = "order"', 'ownr = "order"', 9, 'did you mean "owner"?'),
        ("shop.order.placed", "Shop Order", 9, "no name for a topic"),
        ("services.order", "services.Order", 10, "no name for a service"),
        ("services.payment", "services." + "p" * 41, 18, "no name for a service"),
        ("services.order", "services.gateway", 10, "the gateway's own process"),
        ("order.app:service", "order.app", 11, "module:attribute"),
        ("sqlite:///order.db", "mysql:///order", 12, "no known URL"),
        ("sqlite:///order.db", "order.db", 12, "no known URL"),
        ('"payment",', '\n"paymnt",', 15, 'did you mean "payment"?'),
        ('"payment",', '"order",', 14, "order calls itself"),
        ('"payment",', '"payment",\n  "payment",', 15, "stands twice"),
        ('"payment",', '"payment",\n  3,', 15, "a list of texts"),
        ('publishes = ["shop.order.placed"]', 'publishes = ["shop.order.paid"]', 16, "not declared under [topics]"),
        ('subscribes = ["shop.order.placed"]', 'subscribes = ["shop.order.place"]', 21, "did you mean"),
        ('subscribes = ["shop.order.placed"]', 'publishes = ["shop.order.placed"]', 21, "only its owner order"),
        ('LEVEL = "high"', 'SKERRY_PORT = "1"', 17, "set by the supervisor"),
        ('LEVEL = "high"', '"A B" = "1"', 17, "environment variable"),
        ('LEVEL = "high"', "LEVEL = 1", 17, "must be a text"),
        ("payment.app:service", "order.app:service", 19, "the same app"),
        ("sqlite:///payment.db", "sqlite:///./order.db?timeout=3", 20, "the same database"),
        ("description = ", "desciption = ", 9, 'did you mean "description"?'),
        ("[services.payment]", "[services.payment", 18, "column"),
        ("grpc = true", "grpc = 1", 23, "true or false"),
        ("grpc = true", "port = 65536", 23, "from 0 to 65535"),
        ("grpc = true", "port = 8081", 23, "payment and the gateway have the same port 8081"),
        ("services.order", "services.payment-grpc", 23, "its address for gRPC"),
        ('"Takes money."', '"Takes', 22, ""),
    ],
)
def test_mistake_is_reported_at_its_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    """Each kind of mistake names the file, the line it stands on and what to do about it."""
    with pytest.raises(ConfigurationError) as caught:
        load(write(tmp_path, GOOD.replace(old, new, 1)))
    at = [caught.value.line, *map(int, re.findall(r"; line (\d+):", str(caught.value)))]
    assert line in at
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path.resolve() / "skerry.toml") + ":")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sqlite:///events/", "amqps://broker/"),
        ("sqlite:///events/", "rediss://broker/0?durability=flushed"),
        ("sqlite:///order.db", "postgres://server/order"),
        ("sqlite:///order.db", "mongodb+srv://server/order"),
    ],
)
def test_every_address_that_a_service_takes_may_stand_there(tmp_path: Path, old: str, new: str) -> None:
    """The other spellings of a server's address, too, such as those with TLS."""
    system = load(write(tmp_path, GOOD.replace(old, new, 1)))
    assert new in {system.events, system.services["order"].database}


@pytest.mark.parametrize("address", ["clickhouse://server/facts", "clickhouses://server/facts", "chdb:///facts/"])
def test_facts_for_analysis_are_no_database(tmp_path: Path, address: str) -> None:
    """The service would refuse it at its start; it is said where such an address goes."""
    with pytest.raises(ConfigurationError, match=r"no service's database: .*analytics= .*SKERRY_ANALYTICS") as caught:
        load(write(tmp_path, GOOD.replace("sqlite:///order.db", address, 1)))
    assert f'"{address.partition(":")[0]}:"' in str(caught.value)
    system = load(write(tmp_path, GOOD.replace('LEVEL = "high"', f'SKERRY_ANALYTICS = "{address}"', 1)))
    assert system.services["order"].env == {"SKERRY_ANALYTICS": address}


def test_a_database_is_the_same_in_both_spellings(tmp_path: Path) -> None:
    """PostgreSQL's address begins in two ways."""
    text = GOOD.replace("sqlite:///order.db", "postgres://server/one").replace(
        "sqlite:///payment.db", "postgresql://server/one"
    )
    with pytest.raises(ConfigurationError, match="the same database"):
        load(write(tmp_path, text))


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """One error lists every mistake, the first by line being its own line."""
    text = GOOD.replace("8081", "-1").replace('"payment",', '"nobody",')
    with pytest.raises(ConfigurationError, match=r":6: .*; line 14: ") as caught:
        load(write(tmp_path, text))
    assert caught.value.line == 6


def test_databases_on_one_server_are_told_apart(tmp_path: Path) -> None:
    """Two databases of one server are two; the same one with another user is one."""
    text = GOOD.replace("sqlite:///order.db", "postgresql://a:x@host/order")
    load(write(tmp_path, text.replace("sqlite:///payment.db", "postgresql://a:x@host/payment")))
    with pytest.raises(ConfigurationError, match="the same database"):
        load(write(tmp_path, text.replace("sqlite:///payment.db", "postgresql://b:y@HOST/order")))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"a = 1\nb = '\xff'\n", 2),
        (b"x = [\n1,\n", 2),
        (b"a" * (MAX_FILE_SIZE + 1), None),
        (b"a = " + b"[" * 100_000, None),
        (b"a = " + b"1" * 5_000, None),
    ],
)
def test_unreadable_file(tmp_path: Path, content: bytes, line: int | None) -> None:
    """A file that is not UTF-8, not whole, too large or hostile is refused with an error of ours."""
    with pytest.raises(ConfigurationError) as caught:
        load(write(tmp_path, content))
    assert caught.value.line == line


def test_missing_file(tmp_path: Path) -> None:
    """A file that does not exist is an error that names it."""
    with pytest.raises(ConfigurationError, match=r"nothing\.toml: cannot be read"):
        load(tmp_path / "nothing.toml")


def test_find_looks_upwards(tmp_path: Path) -> None:
    """The nearest skerry.toml counts, in the folder itself or further up."""
    file = write(tmp_path, GOOD)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find(inner) == file.resolve()
    nearer = write(tmp_path / "a", GOOD)
    assert find(inner) == nearer.resolve()
