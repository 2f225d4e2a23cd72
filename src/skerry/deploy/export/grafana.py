"""A board for Grafana: every metric that services show at `/metrics`, put as the question that it answers.

Source of the format: Grafana's published schema of dashboards (kind `dashboard`, version 41).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

VERSION: Final = 41
WIDTH, HEIGHT, ACROSS = 8, 8, 24
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_OF: Final = '{job=~"$job"}'
_RATE: Final = "[$__rate_interval]"
_COLOURS: Final = {"mode": "palette-classic"}
Panel = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chart:
    """A question and the queries that answer it: expression and legend. `unit` is one of Grafana's."""

    title: str
    text: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"


def _rate(metric: str, *by: str) -> tuple[str, str]:
    """How often in a second, by some labels."""
    names = ("job", *by)
    return f"sum by ({', '.join(names)}) (rate({metric}{_OF}{_RATE}))", " ".join(f"{{{{{name}}}}}" for name in names)


def _now(metric: str, *by: str) -> tuple[str, str]:
    """Where it stands, the worst of all processes."""
    names = ("job", *by)
    return f"max by ({', '.join(names)}) ({metric}{_OF})", " ".join(f"{{{{{name}}}}}" for name in names)


_REQUESTS: Final = "http_server_request_duration_seconds"
_FAILED: Final = '{job=~"$job", http_response_status_code=~"5.."}'


_CALLS: Final = "http_client_request_duration_seconds"
_RPC_SERVED, _RPC_SENT = "rpc_server_call_duration_seconds", "rpc_client_call_duration_seconds"
_HANDLING: Final = "messaging_process_duration_seconds"


def _slowest(metric: str, share: float, *by: str) -> tuple[str, str]:
    """The duration that a share of all stay below."""
    names = ("job", *by)
    quantile = (
        f"histogram_quantile({share:g}, sum by ({', '.join((*names, 'le'))}) (rate({metric}_bucket{_OF}{_RATE})))"
    )
    legend = " ".join(f"{{{{{name}}}}}" for name in names)
    return quantile, f"{legend} {'half' if share == 0.5 else f'{share:.0%}'.replace('%', ' %')}"


def _failing() -> str:
    every = f"sum by (job) (rate({_REQUESTS}_count{_OF}{_RATE}))"
    failed = f"sum by (job) (rate({_REQUESTS}_count{_FAILED}{_RATE}))"
    return f"({failed} or 0 * {every}) / {every}"


ROWS: Final[dict[str, tuple[Chart, ...]]] = {
    "What users see": (
        Chart("Requests", "Answered in a second, by service.", (_rate(f"{_REQUESTS}_count"),), "reqps"),
        Chart("Share that failed", "Of all requests, those answered 5xx.", ((_failing(), "{{job}}"),), "percentunit"),
        Chart(
            "How long they took",
            "Half of them took less, and all but one in a hundred.",
            (_slowest(_REQUESTS, 0.5), _slowest(_REQUESTS, 0.99)),
            "s",
        ),
        Chart(
            "Calls over gRPC", "Answered in a second, by status.", (_rate(f"{_RPC_SERVED}_count", "rpc_status_code"),)
        ),
        Chart("How long those took", "All but one in a hundred took less.", (_slowest(_RPC_SERVED, 0.99),), "s"),
        Chart(
            "Unexpected errors", "A mistake of the service's own.", (_rate("skerry_requests_failed_total", "route"),)
        ),
        Chart(
            "Tokens refused",
            "By what was wrong with them; and keys that could not be fetched.",
            (
                _rate("skerry_tokens_refused_total", "provider", "check"),
                _rate("skerry_keys_unavailable_total", "provider"),
            ),
        ),
    ),
    "Calls to others": (
        Chart(
            "Attempts",
            "Sent in a second, by the service called and what it answered.",
            (
                _rate(f"{_CALLS}_count", "service_peer_name", "http_response_status_code"),
                _rate(f"{_RPC_SENT}_count", "service_peer_name", "rpc_status_code"),
            ),
        ),
        Chart(
            "How long attempts took",
            "All but one in a hundred took less, by the service called.",
            (_slowest(_CALLS, 0.99, "service_peer_name"), _slowest(_RPC_SENT, 0.99, "service_peer_name")),
            "s",
        ),
        Chart(
            "Breakers",
            "Changes, by policy and the state they went to.",
            (_rate("skerry_breaker_changes_total", "policy", "after"),),
        ),
        Chart(
            "Refused here",
            "Calls that were not sent, by reason.",
            (_rate("skerry_calls_refused_total", "policy", "reason"),),
        ),
        Chart("Timed out", "By policy and what ran out.", (_rate("skerry_calls_timed_out_total", "policy", "scope"),)),
        Chart(
            "Tried again",
            "Attempts after a failed one, beside a slow one, and those that were denied.",
            (
                _rate("skerry_retries_total", "policy"),
                _rate("skerry_calls_hedged_total", "policy"),
                _rate("skerry_retries_denied_total", "policy", "reason"),
            ),
        ),
        Chart("Stood in for", "Failed calls that a fallback answered.", (_rate("skerry_fallbacks_total", "policy"),)),
        Chart(
            "At once",
            "Calls under way and waiting, and how many a limit lets run, by policy; the busiest process of all.",
            (
                _now("skerry_calls_in_flight", "policy"),
                _now("skerry_calls_waiting", "policy"),
                _now("skerry_limit", "policy"),
            ),
        ),
    ),
    "Events": (
        Chart(
            "Handed over",
            "By the relay of a service's outbox; and its failures.",
            (_rate("skerry_events_relayed_total", "service"), _rate("skerry_relay_failures_total", "service")),
        ),
        Chart("Not handled yet", "Events that a group is behind.", (_now("skerry_consumer_lag", "group"),)),
        Chart(
            "Handled",
            "By group and type; duplicates had their effect before.",
            (_rate("skerry_events_handled_total", "group", "type", "duplicate"),),
        ),
        Chart(
            "How long handling took",
            "All but one in a hundred took less, by group.",
            (_slowest(_HANDLING, 0.99, "messaging_consumer_group_name"),),
            "s",
        ),
        Chart(
            "Failed",
            "Attempts of handlers, and readings of the broker.",
            (_rate("skerry_handler_failures_total", "group", "type"), _rate("skerry_consumer_failures_total", "group")),
        ),
        Chart(
            "Parked",
            "Dead letters, and those held behind them: a person is needed.",
            (_rate("skerry_events_parked_total", "group", "type", "held"),),
        ),
        Chart("Outbox is full", "1: the service takes no more events.", (_now("skerry_outbox_full", "service"),)),
    ),
    "Sagas": (
        Chart(
            "Began, turned back, ended",
            "By saga and status; stuck ones need a person.",
            (_rate("skerry_sagas_total", "saga", "status"),),
        ),
        Chart(
            "Steps that failed",
            "Attempts, by step and whether it was done or undone.",
            (_rate("skerry_saga_failures_total", "saga", "step", "action"),),
        ),
    ),
}


