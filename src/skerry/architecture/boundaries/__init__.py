"""Where a monolith could be split: packages merged by imports, common changes, data and names, and judged by later commits."""

from __future__ import annotations

from skerry.architecture.boundaries.judge import Backtest, back_test
from skerry.architecture.boundaries.proposal import Split, propose

__all__ = ["Backtest", "Split", "back_test", "propose"]
