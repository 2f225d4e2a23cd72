"""What is one service, what is none, and where an address leads: cases met in public systems."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from repository import model_of

from skerry.architecture.joining import addresses

APP = "from flask import Flask\n\napp = Flask(__name__)\n"
DOCKERFILE = "FROM python:3.12\nCOPY . /srv\n"


@pytest.mark.parametrize(
    ("text", "host", "database"),
    [
        ("Host=ledger;Username=u;Password=secret;Database=books", "ledger", "books"),
        ("Server=tcp:ledger,1433;Initial Catalog=books;User Id=u", "ledger", "books"),
        ("host=ledger port=5432 dbname=books user=u password=secret", "ledger", "books"),
        ("Data Source=ledger;Database='books'", "ledger", "books"),
    ],
)
def test_pairs_are_an_address_like_a_url(text: str, host: str, database: str) -> None:
    """Drivers of .NET and libpq take `key=value`; the password is not kept."""
    found = addresses.dsn(text)
    assert found is not None
    assert (found.host, found.database) == (host, database)
    assert "secret" not in repr(found)


@pytest.mark.parametrize("text", ["host=ledger", "a=b;c=d", "Database=books", "http://ledger/?host=x&database=y"])
def test_pairs_without_host_and_database_are_none(text: str) -> None:
    """Options that happen to have one of the names are no address."""
    assert addresses.dsn(text) is None


def test_a_url_and_pairs_are_one_database() -> None:
    """Two services in two languages write the same address in two ways."""
    compose = (
        "services:\n  db: {image: 'postgres:16'}\n"
        "  a: {build: a, environment: {DB_URL: 'postgres://u:p@db/books'}}\n"
        "  b: {build: b, environment: {DB_CONNECTION_STRING: 'Host=db;Username=u;Password=p;Database=books'}}\n"
    )
    go = "package main\n"
    texts = {"a/main.go": go, "b/main.go": go, "a/Dockerfile": DOCKERFILE, "b/Dockerfile": DOCKERFILE}
    uses = model_of(texts | {"compose.yaml": compose}).uses
    assert {use.service for use in uses} == {"a", "b"}
    assert len({use.store for use in uses}) == 1


def test_a_folder_of_a_package_is_no_service_beside_the_package() -> None:
    """A workload that has the name of a package within a service's own package runs from that service's code."""
    compose = "services: {web: {build: .}, proxy: {image: 'web:latest', command: run}}\n"
    texts = {"compose.yaml": compose, "Dockerfile": DOCKERFILE, "shop/__init__.py": "", "shop/proxy/app.py": APP}
    (service,) = model_of(texts).services.values()
    assert {work.name for work in service.workloads} == {"web", "proxy"}


def test_a_template_of_a_project_is_no_service() -> None:
    """A framework that brings a project to copy is not that project."""
    texts = {"setup.py": "", "frame/core.py": "X = 1\n", "frame/project_template/Dockerfile": DOCKERFILE,
             "frame/project_template/app.py": APP}  # fmt: skip
    (service,) = model_of(texts).services.values()
    assert service.roots == ("",)


@pytest.mark.parametrize(("base", "role"), [("nginx:1.25", "gateway"), ("node:20", "service")])
def test_an_image_made_from_a_proxy_is_a_gateway(base: str, role: str) -> None:
    """Whatever it is called: it hands on requests and files."""
    texts = {"compose.yaml": "services: {web: {build: web}}", "web/Dockerfile": f"FROM {base}\n", "web/static/a.js": ""}
    assert model_of(texts).services["web"].role == role


def test_a_folder_of_load_is_a_job() -> None:
    """What only makes load has no place in a system, by the name of its folder too."""
    texts = {"compose.yaml": "services: {load: {build: load-gen}}", "load-gen/Dockerfile": DOCKERFILE,
             "load-gen/app.py": APP}  # fmt: skip
    assert model_of(texts).services["load"].role == "job"


def test_settings_of_django_are_no_database() -> None:
    """`from django.conf import settings` needs none; a model does."""
    url = "{DATABASE_URL: 'postgres://db/shop'}"
    compose = f"services:\n  a: {{build: a, environment: {url}}}\n  b: {{build: b, environment: {url}}}\n"
    texts = {"compose.yaml": compose, "a/Dockerfile": DOCKERFILE, "b/Dockerfile": DOCKERFILE}
    texts |= {"a/app.py": "from django.conf import settings\n", "b/app.py": "from django.db import models\n"}
    assert {use.service for use in model_of(texts).uses} == {"b"}


def test_databases_that_nothing_is_seen_to_use_are_told() -> None:
    """A database that runs and that no variable names may be anybody's."""
    compose = "services: {db: {image: 'mysql:8'}, cache: {image: redis}, a: {build: a}}\n"
    unknown = model_of({"compose.yaml": compose, "a/Dockerfile": DOCKERFILE, "a/main.go": ""}).unknown
    assert [each.text.partition(":")[0] for each in unknown] == ["db"]


