"""The model as a Mermaid flowchart, for a README or a pull request."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from skerry.architecture.model import SystemModel


def as_mermaid(model: SystemModel) -> str:
    """Calls as solid arrows, messages as dotted ones, databases as cylinders."""
    return "\n".join(_lines(model)) + "\n"


def _lines(model: SystemModel) -> Iterator[str]:
    ids = {name: f"s{n}" for n, name in enumerate(model.services)}
    stores = {identity: f"d{n}" for n, identity in enumerate(model.stores)}
    yield "flowchart LR"
    for name, service in model.services.items():
        shape = ('{{"', '"}}') if service.role == "gateway" else ('["', '"]')
        yield f"  {ids[name]}{shape[0]}{_safe(name)}{shape[1]}"
    for identity, store in model.stores.items():
        yield f'  {stores[identity]}[("{_safe(store.database or store.server or store.kind)}")]'
    for use in model.uses:
        if use.service in ids:
            yield f"  {ids[use.service]} --- {stores[use.store]}"
    topics: dict[tuple[str, str], list[str]] = defaultdict(list)
    for edge in model.edges:
        if edge.caller not in ids or edge.callee not in ids:
            continue
        if edge.waits:
            yield f'  {ids[edge.caller]} -->|"{_safe(edge.protocol)}"| {ids[edge.callee]}'
        else:
            topics[edge.caller, edge.callee].append(edge.topic or "messages")
    for (caller, callee), names in topics.items():
        yield f'  {ids[caller]} -. "{_safe(", ".join(sorted(set(names))))}" .-> {ids[callee]}'


def _safe(text: str) -> str:
    """Everything but plain characters as a numeric entity, so that no name can end its label."""
    return re.sub(r"[^\w ./:,-]", lambda found: f"#{ord(found[0])};", text)
