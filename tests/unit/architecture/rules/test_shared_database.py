"""The rule shared-database: what is one database, who counts as its user, and how bad it is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from repository import subject_of

from skerry.architecture.rules import Finding, Severity, Verdict
from skerry.architecture.rules.shared_database import shared_database

DOCKERFILE = "FROM python:3.12\nCOPY . /srv\n"
APP = """import os
import psycopg
from flask import Flask

app = Flask(__name__)
connection = psycopg.connect(os.environ["DATABASE_URL"])
"""


def system(environment: str, *, more: str = "", **code: str) -> dict[str, str]:
    """Services `a` and `b`, each with the same environment."""
    lines = ["services:", *(f"  {name}: {{build: {name}, environment: {environment}}}" for name in "ab"), more]
    texts = {"compose.yaml": "\n".join(lines)}
    for name in "ab":
        texts |= {f"{name}/Dockerfile": DOCKERFILE, f"{name}/app.py": APP + code.get(name, "")}
    return texts


def findings(texts: dict[str, str]) -> list[Finding]:
    return list(shared_database.check(subject_of(texts)))


def writes(table: str) -> str:
    return f"\n\ndef write():\n    connection.execute('INSERT INTO {table} (id) VALUES (1)')\n"


def test_a_table_that_both_write_is_an_error() -> None:
    """It is named, and so are the lines that write it."""
    (found,) = findings(system("{DATABASE_URL: 'postgres://db/shop'}", a=writes("orders"), b=writes("orders")))
    assert (found.verdict, found.severity) == (Verdict.VIOLATION, Severity.ERROR)
    assert "orders" in found.message
    assert {each.place.file for each in found.evidence if each.place} >= {"a/app.py", "b/app.py", "compose.yaml"}


def test_one_database_with_a_table_each_is_a_warning() -> None:
    """Their releases are still one; no table has two owners."""
    (found,) = findings(system("{DATABASE_URL: 'postgres://db/shop'}", a=writes("orders"), b=writes("parcels")))
    assert (found.verdict, found.severity) == (Verdict.VIOLATION, Severity.WARNING)
    assert found.services == ("a", "b")


def test_a_foreign_key_into_the_table_of_the_other_is_an_error() -> None:
    """It binds the two schemas to each other."""
    one = (
        "\nfrom sqlalchemy import Column, ForeignKey, Integer\nfrom sqlalchemy.orm import DeclarativeBase\n\n\n"
        "class Base(DeclarativeBase):\n    pass\n\n\nclass Order(Base):\n    __tablename__ = 'orders'\n"
        "    id = Column(Integer, primary_key=True)\n"
    )
    other = one.replace("Order", "Parcel").replace("'orders'", "'parcels'")
    other += "    order = Column(Integer, ForeignKey('orders.id'))\n"
    (found,) = findings(system("{DATABASE_URL: 'postgres://db/shop'}", a=one, b=other))
    assert found.severity is Severity.ERROR
    assert "foreign key into orders of a" in found.message


def test_one_secret_is_one_database() -> None:
    """Its value is not known, and need not be."""
    template = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: NAME}\nspec: {template: {spec: {containers: [{name: c,"
        " image: 'shop/NAME', env: [{name: DATABASE_URL, valueFrom: {secretKeyRef: {name: shop-db, key: url}}}]}]}}}\n"
    )
    texts = {f"{name}/Dockerfile": DOCKERFILE for name in "ab"} | {f"{name}/app.py": APP for name in "ab"}
    texts["k8s/all.yaml"] = "---\n".join(template.replace("NAME", name) for name in "ab")
    (found,) = findings(texts)
    assert (found.verdict, found.services) == (Verdict.VIOLATION, ("a", "b"))
    assert "shop-db" in found.message


def test_one_server_is_not_yet_one_database() -> None:
    """Where nothing says which database of it, that is what is missing."""
    (found,) = findings(system("{DB_HOST: db}", more="  db: {image: postgres}"))
    assert found.verdict is Verdict.UNKNOWN
    assert "which database" in found.message


@pytest.mark.parametrize("url", ["redis://cache:6379/0", "amqp://broker:5672", "memcached://cache"])
def test_caches_and_brokers_may_be_shared(url: str) -> None:
    """They carry messages or copies, and own no data."""
    found = findings(system(f"{{DATABASE_URL: '{url}'}}"))
    assert Verdict.VIOLATION not in {each.verdict for each in found}


def test_a_job_that_migrates_is_no_second_owner() -> None:
    """It works for the service whose tables it changes."""
    url = "{DATABASE_URL: 'postgres://db/shop'}"
    more = f"  migrate: {{build: migrate, command: alembic upgrade head, environment: {url}}}"
    texts = system("{}", more=more) | {"migrate/Dockerfile": DOCKERFILE, "migrate/run.py": APP}
    texts["compose.yaml"] = texts["compose.yaml"].replace(
        "a: {build: a, environment: {}}", f"a: {{build: a, environment: {url}}}"
    )
    assert Verdict.VIOLATION not in {each.verdict for each in findings(texts)}


def test_what_compose_says_wins_over_a_stale_file() -> None:
    """A `.env` that a service also reads gives no value that its environment gives."""
    texts = {"a/Dockerfile": DOCKERFILE, "b/Dockerfile": DOCKERFILE, "a/app.py": APP, "b/app.py": APP}
    texts["old.env"] = "DATABASE_URL=postgres://db/shop\n"
    texts["compose.yaml"] = "services:\n" + "".join(
        f"  {name}: {{build: {name}, env_file: old.env, environment: {{DATABASE_URL: 'postgres://db/{name}'}}}}\n"
        for name in "ab"
    )
    (found,) = findings(texts)
    assert found.verdict is Verdict.CLEAN


def test_a_database_that_nothing_names_is_unknown() -> None:
    """Two services open one, and no manifest says which: that is no pass."""
    (found,) = findings(system("{}"))
    assert (found.verdict, found.services) == (Verdict.UNKNOWN, ("a", "b"))


def test_one_that_is_alone_shares_with_nobody() -> None:
    """Wherever its data is, clean says that no other service is there."""
    (found,) = findings({"app.py": APP, "pyproject.toml": "[project]\nname = 'app'\n"})
    assert found.verdict is Verdict.CLEAN
    assert found.evidence


def test_databases_beside_code_that_is_not_read_are_unknown() -> None:
    """A database runs, and those who may use it are in another language."""
    compose = "services: {db: {image: 'mysql:8'}, a: {build: a}, b: {build: b}}\n"
    texts = {"compose.yaml": compose, "a/Dockerfile": "FROM golang\n", "b/Dockerfile": "FROM golang\n"}
    (found,) = findings(texts | {"a/main.go": "", "b/main.go": ""})
    assert (found.verdict, found.services) == (Verdict.UNKNOWN, ("a", "b"))


def test_clean_shows_each_service_with_its_own() -> None:
    """The evidence is where the address of each stands."""
    texts = system("{DATABASE_URL: 'postgres://db/shop'}")
    texts["compose.yaml"] = texts["compose.yaml"].replace(
        "b, environment: {DATABASE_URL: 'postgres://db/shop'", "b, environment: {DATABASE_URL: 'postgres://db/other'"
    )
    (found,) = findings(texts)
    assert (found.verdict, found.services) == (Verdict.CLEAN, ("a", "b"))
    assert all(each.place for each in found.evidence)


def test_keys_that_bind_several_services_are_one_finding() -> None:
    """Where no manifest says which database, services that foreign keys join are in one."""
    model = (
        "from sqlalchemy import Column, ForeignKey, Integer\nfrom sqlalchemy.orm import DeclarativeBase\n\n\n"
        "class Base(DeclarativeBase):\n    pass\n\n\nclass {name}(Base):\n    __tablename__ = '{name}'\n"
        "    id = Column(Integer, primary_key=True)\n    other = Column(Integer, ForeignKey('{other}.id'))\n"
    )
    texts = {"compose.yaml": "services:\n" + "".join(f"  {name}: {{build: {name}}}\n" for name in "abc")}
    for name, other in ("ab", "bc", "cc"):
        texts |= {f"{name}/Dockerfile": DOCKERFILE, f"{name}/app.py": model.format(name=f"t{name}", other=f"t{other}")}
    (found,) = [each for each in findings(texts) if each.verdict is Verdict.VIOLATION]
    assert (found.services, found.severity) == (("a", "b", "c"), Severity.ERROR)
