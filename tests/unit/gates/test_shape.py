"""The shape of the code base: sizes, public names, what an import costs."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import skerry

ROOT = Path(__file__).parents[3]
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "examples").rglob("*.py")])
MAX_FILE, MAX_FUNCTION = 600, 70
ONE_FRAME = {"src/skerry/resilience/policy.py": 87}
"""Around every call there is one frame, by hand: whatever is taken out of it costs each call a frame more (decision 27)."""
PACKAGES = sorted(m.name for m in pkgutil.walk_packages(skerry.__path__, "skerry.") if m.ispkg)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_and_no_function_is_too_long(path: Path) -> None:
    """A file has at most 600 lines, a function at most 70, with one exception."""
    text, most = path.read_text(), ONE_FRAME.get(path.relative_to(ROOT).as_posix(), MAX_FUNCTION)
    assert len(text.splitlines()) <= MAX_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < most, node.name


def test_no_method_is_there_that_cannot_be_called() -> None:
    """What plays a protocol has all of it: one that asks for less is narrower, and nobody raises `NotImplementedError`."""
    for path in SOURCES:
        raised = [ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Raise)]
        assert "raise NotImplementedError" not in raised, path


@pytest.mark.parametrize("name", ["skerry", *PACKAGES])
def test_public_names_are_listed_sorted_and_there(name: str) -> None:
    """Each package that exports names has a sorted `__all__` (constants, classes, functions), and each name exists."""
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])
    assert list(exported) == sorted(set(exported), key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    for public in exported:
        assert getattr(module, public) is not None


@pytest.mark.parametrize("name", ["skerry", *PACKAGES])
def test_every_public_name_has_a_docstring(name: str) -> None:
    """What is exported says what it promises."""
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", []):
        thing = getattr(module, public)
        if callable(thing) and getattr(thing, "__module__", "").startswith("skerry") and hasattr(thing, "__qualname__"):
            assert (thing.__doc__ or "").strip(), public


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import skerry", ["asyncio", "pydantic", "aiohttp", "uvicorn", "yaml", "click", "rich", "sqlite3"]),
        ("import skerry.resilience", ["pydantic", "aiohttp", "uvicorn", "yaml", "click", "rich", "sqlite3"]),
        ("from skerry.cli import main", ["asyncio", "pydantic", "aiohttp", "uvicorn", "yaml", "rich", "sqlite3"]),
        ("import skerry.deploy", ["pydantic", "aiohttp", "uvicorn", "yaml", "rich"]),
        ("import skerry.gateway.engine", ["pydantic", "aiohttp", "uvicorn", "httptools", "sqlite3", "click"]),
        ("import skerry.gateway.auth", ["pydantic", "aiohttp", "uvicorn", "sqlite3"]),
        ("from skerry.console import diagnose", ["pydantic", "starlette", "uvicorn", "google", "sqlite3"]),
    ],
)
def test_importing_a_part_loads_only_what_it_needs(statement: str, absent: list[str]) -> None:
    """Light parts stay light: no heavy package comes along."""
    program = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & set(absent)


HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""


def without(hidden: list[str], program: str) -> subprocess.CompletedProcess[str]:
    code = HIDE.format(hidden=set(hidden)) + program
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_resilience_works_without_any_dependency() -> None:
    """The policies need the standard library only."""
    done = without(
        ["pydantic", "aiohttp", "uvicorn", "uvloop", "httptools", "yaml", "rich", "click", "fastapi", "starlette"],
        "import asyncio\nfrom skerry import Policy, Retry\n"
        "async def f(): return 7\nprint(asyncio.run(Policy('x', retry=Retry(2)).call(f)))",
    )
    assert done.stdout.strip() == "7", done.stderr


@pytest.mark.parametrize(
    ("hidden", "statement", "extra"),
    [
        ("aiohttp", "from skerry import ServiceClient", "service"),
        ("uvicorn", "from skerry import Service", "service"),
        ("dns", "from skerry import ServiceClient; ServiceClient('stock', url='dns+http://stock')", "dns"),
        ("yaml", "import skerry.gateway", "gateway"),
        (
            "re2",
            "from skerry.gateway import reading; reading.parse('routes: [{path: {regex: /a}, service: a}]')",
            "gateway",
        ),
        ("jwt", "import skerry.gateway.auth", "gateway"),
        ("cryptography", "import skerry.gateway.auth", "gateway"),
        ("pydantic", "from skerry import DomainEvent", "events"),
        ("pydantic", "from skerry import Saga", "events"),
        ("grpc", "import skerry.client.grpc", "grpc"),
        ("grpc", "import skerry.service.grpc", "grpc"),
        ("starlette", "from skerry.console import create_app", "console"),
        ("uvicorn", "from skerry.console import serve", "console"),
        ("copier", "import skerry.deploy.templates", "new"),
        ("yaml", "import skerry.deploy.templates", "new"),
    ],
)
def test_a_missing_package_names_the_extra_to_install(hidden: str, statement: str, extra: str) -> None:
    """Without an optional package the error says which extra brings it."""
    done = without([hidden], statement)
    assert "MissingExtra: " in done.stderr
    assert f"pip install 'skerry[{extra}]'" in done.stderr


def test_the_command_says_what_is_missing() -> None:
    """`skerry demo` without its packages is one clear line, not a stack trace."""
    done = without(["rich"], "import sys\nfrom skerry.cli.main import main\nsys.argv = ['skerry', 'demo']\nmain()")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "pip install" in done.stderr
