"""Each fenced block of the documentation is run by exactly one test, as it stands: only the port and the folder are another.

Python blocks are run by Sybil (see the root's conftest.py), all others by a test of this file that says `@runs(page, languages)`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from installed import offline
from pages import BLOCKS, CLAIMS, PAGES, ROOT, Block, blocks_of, runs
from patience import run_patiently
from peers import answers, listening, refusing_url, reply
from terminal import BOUND, commands, terminal

from skerry.cli.demo import demo
from skerry.client import ServiceClient
from skerry.deploy import read_dotenv
from skerry.gateway import kubernetes, reading
from skerry.gateway.engine import Worker
from skerry.topology import load

NOT_RUN = {
    ("SECURITY.md", "Trust boundaries"): "a drawing of who talks to whom",
    ("docs/explanation/events.md", "How an event travels"): "a drawing of the way of an event",
}
"""What nothing can run: page and heading of the block, and why."""


def test_every_block_is_run_by_exactly_one_test(request: pytest.FixtureRequest) -> None:
    """A block that no test runs, or two, is named here; so is an entry of NOT_RUN without its block."""
    pages = [path for path in request.config.getini("testpaths") if path != "tests"]
    listing = [sys.executable, "-m", "pytest", "--collect-only", "-q", *pages]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True, timeout=BOUND).stdout
    by_sybil = set(re.findall(r"^(\S+\.md)::line:(\d+),", listed, re.MULTILINE))
    claims = Counter(CLAIMS)
    claims.update(block for block in BLOCKS if (block.page, str(block.line)) in by_sybil)
    claims.update(block for block in BLOCKS if block.language == "text" and (block.page, block.heading) in NOT_RUN)
    wrong = [f"{block.page}:{block.line} ({block.language}): run by {claims[block]} tests" for block in BLOCKS]
    assert [line for line in wrong if not line.endswith(" 1 tests")] == []
    assert sum(claims.values()) == len(BLOCKS)
    assert len(NOT_RUN) == sum((block.page, block.heading) in NOT_RUN for block in BLOCKS)


@runs("docs/tutorial.md", "console", "sql", "yaml", "toml")
def test_the_tutorial_does_what_it_shows(shown: list[Block], tmp_path: Path) -> None:
    """In an empty folder, with nothing but what `pip install` brings, the inn runs from the files on the page."""
    [wanted] = re.findall(r"^\$ pip install '(.+?)'", "".join(block.text for block in shown), re.MULTILINE)
    with terminal(tmp_path, **offline(tmp_path, wanted)) as opened:
        for block in blocks_of("docs/tutorial.md"):
            if block.language == "console":
                for command, expected in commands(block.text):
                    opened.run(command, expected)
                    if command.startswith("pip install"):  # the console gets no PYTHONPATH
                        [packages] = (opened.here / ".venv" / "lib").glob("python3*/site-packages")
                        (packages / "found.pth").write_text(str(tmp_path / "dependencies"))
            elif block.file:
                (opened.here / block.file).parent.mkdir(exist_ok=True)
                (opened.here / block.file).write_text(block.text)
            else:
                assert block not in shown, f"line {block.line}: neither a command nor a file"
        assert opened.port
        where = opened.bash("python -c 'import skerry; print(skerry.__file__)'").stdout
        assert Path(where).is_relative_to(tmp_path / "inn" / ".venv")


@runs("docs/how-to/operate-the-shop.md", "console")
def test_the_commands_for_operating_the_shop_work(shown: list[Block], tmp_path: Path) -> None:
    """The shop runs as the page says, and each command for it succeeds; stopping comes last."""
    kept = shutil.ignore_patterns("var", "__pycache__")
    shutil.copytree(ROOT / "examples" / "shop", tmp_path / "examples" / "shop", ignore=kept)
    told = [entry for block in shown for entry in commands(block.text)]
    told.sort(key=lambda entry: entry[0] == "skerry stop")
    assert told[-1][0] == "skerry stop"
    with terminal(tmp_path) as opened:
        for command, expected in told:
            if command != "skerry demo":  # the test of README's two commands runs it
                opened.run(command, [line for line in expected if line != "..."])
        assert opened.system is None


@pytest.mark.demo
@runs("README.md", "console", "text")
def test_the_two_commands_do_what_the_readme_shows(shown: list[Block], tmp_path: Path) -> None:
    """`make demo` and `make test` are what they are said to be, and the demo prints what the page shows."""
    told, printed = shown
    assert [(command, made(command)[:3]) for command, _ in commands(told.text)] == [
        ("make demo", [".venv/bin/skerry", "demo"]),
        ("make test", [".venv/bin/python", "-m", "pytest"]),  # which is what runs this
    ]
    command, environ = [Path(sys.executable).parent / "skerry", "demo"], {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=BOUND)
    assert done.returncode == 0, (done.stdout, done.stderr)
    for line in printed.text.splitlines():
        pattern = re.sub(r"(\\ )+", r"\\s+", re.escape(line))
        if line.startswith("  at "):  # when a fault comes, and how much is open then, differs from run to run
            pattern = re.sub(r"\d+\\\.\d", r"\\d+\\.\\d", pattern)
            pattern = re.sub(r"\d+\\s\+sagas?\\s\+(was|were)", r"\\d+ sagas? (was|were)", pattern)
        assert re.search(rf"^\s*{pattern}(\s|$)", done.stdout, re.MULTILINE), (line, pattern, done.stdout)


def made(command: str) -> list[str]:
    """The last command that this `make` command would run, for people rather than in CI."""
    ours = ("MAKE", "MFLAGS", "ARGS", "CI")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    make = [*shlex.split(command), "--dry-run"]
    done = subprocess.run(make, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=BOUND)
    assert done.returncode == 0, (command, done.stderr)
    return shlex.split(done.stdout.strip().rpartition("\n")[2])


def test_every_make_command_in_a_text_exists() -> None:
    """`make` knows every target that a page names in passing, and the demo the options that go with it."""
    named = {found for page in PAGES for found in re.findall(r"`(make \w[^`]*)`", (ROOT / page).read_text())}
    assert {"make setup", "make test", "make lock"} <= named
    for command in sorted(named):
        run = made(command)
        if run[:2] == [".venv/bin/skerry", "demo"]:
            assert demo.make_context("demo", run[2:])


EVOLVING = """
[system]
name = "shop"
events = "sqlite:///events/"

