"""Programs that a person runs are told from what requests wait for."""

from __future__ import annotations

import pytest

from skerry.architecture.code.facts import Role

from .reading import code

GUARD = "\n\nif __name__ == '__main__':\n    ask()\n"
ANSWERS = "from fastapi import APIRouter\nr = APIRouter()\n@r.get('/a')\ndef f(): ...\n"
ASK = "import grpc\n\n\ndef ask():\n    return grpc.insecure_channel('peer:80')\n"


def test_a_program_that_nobody_imports_and_that_ends_is_a_script() -> None:
    """A client beside a server, to try it by hand."""
    found = code(shop__server="def serve(): ...\n", shop__client=ASK + GUARD)
    assert found.roles == {"shop/client.py": Role.SCRIPT, "shop/server.py": Role.REQUEST}


@pytest.mark.parametrize(
    "files",
    [
        {"shop__client": ASK + GUARD, "shop__other": "from client import ask\n"},
        {"shop__client": ASK},
        {"shop__main": ASK + GUARD},
        {"shop__client": ASK + GUARD + "    while True:\n        ask()\n"},
        {"shop__client": ASK + "from flask import Flask\n\napp = Flask(__name__)\n" + GUARD},
        {"shop__client": "from fastapi import APIRouter\nr = APIRouter()\n@r.get('/a')\ndef f(): ...\n" + ASK + GUARD},
    ],
    ids=["it is imported", "it starts nothing", "it is the main program", "it does not end", "an application", "it answers"],
)  # fmt: skip
def test_what_others_use_or_what_goes_on_is_no_script(files: dict[str, str]) -> None:
    """In doubt, a request may wait for it."""
    assert Role.SCRIPT not in code(**files).roles.values()


def test_a_test_that_imports_a_program_does_not_make_it_serve() -> None:
    """It is imported where it is tried, and nowhere else."""
    found = code(shop__client=ASK + GUARD, shop__test_client="from client import ask\n")
    assert found.roles["shop/client.py"] is Role.SCRIPT


def test_settings_are_told_with_the_variables_that_they_are_made_from() -> None:
    """Under their own name, unless that is the variable's too."""
    text = (
        "import os\nHOST = os.environ['HOST']\nPEER_URL = f\"http://{os.environ['PEER']}:{os.getenv('PORT')}\"\n"
        "app.config['LOGIN'] = 'http://{}'.format(os.environ.get('USERS'))\n"
    )
    assert code(app=text).settings == {"LOGIN": (("app.py", ("USERS",)),), "PEER_URL": (("app.py", ("PEER", "PORT")),)}


def test_a_service_that_is_called_jobs_answers_requests() -> None:
    """The name of a folder says that it works in the background, and its routes say that it does not."""
    answers = "@app.get('/jobs')\ndef f(): ...\n"
    found = code(
        jobs__app=answers, jobs__store="def load(): ...\n", jobs__worker="def work(): ...\n", tasks__store="X = 1\n"
    )
    assert found.roles == {
        "jobs/app.py": Role.REQUEST,
        "jobs/store.py": Role.REQUEST,
        "jobs/worker.py": Role.JOB,
        "tasks/store.py": Role.JOB,
    }


def test_a_file_that_is_called_an_example_is_one() -> None:
    """Wherever it stands."""
    found = code(
        shop__examples="X = 1\n", shop__usage_example="X = 1\n", shop__counterexamples="X = 1\n", shop__app="X = 1\n"
    )
    assert {path for path, role in found.roles.items() if role is Role.EXAMPLE} == {
        "shop/examples.py",
        "shop/usage_example.py",
    }


@pytest.mark.parametrize(("beside", "role"), [("x = 1\n", Role.JOB), (ANSWERS, Role.REQUEST)])
def test_what_lies_beside_flows_of_airflow_runs_when_they_do(beside: str, role: Role) -> None:
    """Nobody's request waits in a project of Airflow, unless something of it answers requests."""
    roles = code(
        etl__dags__daily="from airflow.decorators import dag\nfrom loading import mail\n",
        etl__loading__mail="def send(): ...\n",
        etl__web=beside,
        shop__app="x = 1\n",
    ).roles
    assert (roles["etl/loading/mail.py"], roles["shop/app.py"]) == (role, Role.REQUEST)
