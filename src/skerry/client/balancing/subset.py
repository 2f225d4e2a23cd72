"""Deterministic subsets: each client keeps connections to a few of many instances, and all instances get about as many clients.

"Site Reliability Engineering" (Google, 2016), chapter 20, "A Subset Selection Algorithm: Deterministic Subsetting": clients are
dealt to subsets in rounds, and each round shuffles the instances in its own way. Here the shuffle is an order by hash, so that
one instance more or less moves only one place of it, and not all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from skerry.client.discovery.endpoint import Endpoint

SUBSET = 20
"""Instances that a client uses, of more than twice as many."""


def subset(endpoints: Sequence[Endpoint], *, client: int, size: int = SUBSET) -> list[Endpoint]:
    """Those that the client of this number should use: `size` of them, or all when they are not twice as many.

    Clients whose numbers follow each other spread evenly: with as many as there are subsets every instance has exactly one, but
    for those that are left over in this round. Numbers drawn at random spread as evenly as chance does.
    """
    subsets = len(endpoints) // size
    if subsets < 2:
        return list(endpoints)
    turn, mine = divmod(client, subsets)
    shuffled = sorted(endpoints, key=lambda endpoint: _place(turn, endpoint))
    return shuffled[mine * size : (mine + 1) * size]


def _place(turn: int, endpoint: Endpoint) -> bytes:
    text = f"{turn} {endpoint.address} {endpoint.instance}"
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
