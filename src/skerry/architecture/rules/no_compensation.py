"""A change here, a change there, and nothing that takes the first one back when the second one fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from skerry.architecture.code.facts import Change, Role, Workflow
from skerry.architecture.model import Evidence, Service, Source
from skerry.architecture.rules.finding import Finding, Severity, Subject, Verdict
from skerry.architecture.rules.uncompensated import losses

NAME: Final = "no-compensation"
_GOODS: Final = re.compile(
    r"pay(?:ment|out)?s?\b|pay_|charg|refund|debit|credit|transfer|withdraw|deposit|captur|invoic|reserv|stock|inventor|wallet|"
    r"balance|ledger|transaction|booking|book_|order|purchas|checkout|money",
    re.IGNORECASE,
)
_SHOWN: Final = 5
"""Places of a finding that are listed."""


class NoCompensation:
    """Workflows of the code, and what traces show of them."""

    name = NAME
    why = (
        "A function that changes state in two places can stop between them: the money is taken and the order does not exist, "
        "or the order stands and nobody hears of it. No transaction spans two services, so what is done has to be undone by "
        "hand, or the second change has to be sure to follow."
    )
    fix = (
        "Make the steps a saga: skerry.saga.Saga, a compensation for each step before the pivot. For a commit that an event "
        "follows, record the event in the same transaction: service.outbox.record(tx, event). Without skerry: undo the earlier "
        "changes in an except block, in reverse order, with a key that makes repeating safe; or an outbox table and a relay."
    )

    def check(self, subject: Subject) -> Iterator[Finding]:
        """One finding a workflow that can be left half done; for each other service, what was seen of it."""
        blamed: set[str] = set()
        for workflow in subject.code.workflows:
            service = subject.model.service_of(workflow.place.file) or ""
            if workflow.missing:
                blamed.add(service)
                yield _of_saga(workflow, service) if workflow.saga else _of_function(workflow, service)
        for finding in losses(subject.traces, NAME):
            blamed.update(finding.services)
            yield finding
        yield from _clean(subject, blamed)


def _of_saga(workflow: Workflow, service: str) -> Finding:
    steps = [each for each in workflow.missing if each.what != "pivot"]
    first = (steps or list(workflow.missing))[0]
    names = ", ".join(each.detail for each in steps or workflow.missing)
    if steps:
        message = (
            f"The saga {workflow.function} has no compensation for {names}: when a later step fails, it stays done."
        )
    else:
        message = (
            f"The pivot {names} of the saga {workflow.function} has no compensation: while its outcome is unknown the saga is "
            "stuck until a person decides."
        )
    return Finding(
        rule=NAME,
        verdict=Verdict.VIOLATION if steps else Verdict.SUSPECT,
        severity=Severity.ERROR if steps else Severity.WARNING,
        message=message,
        services=(service,) if service else (),
        place=first.place,
        evidence=tuple(
            Evidence(f"{each.detail}: no compensation", Source.CODE, each.place) for each in workflow.missing
        ),
        fix=f"Add a function under @{first.detail}.compensate that takes back what {first.detail} does.",
        key=f"{workflow.function}:{names}",
    )


def _of_function(workflow: Workflow, service: str) -> Finding:
    left = workflow.missing[0]
    remote = next((each for each in workflow.missing if each.what == "remote"), None)
    left = remote or left
    later = next((each for each in workflow.changes if each != left and _after(workflow, left, each)), None)
    words = left.detail if "/" in left.detail else f"{left.detail} {workflow.function}"
    severe = remote is not None and _GOODS.search(words) is not None
    then = f"{_said(later)} at line {later.place.line}" if later else "a later change"
    return Finding(
        rule=NAME,
        verdict=Verdict.VIOLATION if severe else Verdict.SUSPECT,
        severity=Severity.ERROR if severe else Severity.WARNING,
        message=f"{workflow.function}: {_said(left)} stays when {then} fails; nothing undoes it.",
        services=(service,) if service else (),
        place=left.place,
        evidence=tuple(
            Evidence(f"{'not undone: ' if each in workflow.missing else ''}{_said(each)}", Source.CODE, each.place)
            for each in workflow.changes[:_SHOWN]
        ),
        fix=_advice(left, later),
        key=f"{workflow.function}:{left.what}:{later.what if later else ''}",
    )


def _after(workflow: Workflow, left: Change, each: Change) -> bool:
    return workflow.changes.index(each) > workflow.changes.index(left) and (
        each.what != left.what or each.what == "remote"
    )


def _said(change: Change | None) -> str:
    if change is None:
        return "a change"
    words = {"commit": "the commit", "publish": "the message", "remote": "the call", "undo": "the undoing"}
    detail = change.detail if change.what in {"publish", "remote"} else ""
    return f"{words.get(change.what, change.what)} {detail}".strip()


def _advice(left: Change, later: Change | None) -> str:
    if left.what == "commit" and later is not None and later.what == "publish":
        return "Record the event in the transaction that changes the state: service.outbox.record(tx, event)."
    return ""


def _clean(subject: Subject, blamed: set[str]) -> Iterator[Finding]:
    code = subject.code
    if not code.roles:
        yield Finding(
            rule=NAME, verdict=Verdict.UNKNOWN, message="No Python source was found, so no workflow could be read."
        )
        return
    files = _files(subject)
    unread: list[str] = []
    for name in subject.model.services:
        if name in blamed:
            continue
        if not files.get(name):
            if not _forwards(subject.model.services[name]):
                unread.append(name)
                continue
            message = f"{name}: it hands requests on and has no code of its own, so it changes no state itself."
            evidence = subject.model.services[name].evidence
            yield Finding(
                rule=NAME, verdict=Verdict.CLEAN, message=message, services=(name,), evidence=evidence, key=name
            )
            continue
        evidence = tuple(_seen(subject, name))
        message = f"{name}: every change in two places is undone, or is sure to follow."
        if not any(each.place for each in evidence):
            message = f"{name}: no function of its {files[name]} files changes state in more than one place."
        yield Finding(rule=NAME, verdict=Verdict.CLEAN, message=message, services=(name,), evidence=evidence, key=name)
    if unread:
        names = ", ".join(unread)
        message = f"No Python source of {names} was read; whether their workflows are undone cannot be said."
        yield Finding(rule=NAME, verdict=Verdict.UNKNOWN, message=message, services=tuple(unread), key="unread")
    if not subject.model.services and not blamed:
        message = f"None of {len(code.roles)} files changes state in more than one place without undoing it."
        yield Finding(rule=NAME, verdict=Verdict.CLEAN, message=message, evidence=(Evidence(message, Source.CODE),))


def _forwards(service: Service) -> bool:
    """Whether a service is a proxy that is configured, and not written."""
    return service.role == "gateway" and (not service.roots or service.language == "")


def _files(subject: Subject) -> dict[str, int]:
    """How many files with code that serves or works each service has."""
    files: dict[str, int] = {}
    for file, role in subject.code.roles.items():
        if role in {Role.REQUEST, Role.JOB} and subject.code.lines.get(file):
            service = subject.model.service_of(file)
            if service is not None:
                files[service] = files.get(service, 0) + 1
    return files


def _seen(subject: Subject, service: str) -> Iterator[Evidence]:
    """What was looked at: sagas and functions that undo, and events that are recorded with the state."""
    for workflow in subject.code.workflows:
        if subject.model.service_of(workflow.place.file) == service:
            kind = "saga" if workflow.saga else "function"
            text = f"{kind} {workflow.function}: {len(workflow.changes)} changes, each undone or last or repeatable"
            yield Evidence(text, Source.CODE, workflow.place)
    for message in subject.code.messages:
        if message.sends and message.library == "skerry" and subject.model.service_of(message.place.file) == service:
            yield Evidence(
                f"{message.topic or 'an event'} is recorded with the state that it tells of", Source.CODE, message.place
            )
    writes = sum(use.writes for use in subject.code.uses if subject.model.service_of(use.place.file) == service)
    yield Evidence(f"{writes} places write to its tables", Source.CODE)


no_compensation: NoCompensation = NoCompensation()
