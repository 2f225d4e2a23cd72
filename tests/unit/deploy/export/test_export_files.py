"""Compose, the chart, images and passwords of an export."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner
from small_system import TOML, small_system

from skerry.cli.export import export as command
from skerry.clock import Clock
from skerry.deploy import export
from skerry.errors import ConfigurationError

PUBLISHED = Path(__file__).with_name("published")
GOLDEN = Path(__file__).with_name("chart")


def _compose(folder: Path, text: str = TOML) -> dict[str, Any]:
    plan = export.plan_of(small_system(folder / "system", text))
    place = export.compose.Place.of(folder / "system" / "deploy", folder / "system")
    made = export.compose.files(plan, place, tag="1.2.3")
    found: dict[str, Any] = yaml.safe_load(made["compose.yaml"])
    return found


def test_compose_is_what_its_schema_takes(tmp_path: Path) -> None:
    """By the Compose Specification's own schema."""
    jsonschema.validate(_compose(tmp_path), json.loads((PUBLISHED / "compose-spec.json").read_text()))


def test_each_call_is_a_network_of_its_own(tmp_path: Path) -> None:
    """Two containers share a network only where one calls the other, or uses its store."""
    services = _compose(tmp_path)["services"]
    shared = {
        frozenset((one, other))
        for one in services
        for other in services
        if one < other and set(services[one]["networks"]) & set(services[other]["networks"])
    }
    expected = [
        ("gateway", "order"),
        ("order", "stock-room"),
        ("order", "order-database"),
        ("order", "order-migrate"),
        ("order-database", "order-migrate"),
        ("stock-room", "stock-room-database"),
        ("stock-room", "stock-room-migrate"),
        ("stock-room-database", "stock-room-migrate"),
        ("events", "order"),
        ("events", "mailer"),
        ("mailer", "order"),
    ]  # the last share the broker's
    assert shared == {frozenset(pair) for pair in expected}


def _service(name: str, *calls: str, database: bool = False) -> str:
    kept = f'database = "sqlite:///{name}.db"\n' if database else ""
    return f'\n[services.{name}]\napp = "{name.replace("-", "_")}.app:service"\n{kept}calls = {json.dumps(calls)}\n'


def test_names_that_read_alike_share_no_network(tmp_path: Path) -> None:
    """Neither one called `database` with the databases of its callers, nor `a-b` and `c` with `a` and `b-c`."""
    text = '[system]\nname = "odd"\n' + _service("order", "database", database=True) + _service("database")
    text += _service("a", "b-c") + _service("a-b", "c") + _service("b-c") + _service("c") + _service("outside")
    made = _compose(tmp_path, text)
    members: dict[str, set[str]] = {}
    for name, service in made["services"].items():
        for network in service["networks"]:
            members.setdefault(network, set()).add(name)
    pairs = [{"order", "database"}, {"a", "b-c"}, {"a-b", "c"}]
    whole = [*pairs, {"order", "order-database", "order-migrate"}, {"outside"}]
    assert sorted(map(sorted, members.values())) == sorted(map(sorted, whole))
    assert made["networks"]["outside"] == {}
    assert "outside" not in members


def test_only_the_gateway_is_seen_from_outside(tmp_path: Path) -> None:
    """One published port, and every network but the gateway's own leads nowhere."""
    made = _compose(tmp_path)
    assert {name for name, service in made["services"].items() if "ports" in service} == {"gateway"}
    assert made["services"]["gateway"]["ports"] == ["9000:8080"]
    assert [name for name, network in made["networks"].items() if not network.get("internal")] == ["outside"]


def test_a_service_waits_for_its_migration(tmp_path: Path) -> None:
    """What it stands on is there before it starts, and it never migrates by itself."""
    order = _compose(tmp_path)["services"]["order"]
    assert order["depends_on"] == {
        "order-migrate": {"condition": "service_completed_successfully"},
        "order-database": {"condition": "service_healthy"},
        "events": {"condition": "service_healthy"},
    }
    assert order["environment"]["SKERRY_MIGRATE"] == "never"
    assert order["build"] == {"context": "..", "dockerfile": "deploy/images/order.Dockerfile"}


def test_variables_reach_all_that_a_service_runs_as_they_are(tmp_path: Path) -> None:
    """Its migration imports the same code; Compose would fill in what begins with one dollar sign."""
    services = _compose(tmp_path, TOML.replace("{{ hello }}", "$5 for ${YOU}"))["services"]
    for name in ("order", "order-migrate"):
        assert services[name]["environment"]["GREETING"] == "$$5 for $${YOU}"


