"""What a test may say of a policy: which parts, in which order, with which numbers."""

from __future__ import annotations

from difflib import ndiff
from typing import Protocol


class Explained(Protocol):
    """What describes itself: a policy, or a whole registry of them."""

    def explain(self) -> str:
        """See `Policy.explain`."""
        ...


def assert_policy(policy: Explained, wanted: str) -> None:
    """`policy.explain()` says just this; spaces around lines and empty lines do not count.

    Fails with both, line by line. A test that pins what protects a call notices when somebody takes a part away.

    Example: `assert_policy(stock, open("stock-policy.txt").read())`
    """
    found, expected = _lines(policy.explain()), _lines(wanted)
    if found != expected:
        told = [line for line in ndiff(expected, found) if not line.startswith("?")]
        raise AssertionError("\n".join(["the policy is not as wanted (- wanted, + found):", *told]))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
