"""The policies of a process by name, so that all of them can be looked at, and changed while it runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from skerry.resilience._part import require
from skerry.resilience.policy import Policy


class Policies(Mapping[str, Policy]):
    """A mapping of policies by their names.

    `reload` changes several at once: when one of the changes is wrong, none is made. What that keeps is said at `Policy.reload`.
    Raises `ConfigurationError` for a name that is there twice, or is not there. Safe between threads.

    Example: `policies = Policies(payments, stock); policies.reload({"payment": {"total": 3.0}, "stock": {"attempt": 0.2}})`
    """

    def __init__(self, *policies: Policy) -> None:
        self._policies: dict[str, Policy] = {}
        self._lock = threading.Lock()
        for policy in policies:
            self.add(policy)

    def add(self, policy: Policy) -> Policy:
        """Take in one more, and return it."""
        with self._lock:
            require(policy.name not in self._policies, f"there are two policies called {policy.name!r}")
            self._policies = {**self._policies, policy.name: policy}
        return policy

    def reload(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        """Change the policies named, each as `Policy.reload` does; all of them or none."""
        with self._lock:
            for name in changes:
                require(name in self._policies, f"there is no policy called {name!r}")
            prepared = [self._policies[name].prepare(change) for name, change in changes.items()]
            for change in prepared:
                change()

    def explain(self) -> str:
        """Every policy with its parts and numbers."""
        return "\n".join(policy.explain() for policy in self._policies.values())

    def __getitem__(self, name: str) -> Policy:
        return self._policies[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._policies)

    def __len__(self) -> int:
        return len(self._policies)
