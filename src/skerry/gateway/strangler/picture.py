"""A ramp as one HTML page: what happened, the weights, errors and evidence over time, and where answers differ.

It needs no script and fetches nothing. What came from outside, such as paths and samples, is text on it and never markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Final

from skerry.gateway.strangler.charts import Axis, Line, Style, chart, number, span, text
from skerry.gateway.strangler.report import LEFT_OUT, Decision, Interval, Mismatch, Report

MOST_ROWS: Final = 200
"""Of decisions, paths and intervals each; the newest, or those that differ most."""
_STATES: Final = {
    "idle": "Not begun",
    "comparing": "Comparing answers",
    "ramping": "Moving",
    "held": "Held",
    "rolled_back": "Rolled back",
    "done": "Moved",
}
_VERDICTS: Final = {
    "start": "started",
    "promote": "went on",
    "hold": "held",
    "roll_back": "went back",
    "step": "stepped",
    "hand_over": "handed writes over",
    "hand_back": "handed writes back",
}
_TESTS: Final[tuple[tuple[str, Style], ...]] = (
    ("errors", "b"),
    ("refused", "c"),
    ("latency", "d"),
    ("mismatches", "a"),
)
_ENOUGH: Final = 20
"""Requests of a side from which on the share of those that failed is drawn: one of one is not 100 %."""


def page(report: Report) -> str:
    """The page of a ramp, whole. Promises nothing about how it looks; it is the same for the same report."""
    title = f"{report.route}: from {report.control} to {report.candidate}"
    begin, end = _bounds(report)
    body = [_said(report), _numbers(report)]
    if report.intervals:
        body += _charts(report, begin, end)
    body += [_decisions(report.decisions, begin), _mismatches(report.mismatches), _intervals(report.intervals, begin)]
    when = "Nothing has been counted yet."
    if end > 0:
        first = datetime.fromtimestamp(begin, UTC).strftime("%Y-%m-%d %H:%M:%S")
        when = f"From {first} UTC, over {span(round(end - begin, 1))}. Times below count from there."
    template = files("skerry.gateway.strangler").joinpath("picture.html").read_text(encoding="utf-8")
    before, _, after = template.partition("__BODY__")
    filled = before.replace("__TITLE__", text(title)).replace("__WHEN__", text(when))
    return filled + "\n".join(body) + after


def _bounds(report: Report) -> tuple[float, float]:
    moments = [each.at for each in report.intervals] + [each.at for each in report.decisions]
    return (min(moments), max(moments)) if moments else (0.0, 0.0)


def _said(report: Report) -> str:
    last = report.decisions[-1] if report.decisions else None
    owner = {"control": report.control, "candidate": report.candidate, "nobody": "nobody: it is being handed over"}
    sentences = [f"{number(report.percent)} % of the reads go to {report.candidate}."]
    sentences.append(f"Writes belong to {owner[report.owner]}.")
    why = f"<p>{text(f'Last it {_VERDICTS[last.verdict]}: {last.reason}.')}</p>" if last and last.reason else ""
    needs = f"<p>{text(f'It needs {report.needs}.')}</p>" if report.needs else ""
    note = f"<p>{text(f'Note: {report.note}.')}</p>" if report.note else ""
    return (
        f'<section class="said {report.state}" aria-label="What happened"><strong>{_STATES[report.state]}</strong>'
        f"<p>{text(' '.join(sentences))}</p>{why}{needs}{note}</section>"
    )


def _numbers(report: Report) -> str:
    entries = [("now at", f"{number(report.percent)} %", " → ".join(f"{number(step)} %" for step in report.steps))]
    for name, sides in (
        (report.control, [each.control for each in report.intervals]),
        (report.candidate, [each.candidate for each in report.intervals]),
    ):
        requests, errors = sum(side.requests for side in sides), sum(side.errors for side in sides)
        share = f"{errors:,} failed ({100 * errors / requests:.2g} %)" if requests else "none failed"
        entries.append((name, f"{requests:,}", f"requests, {share}"))
    pairs = sum(each.pairs for each in report.intervals)
    differing = sum(each.differing for each in report.intervals)
    entries.append(("compared", f"{pairs:,}", f"pairs of answers, {differing:,} differ"))
    if left_out := {why: count for why, count in report.left_out.items() if count}:
        whys = "; ".join(f"{count:,} {LEFT_OUT[why]}" for why, count in left_out.items())
        entries.append(("not compared", f"{sum(left_out.values()):,}", whys))
    shown = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}<small>{text(more)}</small></dd></div>"
        for name, value, more in entries
    )
    return f"<dl>{shown}</dl>"


def _charts(report: Report, begin: float, end: float) -> list[str]:
    until = end - begin
    marks = [each.at - begin for each in report.decisions[-MOST_ROWS:]]
    return [
        "<h2>Over time</h2>",
        _weights(report, begin, until, marks),
        _errors(report, begin, until, marks),
        _evidence(report, begin, until, marks),
    ]


def _weights(report: Report, begin: float, until: float, marks: Sequence[float]) -> str:
    points = [(0.0, 0.0)]
    changed = [each for each in report.decisions if each.before != each.after]
    points = [(0.0, changed[0].before if changed else report.percent)]
    points += [(each.at - begin, each.after) for each in changed]
    points.append((until, report.percent))
    line = Line(report.candidate, points, "b", steps=True)
    says = f"It is {number(report.percent)} percent at the end, after {len(changed)} changes."
    axis = Axis(0.0, 100.0, " %")
    return chart(
        f"Share of the requests that {report.candidate} gets", says, [line], axis, until=until, decisions=marks
    )


def _errors(report: Report, begin: float, until: float, marks: Sequence[float]) -> str:
    lines = [
        Line(report.control, _shares(report.intervals, begin, candidate=False), "a"),
        Line(report.candidate, _shares(report.intervals, begin, candidate=True), "b"),
    ]
    worst = [max((value for _, value in line.points), default=0.0) for line in lines]
    says = "; ".join(f"{line.name}: at most {top:.2g} percent" for line, top in zip(lines, worst, strict=True))
    axis = Axis(0.0, _round_up(max(worst)), " %")
    return chart("Requests that failed so far, of each side", says, lines, axis, until=until, decisions=marks)


def _shares(intervals: Sequence[Interval], begin: float, *, candidate: bool) -> list[tuple[float, float]]:
    """In percent, of all requests up to then: an interval alone has too few."""
    found: list[tuple[float, float]] = []
    requests = errors = 0
    for each in intervals:
        side = each.candidate if candidate else each.control
        requests, errors = requests + side.requests, errors + side.errors
        if requests >= _ENOUGH:
            found.append((each.at - begin, 100 * errors / requests))
    return found


def _evidence(report: Report, begin: float, until: float, marks: Sequence[float]) -> str:
    limit = max(each.limit for each in report.intervals)
    lines: list[Line] = []
    for name, style in _TESTS:
        points = [(each.at - begin, each.evidence[name]) for each in report.intervals if name in each.evidence]
        if points:
            lines.append(Line(name, points, style))
    highest = max((value for line in lines for _, value in line.points), default=1.0)
    axis = Axis(0.01, max(10 * limit, min(10 * highest, 1e12)), "", logarithmic=True)
    tops = ", ".join(f"{line.name} at most {number(max(value for _, value in line.points))}" for line in lines)
    says = f"It goes back at {number(limit)}. {tops or 'No evidence yet'}."
    title = f"Evidence against {report.candidate} (e-value; each line a factor of ten or more)"
    limits = [(f"at {number(limit)} it goes back", limit)]
    return chart(title, says, lines, axis, until=until, decisions=marks, limits=limits, height=260)


def _decisions(decisions: Sequence[Decision], begin: float) -> str:
    shown = decisions[-MOST_ROWS:]
    if not shown:
        return "<h2>Decisions</h2><p>None yet.</p>"
    rows = [
        (
            (str(place), "n"),
            (span(round(each.at - begin, 1)), "moment"),
            (_VERDICTS[each.verdict], "moment"),
            (f"{number(each.before)} % → {number(each.after)} %", "moment"),
            (each.by, "moment"),
            (each.reason, "why"),
            (", ".join(f"{name} {number(value)}" for name, value in each.numbers.items()), "numbers"),
            ("not yet" if each.effective is None else f"{1000 * max(0.0, each.effective - each.at):,.0f} ms", "n"),
        )
        for place, each in enumerate(shown, 1)
    ]
    heads = ("", "at", "what", "share", "by", "why", "numbers", "in effect after")
    return "<h2>Decisions</h2>" + _table("Each that changed something, with the numbers that made it", heads, rows)


def _mismatches(mismatches: Sequence[Mismatch]) -> str:
    if not mismatches:
        return "<h2>Where answers differ</h2><p>Nowhere, as far as they were compared.</p>"
    worst = sorted(mismatches, key=lambda each: (-each.pairs, each.path))[:MOST_ROWS]
    rows = [((each.path, ""), (f"{each.pairs:,}", "n"), (f"{each.noise:,}", "n")) for each in worst]
    heads = ("path", "pairs that differ", "of which the control from itself")
    caption = "By JSON path, most first"
    return "<h2>Where answers differ</h2>" + _table(caption, heads, rows) + "".join(map(_samples, worst))


def _samples(mismatch: Mismatch) -> str:
    if not mismatch.samples:
        return ""
    shown = "".join(
        f'<div class="samples"><span>{text(request)}</span><span>control <code>{text(control)}</code></span>'
        f"<span>candidate <code>{text(candidate)}</code></span></div>"
        for request, control, candidate in mismatch.samples[:10]
    )
    count = len(mismatch.samples[:10])
    what = f"{count} sample{'s' if count > 1 else ''} at {mismatch.path}, without what is secret"
    return f"<details><summary>{text(what)}</summary>{shown}</details>"


def _intervals(intervals: Sequence[Interval], begin: float) -> str:
    if not intervals:
        return ""
    rows = [
        (
            (span(round(each.at - begin, 1)), "moment"),
            (f"{number(each.percent)} %", "n"),
            (f"{each.control.errors:,} of {each.control.requests:,}", "n"),
            (f"{each.candidate.errors:,} of {each.candidate.requests:,}", "n"),
            (f"{each.differing:,} of {each.pairs:,}", "n"),
            (", ".join(f"{name} {number(value)}" for name, value in each.evidence.items()), ""),
        )
        for each in intervals[-MOST_ROWS:]
    ]
    heads = ("until", "share", "control failed", "candidate failed", "pairs differ", "evidence")
    many = f"The last {len(rows)} of {len(intervals)} intervals" if len(intervals) > len(rows) else "All intervals"
    return f"<details><summary>{many}, as numbers</summary>{_table(many, heads, rows)}</details>"


def _table(caption: str, heads: Iterable[str], rows: Iterable[Iterable[tuple[str, str]]]) -> str:
    """Cells are (text, class)."""
    head = "".join(f'<th scope="col">{text(each) or "<span>#</span>"}</th>' for each in heads)
    body = "".join(
        "<tr>" + "".join(f'<td class="{style}">{text(cell)}</td>' for cell, style in row) + "</tr>" for row in rows
    )
    inside = f"<caption>{text(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table>{inside}</table></div>'


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50, 100."""
    return next((each for each in (1.0, 2.0, 5.0, 10.0, 20.0, 50.0) if value <= each), 100.0)
