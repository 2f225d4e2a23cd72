"""Where each value comes from is told, what a system is made of, and never a secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from skerry.cli.config import FIELDS
from skerry.cli.main import main
from skerry.settings import Settings

SYSTEM = """\
[system]
name = "shop"
events = "nats://user:pass@broker:4222"
[gateway]
spec = "gateway.yaml"
calls = ["order"]
[topics]
"shop.order.placed" = { owner = "order" }
[services.order]
app = "order.app:service"
database = "postgresql://order:hidden@db/order"
calls = ["stock"]
publishes = ["shop.order.placed"]
env = { SKERRY_LOG_LEVEL = "debug", API_TOKEN = "s3cret", GREETING = "hello" }
[services.stock]
app = "stock.app:service"
grpc = true
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "skerry.toml").write_text(SYSTEM)
    (tmp_path / "gateway.yaml").write_text("routes: []\n")
    return tmp_path / "skerry.toml"


def _config(file: Path, *words: str) -> str:
    done = CliRunner().invoke(main, ["config", *words, "--file", str(file)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_each_value_tells_where_it_comes_from(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system file before the environment, the environment before the default; addresses come from the supervisor."""
    monkeypatch.setenv("SKERRY_DRAIN", "33")
    monkeypatch.setenv("SKERRY_LOG_LEVEL", "error")
    monkeypatch.setenv("SKERRY_DATABASE", "sqlite:///not-inherited.db")
    found = {each["name"]: each for each in json.loads(_config(file, "order", "-o", "json"))["settings"]}
    assert (found["SKERRY_LOG_LEVEL"]["value"], found["SKERRY_LOG_LEVEL"]["origin"]) == ("debug", "the system file")
    assert (found["SKERRY_DRAIN"]["value"], found["SKERRY_DRAIN"]["origin"]) == ("33.0", "the environment")
    assert found["SKERRY_MIGRATE"]["origin"] == "default"
    assert found["SKERRY_DATABASE"] == {
        "name": "SKERRY_DATABASE",
        "value": "postgresql://***@db/order",
        "origin": "the system file",
    }
    assert found["SKERRY_PORT"]["origin"] == found["SKERRY_URL_STOCK_GRPC"]["origin"] == "the supervisor, at its start"
    assert found["GREETING"]["value"] == "hello"


def test_no_secret_is_shown(file: Path) -> None:
    """Neither of the system nor of a process, as text or as JSON."""
    shown = "".join(_config(file, *words, "-o", kind) for words in ([], ["order"]) for kind in ("text", "json"))
    assert not [secret for secret in ("s3cret", "hidden", "pass@") if secret in shown]


def test_the_system_is_shown_with_who_calls_whom(file: Path) -> None:
    """A service is told by whom it is called, too."""
    told = json.loads(_config(file, "-o", "json"))
    services = {each["name"]: each for each in told["services"]}
    assert services["order"]["callers"] == ["gateway"]
    assert services["stock"]["callers"] == ["order"]
    assert told["topics"][0]["owner"] == "order"
    assert "order.app:service" in _config(file)


def test_a_process_that_there_is_not_is_an_error(file: Path) -> None:
    """It names those that there are."""
    done = CliRunner().invoke(main, ["config", "oder", "--file", str(file)])
    assert done.exit_code == 1
    assert "order, stock, gateway" in done.stderr


def test_every_setting_is_there() -> None:
    """One that is added to the settings has to be shown as well, but for addresses, tokens and what only the mesh sets."""
    apart = {"urls", "otlp_token", "supervised", "socket", "grpc_socket"}
    assert set(Settings.__dataclass_fields__) - apart == set(FIELDS.values())


def test_what_the_file_of_variables_says_is_told_as_its_own(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the environment and the system file, above the default; what it holds beside settings is shown by name alone."""
    text = "SKERRY_DRAIN=7\nSKERRY_MIGRATE=never\nSKERRY_LOG_LEVEL=error\nSTRIPE='sk_live'\nGREETING=bye\nSKERRY_DATABASE=x\n"
    (file.parent / ".env").write_text(text)
    monkeypatch.setenv("SKERRY_DRAIN", "33")
    shown = _config(file, "order", "-o", "json")
    found = {each["name"]: (each["value"], each["origin"]) for each in json.loads(shown)["settings"]}
    assert found["SKERRY_DRAIN"] == ("33.0", "the environment")
    assert found["SKERRY_MIGRATE"] == ("never", ".env")
    assert found["SKERRY_LOG_LEVEL"] == ("debug", "the system file")
    assert found["GREETING"] == ("hello", "the system file")
    assert found["STRIPE"] == ("***", ".env")
    assert found["SKERRY_DATABASE"][1] == "the system file"
    assert "sk_live" not in shown + _config(file, "order")
