"""What all of them send: one event of about 1 KiB, for one of 200 accounts."""

from __future__ import annotations

from skerry.events import DomainEvent

KEYS = 200
PAD = "x" * 900


class Changed(DomainEvent, type="bench.account.changed", key="account"):
    account: str
    n: int
    pad: str


def changed(n: int, pad: str = PAD) -> Changed:
    return Changed(account=f"a{n % KEYS}", n=n, pad=pad)
