"""The command line, apart from what needs a running system."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from skerry import __version__
from skerry.cli import main as main_module
from skerry.cli.main import VERBS, main
from skerry.cli.ps import table
from skerry.deploy import registry


@pytest.fixture(autouse=True)
def nothing_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def skerry(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_help_loads_nothing_heavy() -> None:
    """`skerry --help` imports click and our own few modules, nothing that takes time."""
    code = "import sys; from skerry.cli.main import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    text, _, modules = shown.rstrip().rpartition("\n")
    assert all(f"  {verb} " in text for verb in VERBS)
    heavy = {
        "asyncio",
        "pydantic",
        "rich",
        "aiohttp",
        "yaml",
        "uvicorn",
        "fastapi",
        "sqlite3",
        "tomllib",
        "skerry.deploy",
    }
    assert not heavy & set(modules.split())


def test_module_is_the_command() -> None:
    """`python -m skerry` is the command `skerry`."""
    shown = subprocess.run([sys.executable, "-m", "skerry", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"skerry {__version__}\n"


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "demo"])
def test_every_verb_has_help(verb: str) -> None:
    """Each verb that is listed can be loaded, and explains itself."""
    shown = skerry(verb, "--help")
    assert shown.exit_code == 0
    assert "-o [text|json" in shown.output


@pytest.mark.parametrize("arguments", [["ps"], ["hold", "x"], ["release", "x"], ["stop"]])
def test_nothing_runs(arguments: list[str]) -> None:
    """Asking about a system when none runs is one line on standard error and exit code 1."""
    shown = skerry(*arguments)
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr == "error: no system is running: start one with `skerry run`\n"


def test_run_without_a_system_file() -> None:
    """Without a system file the error tells how to name one, and where to begin."""
    shown = skerry("run")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert "--file" in shown.stderr
    assert "skerry demo" in shown.stderr
    assert shown.stderr.count("\n") == 1


def test_run_with_a_broken_system_file(tmp_path: Path) -> None:
    """A mistake in the system file is reported with its line."""
    (tmp_path / "skerry.toml").write_text("[system]\nname = \n")
    shown = skerry("run")
    assert shown.exit_code == 1
    assert shown.stderr.startswith(f"error: {tmp_path.resolve()}/skerry.toml:2: Invalid value")


def _system(folder: Path) -> Path:
    """A system without a gateway."""
    text = '[system]\nname = "shop"\n[services.order]\napp = "order:app"\n[services.payment]\napp = "payment:app"\n'
    (folder / "skerry.toml").write_text(text)
    return (folder / "skerry.toml").resolve()


@pytest.mark.parametrize("chosen", [["--port", "0"], ["--engine", "envoy"]], ids=lambda chosen: chosen[0])
def test_run_refuses_what_is_for_the_gateway_where_there_is_none(chosen: list[str], tmp_path: Path) -> None:
    """It is said whose the option is, and what a service has instead."""
    file = _system(tmp_path)
    shown = skerry("run", *chosen)
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr == (
        f"error: {file}: {chosen[0]} is for the gateway, and shop has none: a service has its port in [services.NAME]\n"
    )
    assert not (tmp_path / "var").exists()


def test_run_refuses_the_port_of_a_service_for_the_gateway(tmp_path: Path) -> None:
    """It would be told that somebody uses it, and that is the system itself."""
    file = _system(tmp_path)
    (tmp_path / "gateway.yaml").write_text("routes: []\n")
    file.write_text(f'{file.read_text()}port = 9001\n[gateway]\nspec = "gateway.yaml"\n')
    shown = skerry("run", "--port", "9001")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr == f"error: {file}: payment and the gateway have the same port 9001\n"


def test_run_refuses_variables_of_nobody(tmp_path: Path) -> None:
    """A file in the folder of `--env` that is named like no service would be left unread, and the service without a password."""
    _system(tmp_path)
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name in ("paiment.env", "order.env", "gateway.env", "README", ".gitignore"):
        (folder / name).write_text("")
    shown = skerry("run", "--env", "secrets")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr == (
        "error: secrets: holds gateway.env, paiment.env, but shop has no such service: it has order, payment\n"
    )
    assert not (tmp_path / "var").exists()


def test_run_refuses_a_folder_of_no_variables(tmp_path: Path) -> None:
    """Another folder was meant."""
    _system(tmp_path)
    (tmp_path / "secrets").mkdir()
    for folder in ("secrets", "secret"):
        shown = skerry("run", "--env", folder)
        assert (shown.exit_code, shown.stdout) == (1, "")
        assert f"there is no folder {folder} with files NAME.env" in shown.stderr


def test_what_the_system_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which nothing can be made is an error like any other, and names what could not be."""
    monkeypatch.chdir("/proc")
    shown = skerry("new", "system", "inn", "--defaults")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr.startswith("error: /proc/")
    assert shown.stderr.endswith(": No such file or directory\n")
    assert shown.stderr.count("\n") == 1


def test_an_output_that_takes_no_more_is_one_line(tmp_path: Path) -> None:
    """As a file on a full disk: a script sees by the exit status that what it has is not all."""
    _system(tmp_path)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "skerry", "config"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "error: what is written: No space left on device\n")


@pytest.mark.parametrize("arguments", [["run"], ["ps"], ["check"], ["doctor"]])
def test_a_folder_that_is_gone_is_said_to_be(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell may stand in a folder that somebody has removed."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    shown = skerry(*arguments)
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr == "error: the current folder: No such file or directory\n"


@pytest.mark.timeout(20)
def test_stop_waits_no_longer_than_it_was_told_to() -> None:
    """Also for a supervisor that hangs, and so does not even answer."""
    socket_path = registry.runtime_folder() / "abcdef012345.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(str(socket_path))
        silent.listen()
        entry = registry.Entry(file="/shop.toml", data="/var", pid=7, url="", name="shop", socket=str(socket_path))
        registry.write_entry(entry)
        shown = skerry("stop", "--timeout", "0.1")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr == "error: the running system does not answer: timed out\n"


@pytest.mark.parametrize("arguments", [["rnu"], ["run", "--port", "x"], ["hold"], ["ps", "-o", "xml"]])
def test_wrong_usage(arguments: list[str]) -> None:
    """Wrong usage is exit code 2."""
    assert skerry(*arguments).exit_code == 2


def process(name: str, state: str = "ready") -> dict[str, object]:
    return {
        "name": name,
        "pid": None if state == "held" else 7,
        "state": state,
        "ready": state == "ready",
        "url": "u",
        "restarts": 0,
        "since": 1.0,
        "reason": "exit code 1" if state == "crashed" else "",
        "retry_in": 2.5 if state == "crashed" else None,
    }


def test_ps_table_is_aligned() -> None:
    """Columns are as wide as their widest entry; a process that is down has a dash for its id."""
    assert table([process("order"), process("a", "held")]) == (
        "NAME   STATE  PID  RESTARTS  URL\norder  ready  7    0         u\na      held   -    0         u"
    )


def test_ps_says_why_and_when_again() -> None:
    """Of a process that crashed it tells how it ended and when the next try is."""
    assert table([process("order"), process("a", "crashed")]).splitlines()[1:] == [
        "order  ready    7    0         u",
        "a      crashed  7    0         u    exit code 1, again in 2.5 s",
    ]


def test_verbs_are_modules_of_their_name() -> None:
    """Each verb has a file of its own."""
    folder = Path(main_module.__file__).parent
    assert {f"{verb}.py" for verb in VERBS if verb != "demo"} <= {file.name for file in folder.iterdir()}
