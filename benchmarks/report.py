"""What a benchmark prints: one object, or a table of it."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

Op = Literal[">=", "<="]


@dataclass
class Report:
    """Collects rounds of figures, and judges their medians."""

    name: str
    peers: list[str]
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    bars: list[dict[str, Any]] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    def add(self, metric: str, who: str, value: float, unit: str) -> None:
        """One figure of one round."""
        self.samples.setdefault(metric, {}).setdefault(who, []).append(value)
        self.units[metric] = unit
        print(f"{time.monotonic() - self.begun:6.1f} s  {metric:34} {who:18} {value:12,.2f} {unit}", file=sys.stderr)

    def median(self, metric: str, who: str = "ours") -> float:
        return statistics.median(self.samples[metric][who])

    def ratio(self, name: str, metric: str, over: str, who: str = "ours") -> float:
        """The median of the rounds' own ratios, so that a slow minute of the machine hits both."""
        pairs = zip(self.samples[metric][who], self.samples[metric][over], strict=True)
        self.ratios[name] = statistics.median(mine / theirs for mine, theirs in pairs)
        return self.ratios[name]

    def bar(self, name: str, value: float, op: Op, limit: float) -> None:
        ok = value >= limit if op == ">=" else value <= limit
        self.bars.append({"name": name, "value": round(value, 4), "op": op, "limit": round(limit, 4), "ok": ok})

    def document(self) -> dict[str, Any]:
        results = {
            metric: {
                **{who: statistics.median(values) for who, values in by.items()},
                "spread": {who: [min(values), max(values)] for who, values in by.items()},
                "rounds": max(map(len, by.values())),
                "unit": self.units[metric],
            }
            for metric, by in self.samples.items()
        }
        return {
            "name": self.name,
            "machine": machine(),
            "peers": {peer: _version(peer) for peer in self.peers},
            "results": results,
            "ratios": self.ratios,
            "bars": self.bars,
            "notes": self.notes,
            "ok": all(bar["ok"] for bar in self.bars),
        }


def machine() -> dict[str, Any]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    load = round(os.getloadavg()[0], 2)
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version(), "load": load}


def flush_probe(folder: Path, times: int = 50) -> float:
    """Seconds that one flush of 4 KiB takes here and now, the median."""
    taken = []
    with (folder / "probe").open("wb") as file:
        for _ in range(times):
            file.write(b"x" * 4096)
            file.flush()
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def show(document: dict[str, Any], output: str) -> str:
    if output == "json":
        return json.dumps(document, indent=2)
    lines = [f"{document['name']} on {document['machine']['cores']} cores, Python {document['machine']['python']}"]
    for metric, figures in document["results"].items():
        shown = [
            f"{who} {value:,.2f} ({figures['spread'][who][0]:,.2f} to {figures['spread'][who][1]:,.2f})"
            for who, value in figures.items()
            if who not in {"spread", "rounds", "unit"}
        ]
        lines.append(f"  {metric} [{figures['unit']}, {figures['rounds']} rounds]: {'; '.join(shown)}")
    lines += [f"  ratio {name}: {value:.2f}" for name, value in document["ratios"].items()]
    lines += [
        f"  {'met ' if bar['ok'] else 'MISSED'} {bar['name']}: {bar['value']:,.2f} {bar['op']} {bar['limit']:,.2f}"
        for bar in document["bars"]
    ]
    return "\n".join([*lines, *(f"  note: {note}" for note in document["notes"])])


def _version(peer: str) -> str:
    try:
        return version(peer)
    except PackageNotFoundError:
        return "not installed"