[gateway]
spec = "gateway.yaml"
calls = ["order"]

[topics]
"shop.order.placed" = { owner = "order", description = "a customer placed an order" }

[services.order]
app = "order:service"
description = "orders"
publishes = ["shop.order.placed"]
"""


@runs("docs/how-to/evolve-an-event.md", "console")
def test_the_commands_that_guard_events_do_what_the_page_shows(shown: list[Block], tmp_path: Path) -> None:
    """Frozen as the page shows, committed as it says, and then checked against that commit."""
    declared = re.search(
        r"^class Placed\(.*?\n\n", (ROOT / "docs/how-to/evolve-an-event.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert declared
    events = "from skerry import DomainEvent, Service\n\n\n" + declared[0] + '\nservice = Service("order")\n'
    (tmp_path / "order.py").write_text(events)
    (tmp_path / "skerry.toml").write_text(EVOLVING)
    (tmp_path / "gateway.yaml").touch()
    commit = "git init -q -b main . && git add -A && git -c user.name=a -c user.email=a@b commit -q -m a"
    with terminal(tmp_path) as opened:
        for command, expected in (entry for block in shown for entry in commands(block.text)):
            if "--against" in command:
                assert opened.bash(f"{commit} && git update-ref refs/remotes/origin/main main").returncode == 0
            opened.run(command, expected)


@runs("docs/how-to/put-a-gateway-in-front.md", "yaml", "json")
def test_the_gateways_file_gives_the_answer_shown(shown: list[Block]) -> None:
    """A gateway of the page's YAML answers as its JSON says when payment is down and there is no shipment."""
    spec_shown, answer = shown
    order = json.dumps(json.loads(answer.text)["order"]).encode()
    behind = {
        "product": None,
        "order": answers(reply(200, order)),
        "order-next": None,
        "payment": None,
        "shipping": answers(reply(404)),
    }

    async def play() -> Any:
        async with AsyncExitStack() as stack:
            peers = {name: await stack.enter_async_context(listening(does)) for name, does in behind.items() if does}
            urls = {name: (peers[name].url if name in peers else refusing_url(),) for name in behind}
            spec = reading.parse(spec_shown.text.replace("port: 8080", "port: 0"))
            gateway = Worker(spec, urls)
            await gateway.start()
            client = ServiceClient("gateway", url=f"http://127.0.0.1:{gateway.ports['http']}")
            await stack.enter_async_context(client)
            told = (await client.get("/api/orders/42")).json()
            await gateway.drain(0.0)
            return told

    assert run_patiently(play()) == json.loads(answer.text)


