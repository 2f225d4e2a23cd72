"""The verbs check, explain and map, as a user or a pipeline calls them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from skerry.cli.main import main

COMPOSE = """\
services:
  orders:
    build: ./orders
    environment:
      DATABASE_URL: postgresql://user:s3cret@db/shop
  billing:
    build: ./billing
    environment:
      DATABASE_URL: postgresql://user:s3cret@db/shop
  db:
    image: postgres:17
"""
APP = """\
import os
import psycopg

database = psycopg.connect(os.environ["DATABASE_URL"])


def settle():
    database.execute("UPDATE invoices SET paid = true")
"""


@pytest.fixture
def shared(tmp_path, monkeypatch) -> Path:
    """Two services that write one table."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "system"
    for name in ("orders", "billing"):
        (folder / name).mkdir(parents=True)
        (folder / name / "app.py").write_text(APP)
        (folder / name / "Dockerfile").write_text('FROM python:3.12\nCOPY . /srv\nCMD ["python", "app.py"]\n')
    (folder / "compose.yaml").write_text(COMPOSE)
    return folder


@pytest.fixture
def good(shared) -> Path:
    """The same with a database for each."""
    (shared / "compose.yaml").write_text(COMPOSE.replace("@db/shop", "@db/orders", 1))
    return shared


def check(folder: Path, *options: str, status: int = 0, given: str | None = None) -> Result:
    rule = [] if "--write-baseline" in options else ["--rule", "shared-database"]
    command = ["check", str(folder), *rule, *options]
    result = CliRunner().invoke(main, command, input=given)
    assert result.exit_code == status, result.output
    return result


def findings(folder: Path, *options: str, status: int = 1) -> list[dict]:
    return json.loads(check(folder, "-o", "json", *options, status=status).stdout)["findings"]


def test_a_finding_is_shown_and_makes_the_status_one(shared) -> None:
    """With the place where it stands, and without the password that stands there."""
    text = check(shared, status=1).stdout
    assert "shared-database  violation: 1 error" in text
    assert "compose.yaml:" in text
    assert "s3cret" not in text


@pytest.mark.parametrize("form", ["text", "json", "markdown", "sarif"])
def test_no_format_shows_a_secret(shared, form) -> None:
    """Whatever the output is for."""
    assert "s3cret" not in check(shared, "-o", form, status=1).stdout


def test_nothing_that_counts_is_status_zero(good) -> None:
    """And the verdict says what was seen."""
    text = check(good).stdout
    assert "shared-database  clean" in text
    assert "each of 2 services that keep data has its own" in text


def test_severities_decide(shared) -> None:
    """Of the only finding, a warning: tables are disjoint."""
    (shared / "orders/app.py").write_text(APP.replace("invoices", "orders"))
    assert findings(shared)[0]["severity"] == "warning"
    check(shared, "--fail-on", "warning", status=1)
    check(shared, "--fail-on", "error")
    check(shared, "--fail-on", "never")


def test_partial_reading_is_status_three(good) -> None:
    """Nothing was found, and something could not be read: that is no clean bill."""
    (good / "orders/old.py").write_text("def broken(:\n    print 'x'\n")
    text = check(good, status=3).stdout
    assert "unparsed: 1 file" in text
    assert "orders/old.py" in text


def test_a_finding_weighs_more_than_partial_reading(shared) -> None:
    """Status 1, and the number of files is there as well."""
    (shared / "orders/old.py").write_text("def broken(:\n    print 'x'\n")
    assert json.loads(check(shared, "-o", "json", status=1).stdout)["unparsed"] == 1


def test_a_baseline_keeps_old_findings_quiet(shared, tmp_path) -> None:
    """What is known does not count, also after lines have moved; what is mended is said."""
    known = tmp_path / "known.json"
    check(shared, "--write-baseline", str(known))
    check(shared, "--baseline", str(known))
    (shared / "compose.yaml").write_text(f"# one more line\n{COMPOSE}")
    check(shared, "--baseline", str(known))
    (shared / "compose.yaml").write_text(COMPOSE.replace("@db/shop", "@db/orders", 1))
    assert "in the baseline and gone: 1" in check(shared, "--baseline", str(known)).stdout


