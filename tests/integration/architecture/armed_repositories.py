"""Repositories that want to be run, left or never be finished by whoever reads them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import subprocess
from pathlib import Path

PYTHON_THAT_RUNS = (
    "setup.py",
    "conftest.py",
    "sitecustomize.py",
    "usercustomize.py",
    "yaml.py",
    "click.py",
    "ast.py",
    "json.py",
)
HOOKS = (
    "pre-auto-gc",
    "post-checkout",
    "post-index-change",
    "fsmonitor-watchman",
    "reference-transaction",
    "post-commit",
)
COMPOSE = """services:
  a:
    build: ./a
    environment: {DATABASE_URL: "postgresql://u:p@db:5432/shop", B_URL: "http://b:80"}
  b:
    build: ./b
    environment: {DATABASE_URL: "postgresql://u:p@db:5432/shop"}
  db:
    image: postgres:16
"""
APP = """import os
import requests

URL = os.environ["DATABASE_URL"]

def ask():
    return requests.get(os.environ["B_URL"] + "/things")
"""


def system(root: Path) -> Path:
    """Two services on one database, so that something must be found."""
    for name in "ab":
        (root / name).mkdir(parents=True)
        (root / name / "Dockerfile").write_text("FROM python:3.12-slim\nCOPY . /srv\nCMD python app.py\n")
        (root / name / "app.py").write_text(APP)
    (root / "compose.yaml").write_text(COMPOSE)
    return root


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org", "-c", "init.defaultBranch=main")
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", *identity, *arguments], cwd=folder, env=env, check=True, capture_output=True)


def armed(root: Path, canary: Path) -> Path:
    """A repository in which everything that can be run when somebody looks at it makes the file `canary`."""
    system(root)
    for name in PYTHON_THAT_RUNS:
        for folder in (root, root / "a"):
            (folder / name).write_text(f"open({os.fspath(canary)!r}, 'w')\n")
    (root / "evil.pth").write_text(f"import os; open({os.fspath(canary)!r}, 'w')\n")
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "setup"\nbackend-path = ["."]\n'
    )
    (root / ".gitattributes").write_text("* filter=evil diff=evil merge=evil ident\n")
    (root / ".gitmodules").write_text(
        '[submodule "x"]\n\tpath = x\n\turl = ext::sh -c "touch canary"\n\tupdate = !touch canary\n'
    )
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "All of it")
    (root / "a" / "app.py").write_text(APP + "\n")
    git(root, "commit", "-qam", "A change")
    _arm_git(root, f"touch '{canary}'")
    return root


def _arm_git(root: Path, touch: str) -> None:
    script = root / "evil.sh"
    script.write_text(f"#!/bin/sh\n{touch}\ncat\n")
    script.chmod(0o755)
    for name in HOOKS:
        hook = root / ".git" / "hooks" / name
        hook.write_text(f"#!/bin/sh\n{touch}\n")
        hook.chmod(0o755)
    run = os.fspath(script)
    (root / ".git" / "included").write_text(f"[core]\n\tfsmonitor = {run}\n[log]\n\tshowSignature = true\n")
    with (root / ".git" / "config").open("a") as config:
        config.write(
            f"[core]\n\tfsmonitor = {run}\n\tpager = {run}\n\teditor = {run}\n\tsshCommand = {run}\n\taskPass = {run}\n"
            f"\talternateRefsCommand = {run}\n\tgitProxy = {run}\n\thooksPath = .git/hooks\n\tworktree = /\n"
            f'[include]\n\tpath = included\n[diff]\n\texternal = {run}\n[diff "evil"]\n\ttextconv = {run}\n\tcommand = {run}\n'
            f'[filter "evil"]\n\tclean = {run}\n\tsmudge = {run}\n\tprocess = {run}\n\trequired = true\n'
            f"[gpg]\n\tprogram = {run}\n[log]\n\tshowSignature = true\n[credential]\n\thelper = {run}\n"
            f"[alias]\n\tlog = !{run}\n\tls-tree = !{run}\n\tcat-file = !{run}\n[pager]\n\tlog = {run}\n"
            f'[remote "origin"]\n\turl = ext::{run}\n\tpromisor = true\n\tuploadpack = {run}\n\tvcs = evil\n'
            f'[extensions]\n\tpartialClone = origin\n[protocol "ext"]\n\tallow = always\n'
            f"[uploadpack]\n\tpackObjectsHook = {run}\n"
        )


def with_ways_out(root: Path, secret: Path) -> Path:
    """Links to `secret` and its folder, links in circles, FIFOs and a socket, where code and manifests are looked for."""
    for name in (
        "a/models.py",
        "docker-compose.yml",
        "b/requirements.txt",
        ".env",
        "skerry.toml",
        "schema.sql",
    ):
        (root / name).symlink_to(secret)
    (root / "c").symlink_to(secret.parent)
    (root / "loop").symlink_to(root)
    (root / "self.py").symlink_to(root / "self.py")
    for name in ("a/fifo.py", "k8s.yaml", "b/pyproject.toml"):
        os.mkfifo(root / name)
    with socket.socket(socket.AF_UNIX) as there, contextlib.chdir(root):  # the name of a socket has few characters
        there.bind("b/socket.py")
    return root


def state(root: Path) -> dict[str, tuple[int, int, str]]:
    """Everything below `root`, so that any change can be seen: kind and rights, time, content."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = ""
        if stat.S_ISREG(status.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        elif stat.S_ISLNK(status.st_mode):
            content = os.fspath(path.readlink())
        found[os.fspath(path.relative_to(root))] = (status.st_mode, status.st_mtime_ns, content)
    return found
