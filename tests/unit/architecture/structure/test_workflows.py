"""What stays when a later change fails."""

from __future__ import annotations

import pytest

from .reading import code, left, workflows

POST = [("pay.post", "POST", "payment"), ("ship.post", "POST", "shipping"), ("pay.delete", "DELETE", "payment")]
EVENTS = "import pika\n"


@pytest.mark.parametrize(
    ("body", "stays"),
    [
        ("pay.post(1)\n    ship.post(2)", ["remote in f"]),
        ("ship.post(2)\n    session.commit()", ["remote in f"]),
        ("session.commit()\n    ship.post(2)", ["commit in f"]),
        ('session.commit()\n    ch.basic_publish(routing_key="a")', ["commit in f"]),
        (
            'with session.begin():\n        db.execute("INSERT INTO orders VALUES (1)")\n    ship.post(2)',
            ["commit in f"],
        ),
        ('ch.basic_publish(routing_key="a")\n    session.commit()', []),
        ("session.commit()\n    session.commit()", []),
        ("pay.get(1)\n    ship.post(2)", []),
        ("ship.post(2)\n    return pay.get(1)", []),
        ("session.commit()\n    ship.post(2, idempotency_key=k)", []),
        ("if a:\n        pay.post(1)\n    else:\n        ship.post(2)", []),
        ("if a:\n        pay.post(1)\n        return\n    ship.post(2)", []),
        (
            "pay.post(1)\n    try:\n        ship.post(2)\n    except Exception:\n        pay.delete(1)\n        raise",
            [],
        ),
        (
            "pay.post(1)\n    try:\n        ship.post(2)\n    except Exception:\n        log(1)\n        raise",
            ["remote in f"],
        ),
        ("pay.post(1)\n    try:\n        ship.post(2)\n    except Exception:\n        refund(1)\n        raise", []),
        ("pay.post(1)\n    if not ship.post(2).ok:\n        refund(1)", []),
        (
            "pay.post(1)\n    try:\n        ship.post(2)\n    except Exception:\n        session.rollback()",
            ["remote in f"],
        ),
        ("try:\n        pay.post(1)\n    except Exception:\n        ship.post(2)", []),
    ],
)
def test_a_function_leaves_what_nothing_undoes(body: str, stays: list[str]) -> None:
    """Remote writes, commits and messages in order; not what is only asked, repeatable, undone, or on another way."""
    assert left(f"{EVENTS}def f(a, k):\n    {body}\n", [*POST, ("get(", "GET", "payment")]) == stays


def test_changes_in_called_functions_count_where_they_come_together() -> None:
    """The function that calls both is the workflow; each of them alone is none."""
    text = "def f():\n    take()\n    send()\ndef take():\n    pay.post(1)\ndef send():\n    ship.post(2)\n"
    assert left(text, POST) == ["remote in f"]


def test_what_undoes_is_no_workflow_itself() -> None:
    """A function that cancels has nothing behind it but to be tried again."""
    assert workflows("def cancel_order():\n    pay.post(1)\n    ship.post(2)\n", POST) == ()


def test_tests_and_scripts_are_left_out() -> None:
    """A commit and a message in code that no request and no job runs."""
    text = 'import pika\ndef f():\n    session.commit()\n    ch.basic_publish(routing_key="a")\n'
    assert code(tests__test_app=text, scripts__load=text).workflows == ()
    assert len(code(shop__app=text).workflows) == 1


def test_a_relay_may_commit_before_it_sends() -> None:
    """A function that reads an outbox sends again what it did not send."""
    text = "def f():\n    db.execute('SELECT * FROM outbox')\n    session.commit()\n    ch.basic_publish(routing_key='a')\n"
    assert left(EVENTS + text) == []


SAGA = """
from skerry.saga import Saga
s = Saga("s", version=1, input=dict)
@s.step()
async def reserve(ctx, order): ...
@reserve.compensate
async def release(ctx, order, result): ...
@s.pivot()
async def charge(ctx, order): ...
@charge.compensate
async def refund(ctx, order, result): ...
@s.retriable()
async def ship(ctx, order): ...
"""