def test_a_comment_allows_with_its_reason(shared) -> None:
    """It stands at the place that the finding names, and is shown."""
    [finding] = findings(shared)
    lines = COMPOSE.split("\n")
    lines[finding["line"] - 1] += "  # skerry: allow[shared-database] until billing has its own in June"
    (shared / "compose.yaml").write_text("\n".join(lines))
    text = check(shared).stdout
    assert "allowed by a comment: 1" in text
    assert "until billing has its own in June" in text


def test_the_report_goes_to_a_file(shared, tmp_path) -> None:
    """Standard output stays empty, and the status is the same."""
    file = tmp_path / "report.sarif"
    result = check(shared, "-o", "sarif", "--output", str(file), status=1)
    assert result.stdout == ""
    assert json.loads(file.read_text())["version"] == "2.1.0"


def test_rendered_manifests_come_from_standard_input(tmp_path, shared) -> None:
    """What a chart becomes is read like a file of the repository."""
    (shared / "compose.yaml").unlink()
    workloads = "".join(
        f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  template:\n    spec:\n"
        f"      containers:\n      - name: {name}\n        image: registry/{name}:1\n"
        "        env: [{name: DATABASE_URL, value: postgresql://db/shop}]\n---\n"
        for name in ("orders", "billing")
    )
    result = check(shared, "-o", "json", "--manifests", "-", given=workloads, status=1)
    assert [each["services"] for each in json.loads(result.stdout)["findings"]] == [["billing", "orders"]]


@pytest.mark.parametrize(
    "options",
    [
        ("--rule", "no-such-rule"),
        ("--baseline", "none.json"),
        ("--fail-on", "always"),
        ("-o", "xml"),
        ("--output", "no/such/folder/file"),
        ("--write-baseline", "b.json", "--rule", "chatty"),
    ],
)
def test_wrong_usage_is_status_two(good, options) -> None:
    """It is told apart from findings."""
    check(good, *options, status=2)


def test_what_is_no_baseline_is_status_two(good, tmp_path) -> None:
    """The error is one line that names the file."""
    file = tmp_path / "baseline.json"
    file.write_text("[]")
    result = check(good, "--baseline", str(file), status=2)
    assert result.stderr.startswith(f"error: the baseline {file} is not of version 1")


def test_without_the_extra_it_says_which(good) -> None:
    """A light installation has no reader of YAML: one line names what to install, and nothing is half read."""
    script = f"import sys; sys.modules['yaml'] = None\nfrom skerry.cli.main import main\nmain(['check', {str(good)!r}])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert (
        done.stderr
        == "error: Reading a repository needs packages that are not installed: pip install 'skerry[check]'\n"
    )


def test_nothing_is_written_into_the_repository(shared) -> None:
    """Neither a cache nor anything else."""
    before = sorted((path, path.stat().st_mtime_ns) for path in shared.rglob("*"))
    check(shared, status=1)
    assert sorted((path, path.stat().st_mtime_ns) for path in shared.rglob("*")) == before


def test_explain_a_rule() -> None:
    """Why, what to do, and how it looks."""
    result = CliRunner().invoke(main, ["explain", "shared-database"])
    assert result.exit_code == 0
    for part in ("why it hurts:", "what to do:", "with skerry:", "without:"):
        assert part in result.stdout


def test_explain_a_finding(shared, tmp_path) -> None:
    """By its fingerprint, read again or from a report: the same."""
    report = tmp_path / "report.json"
    check(shared, "-o", "json", "--output", str(report), status=1)
    fingerprint = json.loads(report.read_text())["findings"][0]["fingerprint"]
    again = CliRunner().invoke(main, ["explain", fingerprint[:8], str(shared)])
    kept = CliRunner().invoke(main, ["explain", fingerprint, "--report", str(report)])
    assert again.exit_code == kept.exit_code == 0, again.output + kept.output
    assert "billing/app.py:8" in again.stdout
    assert again.stdout.split("\n")[:8] == kept.stdout.split("\n")[:8]


