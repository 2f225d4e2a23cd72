"""`skerry new`: what it makes is whole and clean, and what it is not sure of it leaves alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from new_systems import BOUND, ROOT, replace, skerry, state

from skerry.deploy.templates import new_service, new_system
from skerry.errors import ConfigurationError
from skerry.gateway import reading
from skerry.topology import load

TOOLS = Path(sys.executable).parent
LONGEST = "a" + "-b2c" * 9 + "-de"


def clean(folder: Path, *command: str) -> None:
    tool = [str(TOOLS / command[0]), *command[1:]]
    done = subprocess.run(tool, cwd=folder, capture_output=True, text=True, check=False, timeout=BOUND * 2)
    assert done.returncode == 0, (command, done.stdout, done.stderr)


def test_what_is_made_is_clean_for_ruff_and_mypy_whatever_its_names(tmp_path: Path) -> None:
    """Names of one letter and of forty, and a description in another language: formatted, linted and strictly typed."""
    assert len(LONGEST) == 40
    made = new_system(tmp_path, LONGEST, {"description": "für alle, was schön ist", "service": "x"}, defaults=True)
    new_service(made.folder / "skerry.toml", LONGEST, {"route": "/api/" + "r" * 40}, defaults=True)
    # the longest names that let a line of code be as it is, and one more
    new_service(made.folder / "skerry.toml", "border7", {}, defaults=True)
    new_service(made.folder / "skerry.toml", "border-8", {}, defaults=True)
    clean(made.folder, "ruff", "check", "--no-cache", ".")
    clean(made.folder, "ruff", "format", "--no-cache", "--check", ".")
    clean(made.folder, "mypy", "--cache-dir", str(tmp_path / "cache"), ".")
    system = load(made.folder / "skerry.toml")
    assert list(system.services) == ["x", LONGEST, "border7", "border-8"]
    assert reading.read(made.folder / "gateway.yaml").called == {"x", LONGEST} == set(system.gateway.calls)


def test_answers_are_told_once_and_get_where_they_belong(tmp_path: Path) -> None:
    """--data answers single questions, --defaults the others; the result is told as JSON, with every file."""
    words = [
        "--defaults",
        "--data",
        "service=stock",
        "--data",
        "port=9090",
        "--data",
        "description=All we have.",
        "-o",
        "json",
    ]
    done = skerry(tmp_path, "new", "system", "shop", *words)
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert Path(told["folder"]) == tmp_path / "shop"
    assert set(told["files"]) == set(state(tmp_path / "shop"))
    system = load(tmp_path / "shop" / "skerry.toml")
    assert (system.name, system.gateway.port, list(system.services)) == ("shop", 9090, ["stock"])
    about = (tmp_path / "shop" / "README.md").read_text()
    assert "All we have.\n" in about
    assert "curl -s http://127.0.0.1:9090/api/stock\n```\n\n## The environment" in about
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shop"]


def test_with_any_free_port_nobody_is_sent_to_port_0(tmp_path: Path) -> None:
    """What the README has to copy says where the port is told."""
    made = skerry(tmp_path, "new", "system", "shop", "--defaults", "--data", "port=0")
    assert made.exit_code == 0, made.stderr
    about = (tmp_path / "shop" / "README.md").read_text()
    assert "http://127.0.0.1:PORT/api/notes" in about
    assert "`PORT` is the one that `skerry run` tells" in about


@pytest.mark.parametrize("name", ["../x", "a b", "Ünï", "class", "a" * 200, "-rf", "/tmp/x", ""])
def test_a_hostile_name_makes_nothing(name: str, demo: Path, tmp_path: Path) -> None:
    """One clear line on standard error, no stack trace, and not a file more or less."""
    before = state(tmp_path)
    for kind in ("system", "service"):
        for words in (["--", name], [name]) if name == "-rf" else ([name],):
            done = skerry(demo, "new", kind, "--defaults", *words)
            assert done.exit_code in {1, 2}
            assert "Traceback" not in done.stderr
            assert "is no name for a" in done.stderr or "No such option" in done.stderr
    assert state(tmp_path) == before


def test_what_exists_is_never_overwritten(tmp_path: Path) -> None:
    """A folder, an empty one, a file, and a link to nowhere: each stays what it was."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine").write_text("mine")
    (tmp_path / "c").write_text("mine")
    (tmp_path / "d").symlink_to("nowhere")
    for name in "abcd":
        with pytest.raises(ConfigurationError, match=f"there is something called {name} in .* already"):
            new_system(tmp_path, name, {}, defaults=True)
    assert state(tmp_path) == {"b/mine": b"mine", "c": b"mine"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c", "d"]


def test_without_a_terminal_questions_are_an_error(tmp_path: Path) -> None:
    """It says what to give instead, and nothing is made."""
    done = skerry(tmp_path, "new", "system", "demo")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        "error: there is no terminal to ask on: give --defaults, and --data NAME=VALUE for what should differ\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("prt=1", 'answers no question; did you mean "port"?'),
        ("port=99999", "is no port"),
        ("service=json", "Python has a module json already"),
        ("service=demo/x", "is no name for a service"),
        ('description="; import os; "', "a description is one line"),
        ("name=other", "answers no question"),
    ],
)
def test_a_wrong_answer_makes_nothing(data: str, message: str, tmp_path: Path) -> None:
    """It is looked at before anything is rendered."""
    done = skerry(tmp_path, "new", "system", "demo", "--defaults", "--data", data)
    assert (done.exit_code, done.stdout, list(tmp_path.iterdir())) == (1, "", [])
    assert message in done.stderr