def test_who_drains_for_long_is_not_killed_before(tmp_path: Path) -> None:
    """By what the system file says of one service."""
    services = _compose(tmp_path, TOML.replace("env = {", 'env = { SKERRY_DRAIN = "60",'))["services"]
    assert services["order"]["stop_grace_period"] == "80s"
    assert services["mailer"]["stop_grace_period"] == "40s"


def test_images_are_slim_and_not_of_root(tmp_path: Path) -> None:
    """Each has only what it needs, runs as a user without rights, and leaves passwords outside."""
    made = export.images.files(export.plan_of(small_system(tmp_path)))
    order, gateway = made["images/order.Dockerfile"], made["images/gateway.Dockerfile"]
    assert "skerry[events,grpc,nats,postgres,service]==" in order
    assert "skerry[gateway]==" in gateway
    for name, text in made.items():
        if name.endswith(".Dockerfile"):
            assert re.search(r"^FROM python:3\.\d+-slim$", text, re.MULTILINE)
            assert text.index("USER 10001:10001") < text.index("CMD [")
            ignored = made[f"{name}.dockerignore"].splitlines()
            assert {"**/secrets", "**/*.env", "**/.git"} <= set(ignored)
    assert "requirements.txt" not in order
    (tmp_path / "requirements.txt").write_text("fastapi\n")
    again = export.images.files(export.plan_of(small_system(tmp_path)))
    assert "COPY requirements.txt" in again["images/order.Dockerfile"]


def test_the_chart_is_as_it_was_looked_at(tmp_path: Path) -> None:
    """Charts are not rendered here: each file is compared with one that was read."""
    plan = export.plan_of(small_system(tmp_path))
    made = {
        name.removeprefix("chart/"): text
        for name, text in export.helm.files(plan, tag="1.2.3").items()
        if name.startswith("chart/")
    }
    golden = {str(path.relative_to(GOLDEN)): path.read_text() for path in GOLDEN.rglob("*") if path.is_file()}
    assert made == golden


def test_templates_of_a_service_that_is_no_more_are_told_of(tmp_path: Path) -> None:
    """Helm installs whatever lies there; what may be somebody's own is not deleted."""
    out = str(tmp_path / "out")
    file = small_system(tmp_path).file
    first = CliRunner().invoke(command, ["helm", "--file", str(file), "--out", out], catch_exceptions=False)
    assert "unless it is yours" not in first.output
    file.write_text(TOML.partition("[services.mailer]")[0])
    then = CliRunner().invoke(command, ["helm", "--file", str(file), "--out", out], catch_exceptions=False)
    assert f"{out}/chart/templates/mailer.yaml is none of them" in then.output
    told = CliRunner().invoke(command, ["helm", "--file", str(file), "--out", out, "-o", "json"])
    assert json.loads(told.output)["others"] == [f"{out}/chart/templates/mailer.yaml"]


def test_what_looks_like_a_template_stays_what_it_is(tmp_path: Path) -> None:
    """A value with braces reaches the process as it is in the system file."""
    made = export.helm.files(export.plan_of(small_system(tmp_path)), tag="1")
    assert '{{ "{{" }} hello }}' in made["chart/templates/order.yaml"]


@pytest.mark.parametrize("platform", ["compose", "kubernetes", "helm"])
def test_passwords_are_made_once_and_stand_nowhere_else(tmp_path: Path, platform: str) -> None:
    """In files of their own that only the owner reads; a second export keeps them, and no other file has them."""
    system = small_system(tmp_path / "system")
    out = tmp_path / "system" / "deploy"
    arguments = [platform, "--file", str(system.file), "--out", str(out), "-o", "json"]
    first = CliRunner().invoke(command, arguments, catch_exceptions=False)
    told = json.loads(first.output)
    kept = {path.name: path.read_text() for path in (out / "secrets").glob("*.env")}
    assert {Path(path).name for path in told["secrets"]} == kept.keys()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (out / "secrets").glob("*.env")} == {0o600}
    passwords = re.findall(r"PASSWORD=(\S+)", "".join(kept.values()))
    assert len(set(passwords)) == 3
    assert not [path for path in told["files"] for secret in passwords if secret in Path(path).read_text()]
    assert (out / "secrets" / ".gitignore").read_text() == "*\n"
    again = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert json.loads(again.output)["secrets"] == []
    assert {path.name: path.read_text() for path in (out / "secrets").glob("*.env")} == kept


def test_a_service_reaches_its_database_by_the_password_that_this_has(tmp_path: Path) -> None:
    """One password on both sides, also when only one of the files was lost."""
    plan = export.plan_of(small_system(tmp_path))
    export.write(tmp_path / "out", {}, plan, clock=Clock())
    secrets = tmp_path / "out" / "secrets"
    (secrets / "order.env").unlink()
    export.write(tmp_path / "out", {}, plan, clock=Clock())
    (own,) = re.findall(r"POSTGRES_PASSWORD=(\S+)", (secrets / "order-database.env").read_text())
    assert f"postgresql://order:{own}@order-database:5432/order" in (secrets / "order.env").read_text()


