"""`skerry events` as users run it: on a system of their own, in a git repository of their own, and on the shop."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from skerry.cli.main import main

ROOT = Path(__file__).parents[3]
SHOP = ROOT / "examples" / "shop"
BOUND = 120.0

SYSTEM = """
[system]
name = "inn"
events = "sqlite:///events/"

[topics]
"inn.room.booked" = { owner = "desk", description = "a guest booked" }

[services.desk]
app = "desk.app:service"
publishes = ["inn.room.booked"]

[services.kitchen]
app = "kitchen.app:service"
subscribes = ["inn.room.booked"]
"""
PUBLISHER = '''
from skerry import DomainEvent

print("modules may print")

class Booked(DomainEvent, type="inn.room.booked", version={version}, key="room"):
    """A guest booked."""
    room: str
    {fields}
{more}
'''
READER = """
from skerry import DomainEvent

class Booked(DomainEvent, type="inn.room.booked", version=1, key="room"):
    room: str
    guests: int = 1
"""
FILE = "schemas/inn.room.booked/1.json"


ELSEWHERE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_DIR": "/nowhere"}
"""As inside a hook of another repository, which must not matter."""


@dataclass(frozen=True, slots=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def events(folder: Path, *arguments: str) -> Done:
    """The command in this process; the services are imported in processes of their own all the same."""
    with contextlib.chdir(folder):
        done = CliRunner(env=ELSEWHERE).invoke(main, ["events", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return Done(done.exit_code, done.stdout, done.stderr)


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org", "-c", "commit.gpgsign=false"]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(
        ["git", *identity, *arguments], cwd=folder, env=environ, check=True, capture_output=True, timeout=BOUND
    )


class Inn:
    """A system of two services in a folder below the top of a repository."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.folder = top / "systems" / "inn"
        for name in ("desk", "kitchen"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "skerry.toml").write_text(SYSTEM)
        (self.folder / "kitchen" / "app.py").write_text(READER)
        self.publish()

    def publish(self, fields: str = "guests: int", *, version: int = 1, more: str = "") -> None:
        text = PUBLISHER.format(version=version, fields=fields, more=more)
        (self.folder / "desk" / "app.py").write_text(text)

    def commit(self) -> None:
        if not (self.top / ".git").exists():
            git(self.top, "init", "-b", "main")
        git(self.top, "add", ".")
        git(self.top, "commit", "-m", "as it is")


@pytest.fixture
def inn(tmp_path: Path) -> Inn:
    return Inn(tmp_path)


def test_from_the_first_freeze_to_a_change_that_breaks_a_reader(inn: Inn) -> None:
    """Freeze, commit, change: what breaks is told in one line each with status 1, and the compatible way passes."""
    first = events(inn.folder, "check")
    assert (first.returncode, "is not frozen" in first.stdout) == (1, True)
    assert "imported desk" in first.stderr
    frozen = events(inn.folder, "freeze")
    assert (frozen.returncode, frozen.stdout) == (0, f"froze {FILE}\ninn: 1 version of events frozen, 1 of them new\n")
    assert events(inn.folder, "check").returncode == 0
    inn.commit()
    good = events(inn.folder, "check", "--against", "main")
    expected = "inn: compared 1 frozen version and 1 reader with main: all is compatible\n"
    assert (good.returncode, good.stdout) == (0, expected)

    inn.publish("guests: str")
    bad = events(inn.folder / "desk", "check", "--against", "main", "-o", "json")
    body = json.loads(bad.stdout)
    assert (bad.returncode, body["ok"], body["against"]) == (1, False, "main")
    assert {(each["rule"], each["file"], each["field"]) for each in body["findings"]} == {("changed", FILE, "guests")}
    refused = events(inn.folder, "freeze")
    assert refused.returncode == 1
    assert "raise the event's version to 2" in refused.stderr

    (inn.folder / FILE).unlink()  # the way around: freeze it anew
    assert events(inn.folder, "freeze").returncode == 0
    caught = events(inn.folder, "check", "--against", "main")
    assert caught.returncode == 1
    assert f"{FILE}: guests: " in caught.stdout
    assert "kitchen cannot read" in caught.stdout


def test_a_new_version_beside_the_old_one(inn: Inn) -> None:
    """A second version with an upcaster and a new field passes against the revision; without the upcaster it does not."""
    assert events(inn.folder, "freeze").returncode == 0
    inn.commit()
    inn.publish("guests: int\n    dogs: int", version=2)
    assert events(inn.folder, "freeze", "-o", "json").stdout == (
        '{"new": ["schemas/inn.room.booked/2.json"], "refreshed": [], "unchanged": []}\n'
    )
    bad = events(inn.folder, "check", "--against", "HEAD")
    assert bad.returncode == 1
    assert "schemas/inn.room.booked/2.json: dogs: is not written" in bad.stdout
    assert "from_version=1" in bad.stdout
    assert events(inn.folder, "check", "--against", "HEAD", "--compatibility", "forward").returncode == 0
    upcaster = "Booked.upcast(from_version=1)(lambda old: old | {'dogs': 0})"
    inn.publish("guests: int\n    dogs: int", version=2, more=upcaster)
    good = events(inn.folder, "check", "--against", "HEAD")
    assert (good.returncode, good.stdout.count("\n")) == (0, 1)