def test_a_service_is_added_and_nothing_a_person_wrote_is_lost(demo: Path) -> None:
    """Comments, order and the rights of files stay; ends of lines, too."""
    file = demo / "skerry.toml"
    text = "# mine\r\n" + file.read_text().replace("\n", "\r\n") + "# the end\r\n"
    file.write_bytes(text.encode())
    file.chmod(0o600)
    done = skerry(
        demo / "tests", "new", "service", "stock-room", "--defaults", "--data", "route=/api/stock", "-o", "json"
    )
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["changed"] == ["gateway.yaml", "skerry.toml"]
    assert "stock_room/app.py" in told["files"]
    assert "tests/test_stock_room.py" in told["files"]
    after = file.read_bytes().decode()
    assert after.startswith(text.replace('calls = ["notes"]', 'calls = ["notes", "stock-room"]'))
    assert after.count("\r\n") == after.count("\n")
    assert file.stat().st_mode & 0o777 == 0o600
    assert load(file).services["stock-room"].app == "stock_room.app:service"
    assert not list(demo.glob(".*.new"))


def test_a_service_is_added_to_a_system_that_grew_by_hand(tmp_path: Path) -> None:
    """The shop's files, with lists on several lines and comments between them: lines are added, one is changed, none is lost."""
    for name in ("skerry.toml", "gateway.yaml"):
        shutil.copy(ROOT / "examples" / "shop" / name, tmp_path)
    before = {name: (tmp_path / name).read_text() for name in ("skerry.toml", "gateway.yaml")}
    made = new_service(tmp_path / "skerry.toml", "returns", {"route": "/api/returns"}, defaults=True)
    assert [str(path) for path in made.changed] == ["gateway.yaml", "skerry.toml"]
    gone = {
        name: set(text.splitlines()) - set((tmp_path / name).read_text().splitlines()) for name, text in before.items()
    }
    assert gone["gateway.yaml"] == set()
    assert all(line.startswith("calls = ") for line in gone["skerry.toml"])
    assert len(gone["skerry.toml"]) == 1
    system = load(tmp_path / "skerry.toml")
    assert system.topics["shop.returns.added"].owner == "returns"
    assert reading.read(tmp_path / "gateway.yaml").called == set(system.gateway.calls)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("notes", [], 'there is a service "notes" in this system already'),
        ("gateway", [], "the gateway's own process"),
        ("stock", ["route=/api/notes"], "/api/notes"),
        ("stock", ["route=api"], "is no path for a route"),
        ("mine", [], "there is mine in"),
        ("also-mine", [], "there is tests/test_also_mine.py in"),
    ],
)
def test_a_service_that_does_not_fit_changes_nothing(name: str, data: list[str], message: str, demo: Path) -> None:
    """A name or a route that is taken, and files that are there: the message says which."""
    (demo / "mine").mkdir()
    (demo / "tests" / "test_also_mine.py").write_text("mine")
    before = state(demo)
    words = [word for pair in data for word in ("--data", pair)]
    done = skerry(demo, "new", "service", name, "--defaults", *words)
    assert done.exit_code == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert state(demo) == before


def test_a_system_file_that_cannot_be_added_to_stays_as_it_is(demo: Path) -> None:
    """A table in braces is closed: the message has the lines to add by hand, and no file is new."""
    file = demo / "skerry.toml"
    text = file.read_text()
    start = text.index("[services.notes]")
    file.write_text(
        'services = { notes = { app = "notes.app:service" } }\n' + text[:start].replace("[topics", "# [topics")
    )
    replace(file, 'owner = "notes"\ndescription = "an entry was added"\n', "")
    before = state(demo)
    done = skerry(demo, "new", "service", "stock", "--defaults")
    assert done.exit_code == 1
    assert "add it yourself" in done.stderr
    assert '[services.stock]\napp = "stock.app:service"' in done.stderr
    assert state(demo) == before


def test_a_service_needs_a_system(tmp_path: Path) -> None:
    """Outside of one it says so."""
    done = skerry(tmp_path, "new", "service", "stock", "--defaults")
    assert (done.exit_code, list(tmp_path.iterdir())) == (1, [])
    assert "there is no skerry.toml in this folder or above it" in done.stderr


def test_without_git_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """copier asks git about every template: it is missed in one line."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    done = skerry(tmp_path, "new", "system", "demo", "--defaults")
    assert (done.exit_code, list(tmp_path.iterdir())) == (1, [])
    assert done.stderr == "error: templates need git, and there is none on the path\n"


def test_make_says_what_it_misses(demo: Path) -> None:
    """Without an environment that has skerry it is one clear line; with one beside the system, that is taken."""
    environ = {"PATH": "/usr/bin:/bin"}
    command = ["make", "--dry-run", "test"]
    done = subprocess.run(command, cwd=demo, env=environ, capture_output=True, text=True, check=False, timeout=BOUND)
    assert done.returncode == 2
    assert "there is no skerry here: activate the environment that has it" in done.stderr
    (demo / ".venv" / "bin").mkdir(parents=True)
    (demo / ".venv" / "bin" / "python").touch()
    done = subprocess.run(command, cwd=demo, env=environ, capture_output=True, text=True, check=False, timeout=BOUND)
    assert done.stdout == '".venv/bin/python" -m pytest -q \n'


def test_wrong_usage_is_told(tmp_path: Path) -> None:
    """Nothing to make, and two things at once."""
    for words, message in (
        ([], "say what to make"),
        (["--update", "system", "x"], "--update is for a system that is there"),
        (["-o", "json", "system", "x"], "--file and -o go behind system, not before it"),
    ):
        done = skerry(tmp_path, "new", *words)
        assert done.exit_code == 2
        assert message in done.stderr
