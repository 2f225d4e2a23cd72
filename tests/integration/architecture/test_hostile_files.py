"""Files that were written to break whoever reads them cost themselves, and the rest is judged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from armed_repositories import system
from click.testing import CliRunner

from skerry.architecture import analyse as module
from skerry.architecture.analyse import analyse, findings
from skerry.architecture.code import reading
from skerry.architecture.rules import Subject, Verdict
from skerry.architecture.source.tree import Tree
from skerry.cli.main import main

BOMBS = {
    "parentheses": "x = " + "(" * 100_000 + ")" * 100_000,
    "brackets": "x = " + "[" * 5_000,
    "minus": "x = " + "-" * 200_000 + "1",
    "not": "x = " + "not " * 100_000 + "y",
    "power": "x = " + "**".join(["9"] * 50_000),
    "plus": "x = " + "+".join(["a"] * 300_000),
    "attributes": "x = a" + ".b" * 300_000,
    "calls": "x = a" + "()" * 200_000,
    "lambda": "x = " + "lambda: " * 50_000 + "0",
    "if": "x = " + "a if b else " * 50_000 + "c",
    "nested blocks": "".join(" " * i + "if a:\n" for i in range(2_000)) + " " * 2_000 + "b()\n",
    "nested functions": "".join(" " * i + f"def f{i}():\n" for i in range(90)) + " " * 90 + "b()\n",
    "f-string": 'x = f"' + "{a}" * 10_000 + '"',
    "formats": 'x = f"' + "{a:" * 1_000 + "}" * 1_000 + '"',
    "strings": "x = (" + "'a' " * 300_000 + ")",
    "digits": "x = " + "9" * 1_000_000,
    "list": "x = [" + "1," * 200_000 + "]",
    "decorators": "@a\n" * 20_000 + "def f(): ...\n",
    "arguments": "def f(" + ", ".join(f"a{i}" for i in range(20_000)) + "): ...\n",
    "imports": "".join(f"import a{i}\n" for i in range(20_000)),
    "functions": "".join(f"def f{i}(): return f{i + 1}()\n" for i in range(5_000)),
    "classes": "".join(f"class A{i}(A{i - 1}): pass\n" for i in range(20_000)),
    "broken lines": "x = (\n)\n)\n" * 100_000,
    "one long line": "# " + "x" * 3_900_000,
    "quotes": "'''" * 300_001,
    "backslashes": "\\\n" * 100_000,
    "match": "match x:\n" + " case [" + "[" * 1_000 + "]" * 1_000 + "]: pass\n",
    "sql": "x = '" + "SELECT * FROM a WHERE " * 50_000 + "'",
    "routes": "@app.route('" + "<(" * 100_000 + "')\ndef f(): ...\n",
    "allowed": "# skerry: allow[" * 100_000,
}
ODD = {
    "nul": b"import a\0\nimport b\n",
    "only nul": b"\0" * 10_000,
    "utf-16": "import a\n".encode("utf-16"),
    "utf-32": "import a\n".encode("utf-32"),
    "latin-1": b"# -*- coding: latin-1 -*-\nx = '\xe9'\n",
    "unknown coding": b"# -*- coding: nobody -*-\nx = 1\n",
    "rot13": b"# -*- coding: rot13 -*-\nvzcbeg bf\n",
    "zip": b"# -*- coding: zip_codec -*-\nx = 1\n",
    "utf-7": b"# -*- coding: utf-7 -*-\nx = '+AGE-'\n",
    "mark": b"\xef\xbb\xbfimport a\n",
    "wrong mark": b"\xef\xbb\xbf# -*- coding: latin-1 -*-\nimport a\n",
    "surrogates": b"x = '\xed\xa0\x80'\n",
    "random": bytes(i * i % 251 for i in range(50_000)),
    "python 2": b"import os\nprint 'two'\nexec 'code' in {}\nraise E, 'text'\nx = 0777L\n",
    "newer": b"type X[T] = list[T]\ndef f[T](x: T) -> T:\n    return x\nclass A[T]: ...\nx = f'{f'{1}'}'\n",
    "much newer": b"x = t'{y}'\nlazy import z\n",
    "turning back": "def f():\n    x = '\u202e'  # \u2066\n".encode(),
    "form feed": b"\x0cimport a\n\x0c\nx = 1\n",
    "returns": b"import a\rimport b\r",
}
YAML = {
    "aliases": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)),
    "merge": "a: &a {x: 1}\n" + "".join(f"b{i}: &b{i}\n  <<: [{', '.join(['*a'] * 50)}]\n" for i in range(500)),
    "itself": "services: &s\n  a: *s\n",
    "deep": "[" * 50_000,
    "deep map": "".join(" " * i + "a:\n" for i in range(3_000)),
    "tags": "services: !!python/object/apply:os.system ['touch canary']\n",
    "documents": "---\n" * 20_000,
    "long": "services:\n" + "".join(f"  s{i}:\n    image: a\n" for i in range(20_000)),
    "anchors": "services:\n" + "".join(f"  s{i}: &s{i} {{}}\n" for i in range(5_000)),
    "numbers": "services:\n  a:\n    ports: [" + "9" * 100_000 + "]\n",
    "ranges": "services:\n  a:\n    image: x\n    ports: ['1-999999999:1-999999999']\n",
    "variables": "services:\n  a:\n    image: " + "${A:-" * 2_000 + "}" * 2_000 + "\n",
}
MANIFESTS = ("docker-compose.yml", "k8s/deploy.yaml", "openapi.yaml", "Chart.yaml", "envoy.yaml")
OTHERS = {
    "pyproject.toml": "a = " + "[" * 50_000,
    "b/pyproject.toml": "".join(f"[a{i}.b]\n" for i in range(20_000)),
    "requirements.txt": "-r requirements.txt\n" + "a" * 1_000_000 + "\n" + "a[" * 100_000,
    "Dockerfile": "FROM a\n" + "RUN \\\n" * 100_000,
    "c/Dockerfile": "FROM ${" + "A:-${" * 10_000,
    ".env": "A=${B}\nB=${A}\n" + "".join(f"X{i}=${{X{i + 1}}}${{X{i + 1}}}\n" for i in range(100)),
    "skerry.toml": "[service]\n" * 10_000,
    "a.proto": "message A {" * 50_000,
    "b.proto": "service A { rpc B (C) returns (D) {} }\n" * 20_000,
    "openapi.json": '{"paths": ' * 50_000,
    "schema.sql": "CREATE TABLE a (" * 100_000,
    "more.sql": "(" * 1_000_000,
}


def put(root: Path, path: str, content: str | bytes) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content if isinstance(content, bytes) else content.encode())


def holds(subject: Subject) -> None:
    """Whatever else is there: both services were read, every rule was judged, and what is wrong was found."""
    assert {"a/app.py", "b/app.py"} <= subject.code.roles.keys()
    found = findings(subject)
    assert not [each.message for each in found if each.key == "failed"]
    assert any(
        each.rule == "shared-database" and each.verdict is Verdict.VIOLATION and {"a", "b"} <= set(each.services)
        for each in found
    )


def test_source_that_is_a_bomb(tmp_path: Path) -> None:
    """Nesting, length and number, each as one file: the others are read, and what was lost is named."""
    root = system(tmp_path)
    for name, text in BOMBS.items():
        put(root, f"a/bombs/{name.replace(' ', '_')}.py", text)
    subject = analyse(root)
    holds(subject)
    lost = {Path(each.file).stem for each in subject.code.unparsed}
    assert {"parentheses", "brackets", "minus"} <= lost
    assert lost <= {name.replace(" ", "_") for name in BOMBS}


def test_source_in_odd_bytes(tmp_path: Path) -> None:
    """Encodings that are wrong, rare or none, NUL bytes, Python 2 and syntax of tomorrow."""
    root = system(tmp_path)
    for name, content in ODD.items():
        put(root, f"a/odd/{name.replace(' ', '_')}.py", content)
    subject = analyse(root)
    holds(subject)
    lost = {Path(each.file).stem for each in subject.code.unparsed}
    assert {"python_2", "much_newer"} <= lost
    assert not lost & {"latin-1", "mark", "form_feed", "returns"}


@pytest.mark.parametrize("name", YAML)
def test_manifests_that_are_bombs(tmp_path: Path, name: str) -> None:
    """Aliases of aliases, circles, depth, tags that name a program: as each kind of manifest."""
    root = system(tmp_path)
    for path in MANIFESTS:
        put(root, f"other/{path}", YAML[name])
    holds(analyse(root))
    assert not (tmp_path / "canary").exists()
    assert not Path("canary").exists()


def test_other_files_that_are_bombs(tmp_path: Path) -> None:
    """Packages, Dockerfiles, variables, interfaces and SQL, in folders of their own."""
    root = system(tmp_path)
    for i, (path, text) in enumerate(OTHERS.items()):
        put(root, f"other{i}/{path}", text)
    holds(analyse(root))


def test_what_is_too_much_is_left_out_and_named(tmp_path: Path) -> None:
    """Files that are too large and folders that are too deep."""
    root = system(tmp_path)
    put(root, "a/large.py", b"x = 1\n" * 1_000_000)
    put(root, "a/" + "d/" * 60 + "deep.py", "x = 1\n")
    put(root, "compose.large.yaml", b"# nothing\n" * 1_000_000)
    subject = analyse(root)
    holds(subject)
    assert [each.file for each in subject.skipped] == ["a/" + "d/" * 40, "a/large.py", "compose.large.yaml"]


def test_names_that_are_hard_to_write(tmp_path: Path) -> None:
    """Line ends, control characters, markup, what looks like an option, and bytes that are no text."""
    root = system(tmp_path)
    names = [
        "a\nb.py",
        "\x1b[31mred.py",
        "<script>alert(1)<!--.py",
        "--upload-pack=x.py",
        "|`$(x).py",
        "\u202ey.py",
        " .py",
    ]
    for name in names:
        put(root, f"a/{name}", "x = 1\n")
    (root / "a" / b"\xff.py".decode(errors="surrogateescape")).write_text("x = 1\n")
    subject = analyse(root)
    holds(subject)
    assert {f"a/{name}" for name in names} <= subject.code.roles.keys()
    assert [each.file for each in subject.skipped] == ["a/?.py"]


@pytest.mark.parametrize("output", ["text", "json", "markdown", "sarif"])
def test_a_partial_verdict_has_its_own_exit_status(tmp_path: Path, output: str) -> None:
    """Nothing wrong, but something lost or left out: the status is 3, the files are named, and names cannot leave the format."""
    put(tmp_path, "app.py", "import os\n\nNAME = os.environ['NAME']\n")
    names = ("\x1b[31mred.py", "</script><b>.py", "a\nb.py", "`|*.py")
    for name in names:
        put(tmp_path, name, "x = (\n")
    (tmp_path / "link.py").symlink_to("app.py")  # it is read where it leads to
    os.mkfifo(tmp_path / "fifo.py")
    ran = CliRunner().invoke(main, ["check", str(tmp_path), "-o", output, "--no-cache"])
    assert ran.exit_code == 3, ran.output
    assert "\x1b[31m" not in ran.stdout
    assert "fifo.py" in ran.stdout
    if output == "json":
        assert json.loads(ran.stdout)["unparsed"] == len(names) + 1


class Changing(Tree):
    """A tree that somebody works in while it is read."""

    def read(self, path: str) -> bytes:
        file = self.root / path
        if path == "a/goes.py":
            file.unlink(missing_ok=True)
        elif path == "a/grows.py":
            with file.open("ab") as end:
                end.truncate(5_000_000)
        elif path == "a/becomes.py":
            file.unlink(missing_ok=True)
            file.symlink_to("app.py")
        return super().read(path)

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.root = root


def test_files_that_change_while_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that goes, one that grows past the limit, one that becomes a link: each is named, none of the others suffers."""
    root = system(tmp_path)
    for name in ("goes", "grows", "becomes"):
        put(root, f"a/{name}.py", "x = 1\n")
    monkeypatch.setattr(module, "Tree", Changing)
    subject = analyse(root)
    holds(subject)
    assert [each.file for each in subject.code.unparsed] == ["a/becomes.py", "a/goes.py", "a/grows.py"]


def test_a_reader_that_hangs_costs_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever text it is that nobody foresaw: its worker is ended, and the file is named with the reason."""

    def stuck(path: str, content: bytes) -> bytes:
        while path == "a/stuck.py":
            pass
        return answer(path, content)

    answer = reading.answer
    root = system(tmp_path)
    put(root, "a/stuck.py", "x = 1\n")
    monkeypatch.setattr(reading, "answer", stuck)
    monkeypatch.setattr(reading, "EFFORT", reading.Effort(cpu=1))
    subject = analyse(root)
    holds(subject)
    assert [(each.file, each.why) for each in subject.code.unparsed] == [("a/stuck.py", "took too much processor time")]