def test_a_module_can_be_named_instead_of_the_services(inn: Inn) -> None:
    """Events that stand in a module of their own are found by its name; their topic's owner is theirs."""
    assert events(inn.folder, "freeze", "--module", "desk").returncode == 2  # a package that imports nothing
    assert events(inn.folder, "freeze", "--module", "desk.app").returncode == 0
    assert json.loads((inn.folder / FILE).read_text())["x-skerry"]["owner"] == "desk"
    assert events(inn.folder, "check", "--module", "desk.app").returncode == 0


def test_a_module_without_a_system_file(tmp_path: Path) -> None:
    """Without a system file the schemas stand in the current folder."""
    (tmp_path / "facts.py").write_text(PUBLISHER.format(version=1, fields="", more=""))
    assert events(tmp_path, "freeze", "--module", "facts").returncode == 0
    assert (tmp_path / FILE).is_file()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import nothing_of_this_name", "cannot import desk.app: ModuleNotFoundError"),
        ("raise SystemExit(3)", "cannot import desk.app: SystemExit: 3"),
        ("import os\nos._exit(7)", "ended with status 7"),
        ("import threading\nthreading.Event().wait()", "took longer than"),
        ("class", "SyntaxError"),
    ],
)
def test_a_service_that_cannot_be_imported_is_named(inn: Inn, code: str, words: str) -> None:
    """Whatever a module does wrong is told with the service's name and status 2; nothing hangs."""
    (inn.folder / "desk" / "app.py").write_text(code)
    limit = ["--timeout", "1"] if "longer" in words else []
    done = events(inn.folder, "check", *limit)
    assert (done.returncode, done.stdout) == (2, "")
    assert "desk: " in done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_revisions_and_places(inn: Inn) -> None:
    """No repository, no such revision, an option for one, no system file: one line and status 2."""
    assert events(inn.folder, "freeze").returncode == 0
    outside = events(inn.folder, "check", "--against", "main")
    assert (outside.returncode, "is in no git repository" in outside.stderr) == (2, True)
    inn.commit()
    for revision in ("nope", "--output=x", "main^{tree}", "a\nb", "x" * 300):
        done = events(inn.folder, "check", f"--against={revision}")
        assert (done.returncode, done.stdout) == (2, ""), revision
        assert "error: " in done.stderr
    assert events(inn.top, "check").returncode == 2
    assert events(inn.folder, "check", "--compatibility", "half").returncode == 2
    assert not (inn.top / "x").exists()


def test_a_revision_from_before_the_registry(inn: Inn) -> None:
    """Where nothing was frozen yet, everything is new."""
    inn.commit()
    assert events(inn.folder, "freeze").returncode == 0
    assert events(inn.folder, "check", "--against", "HEAD").returncode == 0


def test_checking_changes_nothing(inn: Inn) -> None:
    """Checking writes no file, neither data nor byte code nor into the repository."""
    assert events(inn.folder, "freeze").returncode == 0
    inn.commit()
    before = sorted(path for path in inn.top.rglob("*") if ".git" not in path.parts)
    head = sorted((inn.top / ".git").rglob("*"))
    assert events(inn.folder, "check", "--against", "HEAD").returncode == 0
    assert sorted(path for path in inn.top.rglob("*") if ".git" not in path.parts) == before
    assert sorted((inn.top / ".git").rglob("*")) == head


def test_the_shops_events_are_frozen_and_compatible() -> None:
    """Every event of the shop is frozen as its services publish it, and every reader reads it."""
    command = [sys.executable, "-m", "skerry", "events", "check", "-o", "json"]
    done = subprocess.run(command, cwd=SHOP, capture_output=True, text=True, timeout=BOUND, check=False)
    assert json.loads(done.stdout)["findings"] == []
    assert done.returncode == 0


def test_the_shop_is_exported(tmp_path: Path) -> None:
    """The shop's AsyncAPI document is the same in JSON and YAML, and has each topic."""
    told = events(SHOP, "asyncapi")
    document = json.loads(told.stdout)
    assert yaml.safe_load(events(SHOP, "asyncapi", "-o", "yaml").stdout) == document
    assert sorted(document["channels"]) == [path.name for path in sorted((SHOP / "schemas").iterdir())]
    shutil.copy(SHOP / "skerry.toml", tmp_path)
    shutil.copy(SHOP / "gateway.yaml", tmp_path)
    assert events(tmp_path, "asyncapi").returncode == 2  # nothing is frozen there
