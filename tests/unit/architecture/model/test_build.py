from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from repository import Memory, code_of, model_of

from skerry.architecture.build import build
from skerry.architecture.traces.spans import Span, SpanKind, Traces

APP = 'import os\nimport psycopg\nfrom flask import Flask\n\napp = Flask(__name__)\nURL = os.environ["DATABASE_URL"]\n'
DOCKERFILE = "FROM python:3.12\nCOPY . /srv\n"


def two(environment: str, *, more: str = "") -> dict[str, str]:
    return {
        "a/app.py": APP,
        "b/app.py": APP,
        "a/Dockerfile": DOCKERFILE,
        "b/Dockerfile": DOCKERFILE,
        "compose.yaml": f"services:\n  a: {{build: a, environment: {environment}}}\n"
        f"  b: {{build: b, environment: {environment}}}\n{more}",
    }


def stores(texts: dict[str, str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for use in model_of(texts).uses:
        found.setdefault(use.service, set()).add(use.store)
    return found


def test_web_and_worker_of_one_folder_are_one_service() -> None:
    """Whatever number of workloads run from one code root, they are one service."""
    compose = "services: {web: {build: a}, worker: {build: a, command: celery worker}}\n"
    model = model_of({"a/app.py": APP, "a/Dockerfile": DOCKERFILE, "compose.yaml": compose})
    (service,) = model.services.values()
    assert {work.name for work in service.workloads} == {"web", "worker"}


@pytest.mark.parametrize(
    "environment",
    [
        "{DATABASE_URL: 'postgresql://u:p@db:5432/shop'}",
        "{DATABASE_URL: 'postgresql+psycopg://other@db/shop?sslmode=off'}",
        "{DATABASE_URL: '${DATABASE_URL}'}",
        "{DATABASE_URL: 'postgresql://u:${SECRET}@db/shop'}",
        "{DB_HOST: db, DB_NAME: shop, DATABASE_URL: ''}",
    ],
)
def test_one_address_is_one_database(environment: str) -> None:
    """By a URL, by a variable that nobody gave a value, or by its parts."""
    found = stores(two(environment, more="  db: {image: 'postgres:16'}\n"))
    assert found["a"] == found["b"]
    assert len(found["a"]) == 1


def test_two_databases_of_one_server_are_two() -> None:
    """One server may hold a database for each service."""
    texts = two("{}", more="  db: {image: postgres}\n")
    lines = ["services:", "  db: {image: postgres}"]
    lines += [f"  {name}: {{build: {name}, environment: {{DATABASE_URL: 'postgres://db/{name}'}}}}" for name in "ab"]
    found = stores(texts | {"compose.yaml": "\n".join(lines)})
    assert not found["a"] & found["b"]


def test_a_variable_that_nobody_reads_is_no_use() -> None:
    """A service that is given a database's address with all others, and has no driver for it, does not use it."""
    texts = two("{DATABASE_URL: 'postgres://db/shop'}") | {
        "b/app.py": "from flask import Flask\n\napp = Flask(__name__)\n"
    }
    assert set(stores(texts)) == {"a"}


def test_no_password_is_in_the_model() -> None:
    """Neither identities nor evidence repeat a URL's user or password."""
    model = model_of(two("{DATABASE_URL: 'postgres://me:hunter2@db/shop'}"))
    assert "hunter2" not in repr((model.stores, model.uses, model.edges, model.unknown))


def test_folders_that_are_built_by_themselves_are_services_without_a_deploy_file() -> None:
    """Several folders with a Dockerfile and an application each are several services."""
    texts = {
        f"services/{name}/{file}": text for name in "ab" for file, text in (("app.py", APP), ("Dockerfile", DOCKERFILE))
    }
    assert set(model_of(texts).services) == {"a", "b"}


def test_files_that_each_start_an_application_are_services() -> None:
    """A folder of programs without any package file is a system too."""
    program = (
        'from flask import Flask\n\napp = Flask(__name__)\n\nif __name__ == "__main__":\n    app.run(port=500{n})\n'
    )
    texts = {f"services/{name}.py": program.replace("{n}", str(n)) for n, name in enumerate(("users", "films"))}
    model = model_of(texts)
    assert set(model.services) == {"users", "films"}
    assert model.service_of("services/users.py") == "users"


def test_one_application_is_one_service() -> None:
    """A repository without any sign of several is one."""
    assert len(model_of({"shop/app.py": APP, "pyproject.toml": "[project]\nname = 'shop'\n"}).services) == 1


def test_examples_beside_a_library_are_no_services_of_it() -> None:
    """Deploy files in examples and tests do not turn a library into a system."""
    texts = {
        "pyproject.toml": "[project]\nname = 'lib'\n",
        "src/lib/__init__.py": "x = 1\n",
        "examples/demo/compose.yaml": "services: {a: {build: a}, b: {build: b}}\n",
        "examples/demo/a/app.py": APP,
        "examples/demo/b/app.py": APP,
    }
    assert len(model_of(texts).services) == 1


def span(n: int, parent: str, service: str, kind: SpanKind, **attributes: str | int) -> Span:
    said = {key.replace("_", "."): value for key, value in attributes.items()}
    return Span(
        trace="t", span=str(n), parent=parent, service=service, name="x", kind=kind, start=n, end=n + 0.5, error=False,
        attributes=said, line=n, file="t.jsonl",
    )  # fmt: skip


def test_a_batch_is_reached_by_all_whose_messages_it_links_to() -> None:
    """Each sender is an edge that nobody waits on; a request that begins a new trace and links to its caller is none."""
    files = Memory(two("{A: '1'}", more="  c: {build: ./c}\n"))
    sent = span(1, "", "a", SpanKind.PRODUCER, messaging_destination_name="placed")
    other = replace(span(2, "", "c", SpanKind.PRODUCER, messaging_destination_name="packed"), trace="u")
    batch = replace(
        span(3, "", "b", SpanKind.CONSUMER), trace="v", links=(("t", "1"), ("u", "2"), ("w", "9"), ("v", "3"))
    )
    asked = replace(span(4, "", "c", SpanKind.CLIENT), trace="x")
    public = replace(span(5, "", "a", SpanKind.SERVER), trace="y", links=(("x", "4"),))
    traces = {"t": (sent,), "u": (other,), "v": (batch,), "x": (asked,), "y": (public,)}
    edges = build(files, code_of(files), Traces(traces=traces)).edges
    assert [(each.caller, each.callee, each.waits, each.topic) for each in edges] == [
        ("a", "b", False, "placed"),
        ("c", "b", False, "packed"),
    ]


def test_traces_land_on_the_same_edges_and_databases() -> None:
    """What a trace shows joins what manifests say; what only it shows is added."""
    files = Memory(two("{DATABASE_URL: 'postgres://db/shop'}", more="  db: {image: postgres}\n"))
    spans = (
        span(1, "", "a", SpanKind.SERVER),
        span(2, "1", "a", SpanKind.CLIENT),
        span(3, "2", "b", SpanKind.SERVER),
        span(4, "3", "b", SpanKind.CLIENT, db_system_name="postgresql", server_address="db", db_namespace="shop",
             db_collection_name="orders", db_operation_name="INSERT"),
    )  # fmt: skip
    model = build(files, code_of(files), Traces(traces={"t": spans}))
    (edge,) = model.edges
    assert (edge.caller, edge.callee, edge.waits) == ("a", "b", True)
    assert edge.observed is not None
    assert len(model.stores) == 1
    assert next(use.writes for use in model.uses if use.service == "b") == {"orders"}
