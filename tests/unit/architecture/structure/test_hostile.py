"""Files that were written to break a reader."""

from __future__ import annotations

import pytest

from skerry.architecture.code.extract import extract
from skerry.architecture.code.resolve import resolve


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    if a: g()\n" + "".join(f"    elif a{i}: g()\n" for i in range(2_000)),
        "x = " + "+".join(["'a'"] * 2_000),
        "x = " + "f(" * 150 + ")" * 150,
        "x = " + "a." * 3_000 + "b",
        "a = b.c\n" + "".join(f"x{i} = x{i + 1}.y\n" for i in range(500)) + "import pymongo\nx0.find()\n",
        "import a as a\nfrom . import app\nfrom .app import *\nclass A(A): ...\nclass B(C): ...\nclass C(B): ...\nB().x()\n",
        "".join(f"class A{i}({', '.join(f'A{j}' for j in range(i))}): ...\n" for i in range(60)) + "A59().x()\n",
        "def f(): f()\ndef g(): h()\ndef h(): g()\n",
        "x = '" + "SELECT * FROM a, " * 2_000 + "'",
        "@app.route('" + "<(" * 5_000 + "')\ndef f(): ...",
        "\x00\x01" * 100,
        "# skerry: allow[" * 100,
    ],
)
def test_no_content_raises(text: str) -> None:
    """Long chains, deep nesting, names and classes that go round in circles, bytes that are no text."""
    for path in ("app.py", "app.sql"):
        facts = {path: extract(path, text.encode())}
        assert resolve(facts).roles.keys() == {path}