@pytest.mark.parametrize("name", ["events", "order-database", "order-migrate"])
def test_names_that_are_added_cannot_be_taken(tmp_path: Path, name: str) -> None:
    """A service with the name of a database, a migration or the broker would be mixed up with it."""
    text = TOML + f'\n[services.{name}]\napp = "other.app:service"\n'
    with pytest.raises(ConfigurationError, match=name):
        export.plan_of(small_system(tmp_path, text))


def test_a_route_to_whom_the_gateway_does_not_call_is_refused(tmp_path: Path) -> None:
    """It works with `skerry run`, and would find nobody where only the calls of the topology are let through."""
    system = small_system(tmp_path)
    spec = tmp_path / "gateway.yaml"
    spec.write_text("routes:\n  - {path: /orders, service: order}\n  - {path: /mail, service: mailer}\n")
    with pytest.raises(
        ConfigurationError, match=r"gateway.yaml: has routes to mailer, .* add them to calls in \[gateway\]"
    ):
        export.plan_of(system)
    spec.write_text(spec.read_text() + "services:\n  mailer: {urls: [http://mail.example]}\n")
    assert export.plan_of(system).gateway is not None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("sqlite:///stock.db", "mongodb://server/stock", "stock-room has a mongodb: database, .* PostgreSQL"),
        ("sqlite:///stock.db", "mongodb+srv://server/stock", r"stock-room has a mongodb\+srv: database, .* PostgreSQL"),
        ("sqlite:///events/", "kafka://server", "events go through kafka:, .* NATS"),
        ("sqlite:///events/", "amqps://server", "events go through amqps:, .* NATS"),
    ],
)
def test_another_engine_than_an_export_brings_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    """The exported system would be on one that its file does not name."""
    system = small_system(tmp_path, TOML.replace(old, new))
    with pytest.raises(ConfigurationError, match=said) as caught:
        export.plan_of(system)
    assert caught.value.source == str(system.file)


def test_addresses_of_engines_that_an_export_brings_are_taken(tmp_path: Path) -> None:
    """Files become servers of its own, as do servers that run elsewhere."""
    text = TOML.replace("sqlite:///events/", "nats://server").replace("sqlite:///stock.db", "postgres://server/stock")
    assert export.plan_of(small_system(tmp_path, text)).events


@pytest.mark.parametrize("platform", ["compose", "kubernetes", "helm"])
def test_the_folder_of_the_system_itself_is_left_alone(tmp_path: Path, platform: str) -> None:
    """Its `.env` and its secrets are those of `skerry run`, and an export has files of the same names."""
    system = small_system(tmp_path)
    (tmp_path / ".env").write_text("API_KEY=precious\n")
    before = sorted(tmp_path.iterdir())
    refused = CliRunner().invoke(command, [platform, "--file", str(system.file), "--out", str(tmp_path)])
    assert isinstance(refused.exception, ConfigurationError)
    assert str(refused.exception).startswith(f"{tmp_path} is the system's own folder")
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / ".env").read_text() == "API_KEY=precious\n"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--tag", "a b"),
        ("--tag", ""),
        ("--registry", "https://registry.example"),
        ("--registry", "registry.example/"),
        ("--registry", "registry.example/Shop"),
        ("--gateway-class", "Envoy Gateway"),
        ("--gateway-class", "eg."),
    ],
)
def test_a_name_that_is_none_is_refused(tmp_path: Path, option: str, value: str) -> None:
    """Before anything is written that no platform would take."""
    system = small_system(tmp_path / "system")
    arguments = ["kubernetes", "--file", str(system.file), "--out", str(tmp_path / "out"), option, value]
    assert CliRunner().invoke(command, arguments).exit_code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("registry", ["localhost:5000", "registry.example/shop/a_b", "Registry.Example:443/x-y"])
def test_a_registry_may_have_a_port_and_a_path(tmp_path: Path, registry: str) -> None:
    """It stands before the names of the images."""
    system = small_system(tmp_path / "system")
    arguments = ["kubernetes", "--file", str(system.file), "--out", str(tmp_path / "out"), "--registry", registry]
    assert CliRunner().invoke(command, [*arguments, "--gateway-class", "eg.example"]).exit_code == 0
    assert f"image: {registry}/corner-shop-order:0.1.0" in (tmp_path / "out" / "kubernetes" / "order.yaml").read_text()
