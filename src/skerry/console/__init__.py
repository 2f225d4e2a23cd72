"""The live picture of a system: what fails, since when, what it does to users and what is safe.

from skerry.console import Sources, new_token, serve

serve(Sources(name="shop"), token=new_token(), on_ready=print)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skerry.console.diagnosis import diagnose
from skerry.console.facts import BreakerFact, EdgeFact, Facts, OutboxFact, SagaFact, Sentence, ServiceFact, state_of
from skerry.console.standing import sentence_of

if TYPE_CHECKING:
    from skerry.console.app import create_app
    from skerry.console.serving import new_token, serve
    from skerry.console.sources import Sources

__all__ = [
    "BreakerFact",
    "EdgeFact",
    "Facts",
    "OutboxFact",
    "SagaFact",
    "Sentence",
    "ServiceFact",
    "Sources",
    "create_app",
    "diagnose",
    "new_token",
    "sentence_of",
    "serve",
    "state_of",
]

_HOMES = {"create_app": "app", "new_token": "serving", "serve": "serving", "Sources": "sources"}


def __getattr__(name: str) -> Any:
    # `skerry ps` says the sentence too, and needs neither a server nor a database for it
    if name in _HOMES:
        return getattr(import_module(f"skerry.console.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'skerry.console' has no attribute {name!r}")
