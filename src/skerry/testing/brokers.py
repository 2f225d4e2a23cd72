"""The conformance suite of the transport port: every adapter passes the core, and what its `Features` say.

    @pytest.mark.parametrize("case", cases(MyBroker.features), ids=str)
    def test_my_broker(case, stage):
        case.run(stage)

A `Stage` says how to make a broker for a service, in a namespace of its own for each case. With a `server` that can be
killed, cases about a broker that goes away run too; with `foreign`, those about messages of others.
"""

from __future__ import annotations

from skerry.events.brokers import Features
from skerry.testing import _broker_core, _broker_faults, _broker_promises
from skerry.testing._broker_bench import Bench, Case, Server, Stage, case

__all__ = ["Bench", "Case", "Server", "Stage", "case", "cases"]


def cases(features: Features, *, server: bool = True, foreign: bool = True) -> list[Case]:
    """The cases for an adapter that declares `features`.

    Without `server`, or without `foreign`, those that need one are left out.
    """
    modules = (_broker_core, _broker_promises, _broker_faults)
    every = [value for module in modules for value in vars(module).values() if isinstance(value, Case)]
    return [
        each for each in every if each.needs(features) and (server or not each.server) and (foreign or not each.foreign)
    ]