def files() -> dict[str, str]:
    """By path: the board, and what has Grafana load it from a folder."""
    provider = {
        "apiVersion": 1,
        "providers": [
            {"name": "skerry", "type": "file", "options": {"path": "/var/lib/grafana/dashboards"}},
        ],
    }
    return {
        "dashboards/skerry.json": json.dumps(board(), indent=2) + "\n",
        "provisioning/dashboards/skerry.json": json.dumps(provider, indent=2) + "\n",
    }


def board() -> dict[str, Any]:
    """The whole of it, as its JSON has it."""
    panels: list[Panel] = []
    top = 0
    for name, charts in ROWS.items():
        panels.append(_row(name, len(panels) + 1, top))
        top += 1
        for index, chart in enumerate(charts):
            across, down = index * WIDTH % ACROSS, index * WIDTH // ACROSS * HEIGHT
            panels.append(_panel(chart, len(panels) + 1, across, top + down))
        top += -(-len(charts) * WIDTH // ACROSS) * HEIGHT
    return {
        "uid": "skerry",
        "title": "skerry",
        "description": "Services, the calls between them, events and sagas.",
        "tags": ["skerry"],
        "schemaVersion": VERSION,
        "editable": True,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "10s",
        "timezone": "browser",
        "templating": {"list": [_data_source(), _jobs()]},
        "annotations": {"list": []},
        "links": [],
        "panels": panels,
    }


def _row(title: str, number: int, top: int) -> Panel:
    return {
        "type": "row",
        "id": number,
        "title": title,
        "collapsed": False,
        "gridPos": {"h": 1, "w": ACROSS, "x": 0, "y": top},
        "panels": [],
    }


def _panel(chart: Chart, number: int, across: int, top: int) -> Panel:
    targets = [
        {"refId": chr(ord("A") + index), "expr": expression, "legendFormat": legend, "datasource": _SOURCE}
        for index, (expression, legend) in enumerate(chart.queries)
    ]
    return {
        "type": "timeseries",
        "id": number,
        "title": chart.title,
        "description": chart.text,
        "datasource": _SOURCE,
        "gridPos": {"h": HEIGHT, "w": WIDTH, "x": across, "y": top},
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": chart.unit, "min": 0, "color": _COLOURS}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def _data_source() -> dict[str, Any]:
    return {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus", "multi": False}


def _jobs() -> dict[str, Any]:
    return {
        "type": "query",
        "name": "job",
        "label": "Service",
        "datasource": _SOURCE,
        "query": f"label_values({_REQUESTS}_count, job)",
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
    }
