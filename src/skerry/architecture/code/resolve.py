"""All files of a repository beside each other: who imports whom, who calls whom, which table a model is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from skerry.architecture.code import calls
from skerry.architecture.code.extract import FileFacts
from skerry.architecture.code.facts import Code, ForeignKey, Kind, Role, Route, Table, TableUse
from skerry.architecture.code.structure import Resolved, Structure, labels
from skerry.architecture.code.structure.graph import Names
from skerry.architecture.code.structure.imports import Modules
from skerry.architecture.code.structure.mounts import Prefixes
from skerry.architecture.code.structure.roles import job_folder
from skerry.architecture.code.structure.routes import VERBS, plain
from skerry.architecture.code.structure.workflows import Workflows
from skerry.architecture.source import Place, Skipped


def resolve(facts: Mapping[str, FileFacts]) -> Code:
    """What all files say together. `facts` are by path; the order does not matter."""
    files = labels.applied({path: facts[path].structure for path in sorted(facts)})
    modules = Modules(files)
    files = _told_apart(files, modules)
    imports = {path: each.imports for path, each in files.items()}
    names = Names(files, modules)
    roles = {path: each.role for path, each in files.items()}
    known = Resolved(files, modules, roles, modules.by_file(imports), names)
    raw = {path: facts[path].calls for path in files}
    models = {(path, table.model): table.name for path, each in files.items() for table in each.tables if table.model}
    outgoing = calls.resolve(raw, known)
    return Code(
        calls=outgoing,
        routes=tuple(_routes(names, files)),
        messages=tuple(message for each in files.values() for message in each.messages),
        tables=tuple(_tables(names, files, models)),
        uses=tuple(_uses(names, files, models)),
        workflows=Workflows(files, names, outgoing).find(),
        imports=imports,
        reaches=names.graph(),
        roles=roles,
        lines={path: each.lines for path, each in files.items()},
        variables=_variables(files),
        databases={path: each.databases for path, each in files.items() if each.databases},
        settings=_settings(files),
        allowed=tuple(mark for each in files.values() for mark in each.allowed),
        unparsed=tuple(Skipped(path, _lost(facts[path].lost)) for path in files if facts[path].lost),
    )


def _routes(names: Names, files: Mapping[str, Structure]) -> Iterator[Route]:
    """Every route at its handler, wherever that stands; a class that answers is its methods."""
    prefixes = Prefixes(files, names)
    routes = [
        route
        for each in files.values()
        for given in each.routes
        for below in _mounted(prefixes, given)
        for route in _route(names, files, below)
    ]
    known = {(route.place.file, route.function) for route in routes if route.path}
    return (route for route in routes if route.path or (route.place.file, route.function) not in known)


def _mounted(prefixes: Prefixes, route: Route) -> Iterator[Route]:
    """A route below every path that its router is put below in another file."""
    if not route.router or not route.path:
        yield route
        return
    rest = route.path.removeprefix(plain(route.prefix)) if route.prefix.strip("/") else route.path
    for prefix in prefixes.of(route.place.file, route.router, route.prefix):
        yield replace(route, path=plain(f"{prefix}/{rest}"))


def _route(names: Names, files: Mapping[str, Structure], route: Route) -> Iterator[Route]:
    file, function = route.place.file, route.function
    found = names.thing(file, function) or names.function(file, function)
    if found is None:
        yield route
        return
    file, function = found
    place = route.place if file == route.place.file else Place(file)
    verbs = {each.rpartition(".")[2] for each in files[file].functions if each.rpartition(".")[0] == function}
    answered = sorted(verbs & VERBS) if function in files[file].classes else []
    if not answered:
        yield replace(route, place=place, function=function)
    for verb in answered:
        yield replace(route, place=place, function=f"{function}.{verb}", method=verb.upper())


def _tables(names: Names, files: Mapping[str, Structure], models: Mapping[tuple[str, str], str]) -> Iterator[Table]:
    for path, each in files.items():
        for table in each.tables:
            keys = ((key, _table(names, models, path, key.table)) for key in table.keys)
            yield replace(table, keys=tuple(ForeignKey(name, key.place) for key, name in keys if name))


def _uses(names: Names, files: Mapping[str, Structure], models: Mapping[tuple[str, str], str]) -> Iterator[TableUse]:
    for path, each in files.items():
        for use in each.uses:
            name = _table(names, models, path, use.table)
            if name:
                yield replace(use, table=name)


def _table(names: Names, models: Mapping[tuple[str, str], str], path: str, name: str) -> str:
    """The table that `name` is; `` for a model that no file defines."""
    if not name.startswith("@"):
        return name
    wanted = name[1:]
    found = (path, wanted) if (path, wanted) in models else names.thing(path, wanted)
    if found not in models:
        found = names.held(path, wanted)
    return models.get(found, "") if found is not None else ""


def _variables(files: Mapping[str, Structure]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for path, each in files.items():
        for name in each.variables if each.role is not Role.TEST else ():
            found.setdefault(name, []).append(path)
    return {name: tuple(found[name]) for name in sorted(found)}


def _settings(files: Mapping[str, Structure]) -> dict[str, tuple[tuple[str, tuple[str, ...]], ...]]:
    found: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for path, each in files.items():
        for name, made_of in each.settings if each.role is not Role.TEST else ():
            found.setdefault(name, []).append((path, made_of))
    return {name: tuple(found[name]) for name in sorted(found)}


def _told_apart(files: Mapping[str, Structure], modules: Modules) -> dict[str, Structure]:
    """`files` in which a program that ends, and that no other file imports, is a script and not what a request waits for."""
    programs = {path for path, each in files.items() if each.program}
    if programs:
        for path, each in files.items():
            for taken in each.imports if each.role is not Role.TEST else ():
                programs.difference_update(target for target in modules.targets(taken, path) if target != path)
    answering = {folder for path, each in files.items() for folder in _answering(path, each)}
    roles = dict.fromkeys(programs, Role.SCRIPT) | {
        path: Role.REQUEST
        for path, each in files.items()
        if each.role is Role.JOB and (folder := job_folder(path)) and folder in answering
    }
    flows = {root for path, each in files.items() if (root := _flows(path, each)) is not None}
    flows = {root for root in flows if root not in answering and (root or not answering)}
    for path, each in files.items() if flows else ():
        if each.role is Role.REQUEST and any(not root or path.startswith(f"{root}/") for root in flows):
            roles.setdefault(path, Role.JOB)
    return {path: replace(each, role=roles[path]) if path in roles else each for path, each in files.items()}


def _flows(path: str, each: Structure) -> str | None:
    """The folder of a project of Airflow, by one of its flows: what lies beside them runs when they do."""
    root, dags, _ = f"/{path}".partition("/dags/")
    scheduled = dags and any(taken.module.partition(".")[0] == "airflow" for taken in each.imports)
    return root.removeprefix("/") if scheduled else None


def _answering(path: str, each: Structure) -> Iterator[str]:
    """The folders above a file that answers requests."""
    if any(route.kind in {Kind.HTTP, Kind.GRPC} for route in each.routes):
        folder = path.rpartition("/")[0]
        while folder:
            yield folder
            folder = folder.rpartition("/")[0]


def _lost(lines: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, lines[:5]))
    return f"could not be understood at line {shown}" + (f" and {len(lines) - 5} more" if len(lines) > 5 else "")