def test_explain_as_json(shared) -> None:
    """A rule and a finding as data."""
    rule = json.loads(CliRunner().invoke(main, ["explain", "chatty", "-o", "json"]).stdout)
    assert rule["example"].keys() == {"fault", "skerry", "without"}
    [finding] = findings(shared)
    command = ["explain", finding["fingerprint"], str(shared), "-o", "json"]
    assert json.loads(CliRunner().invoke(main, command).stdout) == finding


@pytest.mark.parametrize("what", ["no-such-rule", "abc", "0123456789abcdef"])
def test_explain_what_is_not_there(good, what) -> None:
    """Status 2, with what there is or why."""
    result = CliRunner().invoke(main, ["explain", what, str(good)])
    assert result.exit_code == 2
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("form", "part"),
    [
        ("text", "2 services, 1 database"),
        ("json", '"identity": "postgresql://db:5432/shop"'),
        ("mermaid", "flowchart LR"),
        ("html", "<!doctype html>"),
    ],
)
def test_map(shared, form, part) -> None:
    """The system in each form; none shows a password."""
    result = CliRunner().invoke(main, ["map", str(shared), "-o", form])
    assert result.exit_code == 0, result.output
    assert part in result.stdout
    assert "s3cret" not in result.stdout


def test_the_page_has_the_findings_of_check(shared) -> None:
    """What `skerry check` says counts is in the page of `skerry map`, word for word."""
    page = CliRunner().invoke(main, ["map", str(shared), "-o", "html"]).stdout
    counted = json.loads(CliRunner().invoke(main, ["check", str(shared), "-o", "json"]).stdout)["findings"]
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    told = json.loads(text)["judged"]["findings"]
    assert counted
    assert [each["message"] for each in told] == [each["message"] for each in counted]


def test_it_works_as_a_process_in_a_pipe(shared) -> None:
    """No bar and no colour where nobody watches; the status is the process's."""
    done = subprocess.run(
        [sys.executable, "-m", "skerry", "check", str(shared)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "\x1b" not in done.stdout + done.stderr


def test_traces_add_what_was_seen_at_run_time(good, tmp_path) -> None:
    """Twenty equal calls below one span are a finding with run-time evidence, though no code was seen to make them."""
    key = {"traceId": "0" * 31 + "1"}
    parent = key | {"spanId": "0" * 15 + "1", "name": "GET /bill", "kind": 2}
    spans = [parent | {"startTimeUnixNano": "1000000000", "endTimeUnixNano": "3000000000"}]
    attributes = [
        {"key": name, "value": {"stringValue": text}}
        for name, text in (
            ("http.request.method", "GET"),
            ("server.address", "orders"),
            ("url.full", "http://orders/o/7"),
        )
    ]
    for number in range(20):
        start = 1_000_000_000 + number * 10_000_000
        span = key | {"spanId": f"{number + 2:016x}", "parentSpanId": "0" * 15 + "1", "name": "GET", "kind": 3}
        times = {"startTimeUnixNano": str(start), "endTimeUnixNano": str(start + 9_000_000)}
        spans.append(span | times | {"attributes": attributes})
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "billing"}}]}
    file = tmp_path / "traces.jsonl"
    file.write_text(json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}) + "\n")
    command = ["check", str(good), "--rule", "chatty", "--traces", str(file), "-o", "json", "--fail-on", "never"]
    [finding] = json.loads(CliRunner().invoke(main, command).stdout)["findings"]
    assert finding["services"] == ["billing", "orders"]
    assert "trace" in {each["source"] for each in finding["evidence"]}
    command[command.index("json")] = "text"
    assert "seen at run time: " in CliRunner().invoke(main, command).stdout


def test_a_process_that_speaks_grpc_reads_too(shared) -> None:
    """What reads is forked, and gRPC begins its threads anew in there: they find their files."""
    script = """
import asyncio, sys
from pathlib import Path
import grpc
from skerry.architecture.analyse import analyse

async def speak():
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await channel.channel_ready()
        print([len(analyse(Path(sys.argv[1])).code.unparsed) for _ in range(10)])
    await server.stop(0)

asyncio.run(speak())
"""
    command = [sys.executable, "-c", script, str(shared)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, f"{[0] * 10}\n"), done.stderr
