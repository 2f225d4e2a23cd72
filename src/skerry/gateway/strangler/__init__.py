"""A route on its way from a monolith to a service of its own: compared, ramped, and taken back when it is worse.

`shares` says what each route is at, in a file that every gateway of the machine watches; `applying` puts it into a
specification, so that both engines serve it with what they can anyway: weights. `tally` is what they count, in files too.
Whoever decides reads the one and writes the other, and is no part of the way of a request: it can die, and all stays as it was.
"""

from __future__ import annotations

from skerry.gateway.strangler.applying import applied
from skerry.gateway.strangler.shares import Share, Shares

__all__ = ["Share", "Shares", "applied"]
