"""A repository that wants to be run is read, and nothing of it is run, followed or written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from armed_repositories import armed, state, system, with_ways_out

from skerry.architecture.analyse import analyse, findings
from skerry.architecture.rules import Verdict

SECRET = "POSTGRES_PASSWORD=open-sesame\n"


def shared(path: Path, cache: Path | None = None) -> bool:
    found = findings(analyse(path, cache=cache))
    assert all(each.key != "failed" for each in found)
    return any(each.rule == "shared-database" and each.verdict is Verdict.VIOLATION for each in found)


def test_nothing_of_the_repository_is_run_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its Python, its hooks, filters, drivers, monitors, aliases, remotes nor its submodules; also from within it."""
    root = armed(tmp_path / "tree", tmp_path / "canary")
    before = state(root)
    monkeypatch.chdir(root)
    assert shared(root, tmp_path / "cache")
    assert shared(Path(), tmp_path / "cache")
    assert shared(root / ".git")
    assert not (tmp_path / "canary").exists()
    assert state(root) == before


def test_no_way_out_is_taken(tmp_path: Path) -> None:
    """Links out of the tree and in circles, FIFOs and sockets: all are named, none is read, nothing waits."""
    (tmp_path / "outside").mkdir()
    secret = tmp_path / "outside" / "secret.py"
    secret.write_text(SECRET)
    root = with_ways_out(system(tmp_path / "tree"), secret)
    before = state(tmp_path)
    subject = analyse(root)
    assert shared(root)
    assert "open-sesame" not in repr((subject.code, subject.model, findings(subject)))
    named = {each.file: each.why for each in subject.skipped}
    assert {"a/models.py", "a/fifo.py", "b/socket.py", "self.py", "docker-compose.yml", "k8s.yaml"} <= named.keys()
    assert state(tmp_path) == before


@pytest.mark.parametrize("name", ["objects", "HEAD", "refs", "packed-refs", "config", "commondir", "shallow"])
def test_a_repository_whose_parts_lead_elsewhere_has_no_history(tmp_path: Path, name: str) -> None:
    """What git keeps may be a link, a FIFO or nonsense, too: then there is no history, and the work tree is read."""
    root = armed(tmp_path / "tree", tmp_path / "canary")
    part = root / ".git" / name
    if part.exists():
        part.rename(tmp_path / "moved")
    os.mkfifo(part)
    assert shared(root)
    part.unlink()
    part.symlink_to("/dev/zero")
    assert shared(root)
    part.unlink()
    part.write_bytes(b"\xff\0\n" * 1_000)
    assert shared(root)
    assert not (tmp_path / "canary").exists()


@pytest.mark.strace
@pytest.mark.parametrize(
    ("verb", "kind"),
    [("check", "tree"), ("check", "tree/.git"), ("map", "tree"), ("split", "tree"), ("decide", "tree")],
)
def test_no_program_but_git_is_started_and_no_socket_is_opened(tmp_path: Path, verb: str, kind: str) -> None:
    """The system's own record of a run of each verb: what was executed, what was connected, what was opened to be written."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.py").write_text(SECRET)
    root = with_ways_out(armed(tmp_path / "tree", tmp_path / "canary"), tmp_path / "outside" / "secret.py")
    record = tmp_path / "record"
    calls = "execve,execveat,socket,connect,openat,open,creat,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,symlink"
    command = [os.fspath(Path(sys.executable).with_name("skerry")), verb, os.fspath(tmp_path / kind)]
    ran = subprocess.run(
        ["strace", "-f", "-y", "-qq", "-o", record, "-e", f"trace={calls}", *command],
        cwd=root,
        env={**os.environ, "XDG_CACHE_HOME": os.fspath(tmp_path / "cache")},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in ran.stderr
    assert ran.returncode == (1 if verb == "check" else 0), ran.stderr
    lines = [line for line in record.read_text().splitlines() if "= -1 " not in line]
    programs = {Path(found[1]).name for line in lines if (found := re.search(r'execve\("([^"]+)"', line))}
    assert programs - {"skerry"} == {"git"}
    assert not [line for line in lines if re.search(r"\b(?:socket|connect)\(", line)]
    below = re.escape(os.fspath(root))
    written = [line for line in lines if re.search(r"O_WRONLY|O_RDWR|O_CREAT", line)]
    assert not [line for line in written if re.search(rf"= \d+<{below}", line)]
    changed = [line for line in lines if re.search(r"\b(?:unlink|rename|mkdir|symlink|creat)\w*\(", line)]
    assert not [line for line in changed if re.search(rf'(?:\(|AT_FDCWD<[^>]*>, )"(?:{below}|[^/])', line)]
    assert not [line for line in lines if os.fspath(tmp_path / "outside") in line]
    assert not (tmp_path / "canary").exists()
