"""The eight NEVER rules, one file each."""

from __future__ import annotations

from skerry.architecture.rules.chatty import chatty
from skerry.architecture.rules.distributed_monolith import distributed_monolith
from skerry.architecture.rules.finding import Finding, Rule, Severity, Subject, Verdict
from skerry.architecture.rules.no_circuit_breaker import no_circuit_breaker
from skerry.architecture.rules.no_compensation import no_compensation
from skerry.architecture.rules.no_timeout import no_timeout
from skerry.architecture.rules.premature_microservices import premature_microservices
from skerry.architecture.rules.shared_database import shared_database
from skerry.architecture.rules.sync_chain import sync_chain

__all__ = ["RULES", "Finding", "Rule", "Severity", "Subject", "Verdict"]

RULES: tuple[Rule, ...] = (
    shared_database,
    sync_chain,
    no_circuit_breaker,
    distributed_monolith,
    no_timeout,
    no_compensation,
    premature_microservices,
    chatty,
)