def test_a_job_made_from_a_database_is_no_database() -> None:
    """It fills one, and nobody keeps data in it."""
    job = (
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: populate}\nspec: {template: {spec: {containers: "
        "[{name: c, image: 'postgres:16'}]}}}\n"
    )
    model = model_of({"k8s/job.yaml": job, "a/Dockerfile": DOCKERFILE, "a/app.py": APP})
    assert model.unknown == ()
    assert set(model.services) == {"a"}


ASKS = "import requests\n\n\ndef ask():\n    return requests.get(URL + '/x')\n"
START = "from flask import Flask\nimport requests\n\napp = Flask(__name__)\n"


def two(ask: str, environment: str = "{}") -> dict[str, str]:
    compose = f"services:\n  a: {{build: a, environment: {environment}}}\n"
    compose += "  orders: {build: orders}\n  other: {build: other}\n"
    texts = {f"{name}/Dockerfile": DOCKERFILE for name in ("a", "orders", "other")}
    return texts | {"compose.yaml": compose, "a/app.py": ask, "orders/app.py": APP, "other/app.py": APP}


def edges(texts: dict[str, str]) -> set[tuple[str, str]]:
    return {(edge.caller, edge.callee) for edge in model_of(texts).edges}


def test_a_setting_leads_where_the_variables_lead_that_it_is_made_from() -> None:
    """A manifest says the variable's value, and the code gives it a name of its own."""
    ask = (
        "import os\nimport requests\nfrom flask import Flask\n\napp = Flask(__name__)\n"
        "app.config['STOCK_URI'] = 'http://{}/x'.format(os.environ.get('PEER_ADDR'))\n\n\n"
        "def ask():\n    return requests.get(app.config['STOCK_URI'], timeout=1)\n"
    )
    assert edges(two(ask, "{PEER_ADDR: 'orders:8080'}")) == {("a", "orders")}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ("{}", {("a", "orders")}),
        ("{ORDERS_URL: 'http://other:80'}", {("a", "other")}),
        ("{ORDERS_URL: 'https://orders.example.com'}", set()),
        ("{ORDERS_URL: 'http://orders.shop.svc.cluster.local:80'}", {("a", "orders")}),
        ("{ORDERS_URL: 'http://mock:80'}", set()),
    ],
    ids=["nothing said", "another service", "a host outside", "a name of a cluster", "a host that is no service"],
)
def test_a_name_is_an_address_only_where_nothing_else_is_said(environment: str, expected: set[tuple[str, str]]) -> None:
    """`ORDERS_URL` is a guess; what a manifest gives it is none."""
    ask = "import os\nimport requests\n\nURL = os.environ['ORDERS_URL']\n" + ASKS[len("import requests\n") :]
    assert edges(two(ask, environment)) == expected


def test_a_default_that_leads_outside_is_no_service_by_name() -> None:
    """The code says where it goes when nobody says otherwise."""
    ask = "import os\nimport requests\n\nURL = os.environ.get('ORDERS_URL', 'https://orders.example.com')\n" + ASKS
    assert edges(two(ask)) == set()


def test_programs_of_one_machine_reach_each_other_by_port() -> None:
    """Each file starts an application with a port, and the other asks it there."""
    run = "\n\nif __name__ == '__main__':\n    app.run(port={})\n"
    texts = {
        "services/one.py": APP + run.format(5001),
        "services/two.py": APP + "import requests\n\n\ndef ask():\n    return requests.get('http://127.0.0.1:5001/x')\n"
        + run.format(5002),
    }  # fmt: skip
    assert edges(texts) == {("two", "one")}


def test_a_database_is_known_by_any_spelling_of_its_host() -> None:
    """With the namespace behind it, and whatever the case."""
    compose = (
        "services:\n  shopDB: {image: 'postgres:16'}\n"
        "  a: {build: a, environment: {DATABASE_URL: 'postgres://SHOPDB/shop'}}\n"
        "  orders: {build: orders, environment: {DB_HOST: shopdb.default, DB_NAME: shop}}\n"
    )
    driver = "import os\nimport psycopg\n\nNAMES = os.environ['DATABASE_URL'], os.environ['DB_HOST']\n"
    texts = {"compose.yaml": compose} | {f"{name}/Dockerfile": DOCKERFILE for name in ("a", "orders")}
    model = model_of(texts | {"a/app.py": driver, "orders/app.py": driver})
    assert {use.service for use in model.uses} == {"a", "orders"}
    assert len(model.stores) == 1
    assert model.unknown == ()


def test_variables_that_are_kept_out_of_the_repository_are_shown_beside_it() -> None:
    """Services that read one file of variables have one value, as the example of that file has."""
    compose = "services:\n  a: {build: a, env_file: .env}\n  orders: {build: orders, env_file: .env}\n"
    driver = "import os\nimport psycopg\n\nURL = os.environ['DATABASE_URL']\n"
    texts = {"compose.yaml": compose} | {f"{name}/Dockerfile": DOCKERFILE for name in ("a", "orders")}
    texts |= {".env.example": "DATABASE_URL=postgres://db/shop\n", "a/app.py": driver, "orders/app.py": driver}
    assert len({use.store for use in model_of(texts).uses}) == 1
    texts[".env.example"] = "DATABASE_URL=\n"
    assert model_of(texts).uses == ()