@runs("docs/reference/gateway-api.md", "yaml")
def test_the_manifests_shown_are_read_and_written_again(shown: list[Block], tmp_path: Path) -> None:
    """The page's manifests have nothing wrong, and what is written of them says the same."""
    (tmp_path / "m.yaml").write_text(shown[0].text)
    spec = kubernetes.read(tmp_path / "m.yaml", backends=None)
    made = kubernetes.write(spec)
    (tmp_path / "again.yaml").write_text(made.text)
    again = kubernetes.read(tmp_path / "again.yaml", backends=None)
    assert made.lost == ()
    assert [(each.hostnames, each.matches, each.action, each.policy) for each in again.routes] == [
        (each.hostnames, each.matches, each.action, each.policy) for each in spec.routes
    ]


@runs("docs/reference/skerry-toml.md", "toml")
def test_the_system_file_is_valid(shown: list[Block], tmp_path: Path) -> None:
    """The reference's skerry.toml is read without an error, and every service in it is there."""
    (tmp_path / "gateway.yaml").touch()
    for block in shown:
        (tmp_path / "skerry.toml").write_text(block.text)
        assert load(tmp_path / "skerry.toml").services.keys() == tomllib.loads(block.text)["services"].keys()


@runs("docs/reference/skerry-toml.md", "ini")
def test_the_file_of_variables_is_read(shown: list[Block], tmp_path: Path) -> None:
    """The reference's `.env` holds what its comments say, line ends and signs and all."""
    [block] = shown
    (tmp_path / ".env").write_text(block.text)
    pem = "-----BEGIN-----\nthe next line\nand one more"
    assert read_dotenv(tmp_path) == {"GREETING": "hello there", "API_KEY": r"as it is: $5, \n and #", "PEM": pem}


@runs("docs/explanation/shop.md", "text")
def test_the_drawn_saga_is_the_shops(shown: list[Block], tmp_path: Path) -> None:
    """The steps of the drawing, and what stands below them to undo them, are those of the shop's saga, in their order."""
    [drawing] = shown
    forward, _, back = drawing.text.partition("\n")
    tell = "print(json.dumps([[s.name, s.kind, s.compensation and s.compensation.__name__] for s in fulfilment.steps]))"
    script = f"import json; from order.saga import fulfilment; {tell}"
    shop = ROOT / "examples" / "shop"
    addresses = {f"SKERRY_URL_{name.upper()}": "http://nobody" for name in load(shop / "skerry.toml").services}
    environ = {**os.environ, **addresses, "PYTHONPATH": str(shop), "SKERRY_DATA": str(tmp_path)}
    told = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, check=True, timeout=BOUND)
    steps = json.loads(told.stdout)
    assert forward == " ──> ".join(name + " (pivot)" * (kind == "pivot") for name, kind, _ in steps)
    assert re.findall(r"(?:^|<── )(\w+)", back, re.MULTILINE) == [undo for _, _, undo in steps if undo]


@runs("CONTRIBUTING.md", "text")
def test_the_drawn_layers_are_those_that_are_enforced(shown: list[Block]) -> None:
    """The layers of the drawing are import-linter's, as far as there is such a package yet."""
    [drawing] = shown
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    source = ROOT / "src" / "skerry"
    enforced = [
        [name for name in re.findall(r"\w+", layer) if (source / name).is_dir() or (source / f"{name}.py").exists()]
        for layer in contract["layers"]
    ]
    drawn = [re.findall(r"\w+", line[:36]) for line in drawing.text.splitlines()]
    assert drawn == [layer for layer in enforced if layer]
