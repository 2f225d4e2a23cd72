"""What a split cuts: imports, models, foreign keys, transactions and commits with an end in two services."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from skerry.architecture.boundaries.backtest import Tests
from skerry.architecture.boundaries.modules import Module, Names
from skerry.architecture.boundaries.signals import owners, pair
from skerry.architecture.code.parse import parse
from skerry.architecture.source import Files, Place, Unreadable

SHOWN: Final = 10
"""Examples of each kind that are named."""
_ATOMIC: Final = re.compile(rb"\batomic\b|\.commit\(|\.begin\(|transaction\(")
_ENDS: Final = frozenset({"atomic", "begin", "transaction", "commit", "transaction_with_commit_on_errors"})


@dataclass(frozen=True, slots=True)
class Transaction:
    """A function that changes models of several services at once: as services, a saga."""

    place: Place
    function: str
    models: Mapping[str, tuple[str, ...]]
    """By service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """The cut between two services. Counts are whole, examples at most ten each."""

    services: tuple[str, str]
    imports: int
    import_examples: tuple[str, ...]
    tables: tuple[str, ...]
    """Models that the other side names."""
    keys: tuple[str, ...]
    """Foreign keys, as `file:line Model -> Model`."""
    transactions: tuple[str, ...]
    commits: int
    shas: tuple[str, ...]

    @property
    def nothing(self) -> bool:
        return not (self.imports or self.tables or self.keys or self.transactions or self.commits)


@dataclass(slots=True)
class _Cut:
    imports: list[str]
    tables: set[str]
    keys: list[str]
    transactions: list[str]
    shas: list[str]


def crossings(
    modules: Mapping[str, Module], service: Mapping[str, str], transactions: Sequence[Transaction], tests: Tests
) -> tuple[Crossing, ...]:
    """Every pair of services with something between them; `service` is that of each module. Most commits first."""
    cuts: dict[tuple[str, str], _Cut] = defaultdict(lambda: _Cut([], set(), [], [], []))
    for path, target in _imports(modules):
        if service[path] != service[target]:
            cuts[pair(service[path], service[target])].imports.append(f"{path} -> {target}")
    owner = owners(modules)
    for path, module in modules.items():
        _models(path, module, owner, service, cuts)
    for transaction in transactions:
        for ends in combinations(sorted(transaction.models), 2):
            cuts[ends].transactions.append(f"{transaction.place} {transaction.function}")
    for commit, paths in tests:
        for ends in combinations(sorted({service[path] for path in paths}), 2):
            cuts[ends].shas.append(commit.sha)
    found = [_crossing(ends, cut) for ends, cut in cuts.items()]
    return tuple(sorted(found, key=lambda crossing: (-crossing.commits, crossing.services)))


def _models(
    path: str,
    module: Module,
    owner: Mapping[str, str],
    service: Mapping[str, str],
    cuts: dict[tuple[str, str], _Cut],
) -> None:
    """The models of other services that a module names or points at."""
    for name in module.mentions & owner.keys():
        if service[owner[name]] != service[path]:
            cuts[pair(service[path], service[owner[name]])].tables.add(name)
    for key in module.keys:
        target = key.target.rpartition(".")[2]
        if target in owner and service[owner[target]] != service[path]:
            text = f"{Place(path, key.line)} {key.model} -> {target}"
            cuts[pair(service[path], service[owner[target]])].keys.append(text)


def _crossing(ends: tuple[str, str], cut: _Cut) -> Crossing:
    return Crossing(
        services=ends,
        imports=len(cut.imports),
        import_examples=tuple(sorted(cut.imports)[:SHOWN]),
        tables=tuple(sorted(cut.tables)),
        keys=tuple(sorted(cut.keys)),
        transactions=tuple(sorted(set(cut.transactions))),
        commits=len(cut.shas),
        shas=tuple(cut.shas[:SHOWN]),
    )


def _imports(modules: Mapping[str, Module]) -> Iterator[tuple[str, str]]:
    names = Names(frozenset(modules))
    for path, module in modules.items():
        for target in sorted({target for target, _ in names.targets(module)}):
            yield path, target


def transactions(files: Files, modules: Mapping[str, Module], service: Mapping[str, str]) -> tuple[Transaction, ...]:
    """Functions that hold a transaction and name models of at least two services. Those that call such functions are not seen."""
    owner = owners(modules)
    homes = {name: service[path] for name, path in owner.items()}
    found: list[Transaction] = []
    for path, module in modules.items():
        if len({homes[name] for name in module.mentions & homes.keys()}) < 2:
            continue
        try:
            content = files.read(path)
        except Unreadable:
            continue
        if _ATOMIC.search(content):
            found += _in_module(path, parse(content).tree, homes)
    return tuple(sorted(found, key=lambda each: each.place))


def _in_module(path: str, tree: ast.Module, homes: Mapping[str, str]) -> Iterator[Transaction]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        names: set[str] = set()
        atomic = False
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name):
                names.add(inner.id)
                atomic = atomic or inner.id == "atomic"
            elif isinstance(inner, ast.Attribute):
                names.add(inner.attr)
                atomic = atomic or inner.attr in _ENDS
        if atomic:
            models: dict[str, list[str]] = defaultdict(list)
            for name in sorted(names & homes.keys()):
                models[homes[name]].append(name)
            if len(models) > 1:
                yield Transaction(
                    Place(path, node.lineno), node.name, {key: tuple(models[key]) for key in sorted(models)}
                )