CLIENT = (
    "import httpx\n\n\nclass OrdersClient:\n    def __init__(self, base_url: str):\n        self.base_url = base_url\n"
    "        self.client = httpx.Client(timeout=1)\n\n    def ask(self):\n"
    "        return self.client.get(f'{self.base_url}/PATH')\n"
)
ANSWERS = APP + "\n\n@app.get('/orders/<id>')\ndef order(id):\n    return {}\n"


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (CLIENT.replace("PATH", "orders/1"), {("a", "orders")}),
        (CLIENT.replace("PATH", "users/1"), set()),
        (CLIENT.replace("PATH", "orders/1").replace("OrdersClient", "Session"), set()),
    ],
    ids=["it answers that", "it does not answer that", "the class has no service's name"],
)
def test_a_client_that_is_given_its_address_asks_whom_it_is_called_after(
    client: str, expected: set[tuple[str, str]]
) -> None:
    """If that service answers such paths; else nobody knows."""
    texts = two(client) | {"orders/app.py": ANSWERS}
    assert edges(texts) == expected


@pytest.mark.parametrize(
    ("opened", "shared"),
    [
        ("client.shop", True),
        ("client['shop'].orders", True),
        ("client.get_database('shop')", True),
        ("MongoClient(URL)['shop']", True),
        ("client.other", False),
        ("client.close()", False),
    ],
)
def test_code_names_the_database_of_a_server_of_mongodb(opened: str, *, shared: bool) -> None:
    """The address leads to the server alone; each service opens a database of it by name."""
    url = "{MONGODB_URL: 'mongodb://mongo:27017'}"
    compose = f"services:\n  mongo: {{image: mongo}}\n  a: {{build: a, environment: {url}}}\n"
    compose += f"  orders: {{build: orders, environment: {url}}}\n"
    head = "import os\nfrom pymongo import MongoClient\n\nURL = os.environ['MONGODB_URL']\nclient = MongoClient(URL)\n"
    texts = {"compose.yaml": compose} | {f"{name}/Dockerfile": DOCKERFILE for name in ("a", "orders")}
    texts |= {"a/app.py": head + "db = client.shop\n", "orders/app.py": head + f"db = {opened}\n"}
    uses = {use.service: use.store for use in model_of(texts).uses}
    assert uses["a"] == "mongodb://mongo:27017/shop"
    assert (uses["orders"] == uses["a"]) is shared


@pytest.mark.parametrize(("given", "shared"), [("shop", True), ("other", False)])
def test_an_address_that_code_puts_together_has_the_values_of_the_manifest(given: str, *, shared: bool) -> None:
    """Each service reads its database's name from a variable of its own choice."""
    driver = (
        "import os\nfrom sqlalchemy import create_engine\n\nSERVER = os.environ['POSTGRES_SERVER']\n"
        "engine = create_engine(f\"postgresql://{os.environ['LOGIN']}@{SERVER}:5432/{os.environ['WHICH']}\")\n"
    )
    compose = "services:\n  db: {image: 'postgres:16'}\n" + "".join(
        f"  {name}: {{build: {name}, environment: {{POSTGRES_SERVER: db, WHICH: {which}}}}}\n"
        for name, which in (("a", "shop"), ("orders", given))
    )
    texts = {"compose.yaml": compose} | {f"{name}/Dockerfile": DOCKERFILE for name in ("a", "orders")}
    uses = {use.service: use.store for use in model_of(texts | {"a/app.py": driver, "orders/app.py": driver}).uses}
    assert uses["a"] == "postgresql://db:5432/shop"
    assert (uses["orders"] == uses["a"]) is shared


def test_applications_beside_the_one_that_is_built_are_services() -> None:
    """One folder has a Dockerfile; the others have migrations or requirements of their own, and start."""
    texts = {"users/Dockerfile": DOCKERFILE, "users/app.py": APP, "auth/alembic.ini": "", "auth/app/main.py": APP}
    texts |= {"mail/requirements.txt": "flask\n", "mail/app.py": APP, "notes/text.py": "X = 1\n"}
    assert set(model_of(texts).services) == {"auth", "mail", "users"}


def test_what_stands_within_an_application_that_is_built_is_a_part_of_it() -> None:
    """A folder with migrations of its own is no service of its own then."""
    texts = {"Dockerfile": DOCKERFILE, "app.py": APP, "pay/alembic.ini": "", "pay/app.py": APP, "mail/manage.py": APP}
    assert len(model_of(texts).services) == 1


def test_a_project_whose_variables_are_kept_out_is_read_with_its_example() -> None:
    """`${NAME}` in a Compose file has the value that the example of `.env` shows."""
    compose = "services:\n  a: {build: a, environment: {PEER_URL: 'http://${PEER}:80'}}\n  orders: {build: orders}\n"
    ask = "import os\nimport requests\n\nURL = os.environ['PEER_URL']\n" + ASKS[len("import requests\n") :]
    texts = two(ask) | {"compose.yaml": compose, ".env.example": "PEER=orders\n"}
    assert edges(texts) == {("a", "orders")}
