"""From a folder to what the rules look at, and to what they say of it."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from skerry.architecture import traces as traces_of
from skerry.architecture.build import build
from skerry.architecture.code import reading
from skerry.architecture.code.facts import Code
from skerry.architecture.rules import RULES, Finding, Severity, Subject, Verdict
from skerry.architecture.source import History, Place, Unreadable, values
from skerry.architecture.source.cache import Cache
from skerry.architecture.source.git import GitFiles, history
from skerry.architecture.source.repository import Found, NoRepository, Repository, find
from skerry.architecture.source.tree import Tree
from skerry.architecture.traces.spans import Traces
from skerry.errors import ConfigurationError

_MATTERS: Final = (*reading.SUFFIXES, ".yaml", ".yml", ".toml", ".proto", ".env", "Dockerfile", "requirements.txt", "/")
"""Ends of names, with that of a folder, whose absence makes an analysis partial; a picture that is too large does not."""
_KEPT: Final = "check.sqlite3"
_ORDER: Final = (Verdict.VIOLATION, Verdict.SUSPECT, Verdict.UNKNOWN, Verdict.CLEAN)


class Progress(Protocol):
    """Is told how far an analysis is, in the thread that asked for it."""

    def step(self, what: str, done: int, total: int) -> None:
        """`done` of `total` pieces of `what` are done; `total` is 0 where nobody knows."""


class _Silent:
    def step(self, what: str, done: int, total: int) -> None:
        del what, done, total


def analyse(
    path: Path,
    *,
    traces: Sequence[Path] = (),
    given: Sequence[tuple[str, bytes]] = (),
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Subject:
    """Read the work tree at `path`, or the last commit of a bare repository, and build the model of its system.

    `given` are further manifests by name, such as what `helm template` printed. `cache` is a folder where what was read is kept
    for the next time, such as `source.cache.folder()`; it is not used when it lies within `path`, and without one nothing is
    kept. What could not be read is in `skipped` and `code.unparsed` and costs nothing else. Raises `ConfigurationError` when
    there is nothing to read at `path` or in `traces`.
    """
    told = _Silent() if progress is None else progress
    told.step("listing files", 0, 0)
    where = _repository(path)
    files = source(path)
    past = None
    with _uncollected(), Cache(_kept_in(path, cache), version=reading.version()) as kept:
        code = _code(files, kept, told)
        seen = _traces(traces)
        told.step("building the model", 0, 0)
        model = build(files, code, seen, given=given)
        # of a single service the rules ask nothing that history could tell
        if where is not None and len(model.services) > 1:
            told.step("reading history", 0, 0)
            past = _history(path, where, kept)
    if isinstance(files, GitFiles):
        files.rest()
    return Subject(
        files=files,
        code=code,
        model=model,
        history=past,
        traces=seen,
        part=where.prefix.rstrip("/") if where else "",
        skipped=tuple(each for each in files.skipped if each.file.endswith(_MATTERS)),
    )


def findings(subject: Subject) -> tuple[Finding, ...]:
    """What all rules say, the worst first. A rule that fails on a system says `unknown` of it and takes no other with it."""
    found: list[Finding] = []
    for rule in RULES:
        try:
            found += rule.check(subject) if _anything(subject) else [_nothing(rule.name)]
        except Exception as error:  # a repository that nobody foresaw must not cost the other rules
            text = f"the rule could not be judged here ({type(error).__name__}): please report it"
            found.append(Finding(rule=rule.name, verdict=Verdict.UNKNOWN, message=text, key="failed"))
    if isinstance(subject.files, GitFiles):
        subject.files.rest()
    return tuple(sorted(found, key=_rank))


def _anything(subject: Subject) -> bool:
    return bool(subject.model.services or subject.code.roles)


def _nothing(rule: str) -> Finding:
    text = "no service was found: there is no code, no manifest and no trace that names one"
    return Finding(rule=rule, verdict=Verdict.UNKNOWN, message=text, key="nothing")


@contextmanager
def _uncollected() -> Iterator[None]:
    """Facts are many and have no cycles: looking for these again and again takes as long as all the rest."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _rank(finding: Finding) -> tuple[int, int, str, Place, str, str]:
    severity = tuple(Severity).index(finding.severity)
    place = finding.place or Place("")
    return _ORDER.index(finding.verdict), severity, finding.rule, place, finding.key, finding.message


def _repository(path: Path) -> Found | None:
    try:
        return find(path)
    except (NoRepository, OSError):
        return None


def source(path: Path) -> Tree | GitFiles:
    """The work tree; the last commit of a repository that has none, or that was cloned without one. To be closed.

    Raises `ConfigurationError` when there is no such folder.
    """
    where = _repository(path)
    try:
        if where is not None and where.folder == path.resolve():
            return GitFiles(path)
        tree = Tree(path)
        if where is not None and not where.prefix and not tree.sizes and not tree.skipped:
            with suppress(NoRepository):
                return GitFiles(path)
        return tree
    except Unreadable as error:
        raise ConfigurationError(f"there is nothing to read: {error}") from error


def _kept_in(path: Path, folder: Path | None) -> Path | None:
    """The file to keep facts in, unless it would lie in what is read."""
    if folder is None or folder.resolve().is_relative_to(path.resolve()):
        return None
    return folder / _KEPT


def _history(path: Path, where: Found, kept: Cache) -> History | None:
    """All commits that touch `path`; None where there are none."""
    try:
        with Repository(path) as repository:
            state = f"{repository.head} {repository.shallow} {where.prefix}"
        key = kept.key("history", state.encode("utf-8", "surrogateescape"))
        past = _kept_history(kept, key)
        if past is None:
            past = history(path)
            kept.keep({key: values.dumps(past)})
    except NoRepository:
        return None
    commits = tuple(each for each in past.commits if each.paths) if where.prefix else past.commits
    return replace(past, commits=commits) if commits else None


def _kept_history(kept: Cache, key: bytes) -> History | None:
    content = kept.take([key]).get(key)
    with suppress(ValueError):
        return values.loads(History, content) if content is not None else None
    return None


def _code(files: Tree | GitFiles, kept: Cache, told: Progress) -> Code:
    try:
        return reading.read(files, kept, lambda done, total: told.step("reading code", done, total))
    except Unreadable as error:
        raise ConfigurationError(str(error)) from error


def _traces(paths: Sequence[Path]) -> Traces | None:
    if not paths:
        return None
    for path in paths:
        if not path.exists():
            raise ConfigurationError(f"there are no traces at {path}")
    found = traces_of.read(paths)
    if not found.traces:
        why = "; ".join(f"{each.file}: {each.why}" for each in found.skipped[:3])
        raise ConfigurationError(f"no spans could be read: {why or 'the files are empty'}")
    return found
