"""Reports of ramps for the tests of the page that shows them."""

from __future__ import annotations

from skerry.gateway.strangler.report import Decision, Interval, Mismatch, Report, Side

BEGIN = 1_796_000_000.0
STEPS = (1.0, 5.0, 25.0, 100.0)


def interval(at: float, percent: float, *, errors: int = 0, requests: int = 40, evidence: float = 1.0) -> Interval:
    """One in which the candidate had so many errors."""
    own = round(requests * percent / 100)
    told = {"errors": evidence, "refused": 0.9, "latency": 0.5, "mismatches": 0.7}
    control, candidate = Side(requests - own, 0, 0, 2), Side(own, errors, 0, 1)
    return Interval(BEGIN + at, percent, control, candidate, 4, 0, told, 100.0)


def rolled_back(route: str = "orders", *, path: str = "$.total", sample: str = "3950") -> Report:
    """A ramp that went to 25 % and back."""
    intervals = [interval(n, 0.0 if n < 20 else 25.0, errors=n // 30, evidence=1.0 + n**3 / 400) for n in range(1, 40)]
    decisions = (
        Decision(BEGIN, "start", "person", 0.0, 0.0, "started", {}, BEGIN + 0.03),
        Decision(BEGIN + 20, "promote", "evidence", 0.0, 25.0, "as good", {"requests": 800.0}, BEGIN + 20.04),
        Decision(
            BEGIN + 39, "roll_back", "evidence", 25.0, 0.0, f"errors at {path}", {"e_errors": 149.3}, BEGIN + 39.05
        ),
    )
    mismatches = (Mismatch(path, 31, 2, ((f"GET /api/orders/{sample}", sample, "4000"),)), Mismatch("$.ts", 4, 4))
    return Report(
        route,
        "monolith",
        route,
        STEPS,
        "rolled_back",
        0.0,
        "control",
        "a new start",
        tuple(intervals),
        decisions,
        mismatches,
    )


def untouched() -> Report:
    """A ramp that nobody has begun."""
    return Report("orders", "monolith", "orders", STEPS, "idle", 0.0, "control", "")
