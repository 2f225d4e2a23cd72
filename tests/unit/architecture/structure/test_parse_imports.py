"""Imports at the top of a module, without understanding the rest of it."""

from __future__ import annotations

import pytest

from skerry.architecture.code.parse import parse, parse_imports
from skerry.architecture.code.structure import imports

TEXTS = [
    "import a\nimport b.c as d, e\nfrom f import g\nfrom . import h\nfrom ..i import (j,\n  k,  # why\n)\nx = 1\nimport l\n",
    "from a import b, \\\n  c\nimport d; import e\n",
    '"""Text.\n\nimport nothing of this\nfrom here on\n"""\nimport a\n',
    "def f():\n    import a\n\nclass B:\n    import c\n",
    "importlib = 1\nfrom_ = 2\nimport\ta\n",
    "import a  # (\nimport b\n",
    "",
    "from a import *\r\nimport b\r\nimport c\r",
]


@pytest.mark.parametrize("text", TEXTS)
def test_the_same_imports_at_the_same_lines(text: str) -> None:
    """As a reader of the whole file finds them: over several lines, after a text that looks like some, with any line end."""
    quick, whole = parse_imports(text.encode()), parse(text.encode())
    assert imports.read(quick.tree, "a.py", inner=False) == imports.read(whole.tree, "a.py", inner=False)
    assert quick.text == whole.text


def test_what_else_is_in_the_file_does_not_matter() -> None:
    """Syntax that this interpreter does not know costs nothing where only imports are asked for."""
    found = parse_imports(b"import a\nprint 'two'\ntype X[T] = t'{T}'\nimport b\n")
    assert [each.module for each in imports.read(found.tree, "a.py", inner=False)] == ["a", "b"]
    assert found.lost == ()