@pytest.mark.parametrize(
    ("gone", "stays"), [("", []), ("@reserve.compensate", ["remote in s"]), ("@charge.compensate", ["pivot in s"])]
)
def test_each_step_of_a_saga_needs_what_undoes_it(gone: str, stays: list[str]) -> None:
    """Retriable steps need nothing; a pivot before other steps is stuck while its outcome is unknown."""
    assert left(SAGA.replace(gone, "") if gone else SAGA) == stays


def test_the_last_step_of_a_saga_needs_nothing() -> None:
    """Nothing comes after it that could fail."""
    assert left(SAGA.partition("@charge.compensate")[0]) == []


def test_a_step_that_only_asks_needs_nothing() -> None:
    """Seen to ask another service, and to change nothing."""
    asking = SAGA.replace("@reserve.compensate", "").replace(
        "def reserve(ctx, order): ...", "def reserve(ctx, order): pay.get(1)"
    )
    assert left(asking, [("pay.get", "GET", "payment")]) == []


def test_a_list_of_steps_is_a_saga_too() -> None:
    """`add_step` with an action and nothing that undoes it, before another step."""
    text = "def build(saga):\n    saga.add_step(reserve, release)\n    saga.add_step(charge)\n    saga.add_step(ship)\n"
    assert left(text) == ["remote in build"]
    assert left(text.replace("charge)", "charge, refund)")) == []


@pytest.mark.parametrize(
    "text",
    [
        "steps = [(reserve, release), (charge, None), (ship, None)]\n",
        "SAGA = [('a', reserve, undo_it), ('b', charge, None), ('c', ship, recall)]\n",
        "steps = [{'action': reserve, 'compensate': release}, {'action': charge}, {'action': ship}]\n",
        "def f(o):\n    steps = [(lambda: reserve(o), lambda: release(o)), (lambda: charge(o), None), (lambda: ship(o), None)]\n",
    ],
    ids=["pairs", "with names", "dictionaries", "lambdas"],
)
def test_pairs_of_what_does_and_what_undoes_are_a_saga(text: str) -> None:
    """The step that nothing undoes is told, if it is not the last."""
    (saga,) = workflows(text)
    assert saga.saga
    assert [change.detail for change in saga.missing] == ["charge"]


@pytest.mark.parametrize(
    "text",
    [
        "pairs = [(name, value), (key, None), (word, None)]\n",
        "choices = [('a', _('A')), ('b', _('B'))]\n",
        "hooks = [(load, save), (start, stop)]\n",
        "points = [(1, 2), (3, 4)]\n",
    ],
)
def test_other_pairs_are_no_saga(text: str) -> None:
    """Neither a name nor a word of undoing says so."""
    assert workflows(text) == ()


def test_a_message_and_the_wait_for_its_answer_are_one_call() -> None:
    """Asking over a queue changes state in one place, the other service's."""
    text = "import pika\n\n\ndef f(m):\n    ch.basic_publish(routing_key='a')\n    return wait_for(m)\n"
    assert left(text, [("wait_for(", "answer", "")]) == []


def test_one_function_that_asks_whomever_it_is_told_says_nothing() -> None:
    """Which of its calls undoes which cannot be seen."""
    text = "def f():\n    ask('stock.take')\n    ask('bill.charge')\n    ask('stock.give')\n\n\n"
    text += "def ask(what):\n    return wait_for(what)\n"
    assert left(text, [("wait_for(", "answer", "")]) == []


def test_a_post_that_only_asks_changes_nothing() -> None:
    """Keys that are decrypted over there, as when a query is too long for an address, need no undo when a commit fails."""
    text = "def f(k):\n    keys.post(k)\n    session.commit()\n"
    assert left(text, [("keys.post", "POST", "keys/decrypt/bulk")]) == []
    assert left(text, [("keys.post", "POST", "keys/bulk")]) == ["remote in f"]
