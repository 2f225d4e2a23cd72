"""The services that traces name: spelt as manifests spell them, or with a word such as `service` more or less."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from skerry.architecture.joining import images
from skerry.architecture.model import Service

_WORKS: Final = re.compile(r"[-_.](?:workers?|celery|beat|scheduler|consumers?|cron|jobs?|tasks?)$", re.IGNORECASE)
"""What a second process of one image is called by."""


class Names:
    """From a name or a host of a trace to a service of the model."""

    def __init__(self, services: Mapping[str, Service], hosts: Iterable[tuple[str, str]] = ()) -> None:
        """`hosts` are further (host, service): what manifests call them by."""
        self._exact = dict(hosts)
        for name, service in services.items():
            for workload in service.workloads:
                for host in (workload.name, *workload.hosts):
                    self._exact.setdefault(host, name)
        self._exact |= {name: name for name in services}
        spelt: dict[str, set[str]] = defaultdict(set)
        for name in services:
            spelt[images.bare(name)].add(name)
        # two services that differ by such a word only are two: neither is meant by the other's name
        self._spelt = {bare: next(iter(names)) for bare, names in spelt.items() if len(names) == 1}

    def service(self, name: str) -> str:
        """The model's name for a trace's service; the trace's own where the model has none."""
        return self.known(name) or name

    def known(self, name: str) -> str | None:
        """The model's name for a trace's service; a worker is the service that it works for."""
        found = self._exact.get(name) or self._spelt.get(images.bare(name))
        if found is None and (stem := _WORKS.sub("", name)) != name:
            found = self._exact.get(stem) or self._spelt.get(images.bare(stem))
        return found

    def host(self, address: str) -> str | None:
        """The service that an address means; None for what is outside."""
        short = address.rpartition("@")[2].partition(":")[0].lower()
        for each in (short, short.partition(".")[0]):
            if each and not each.replace(".", "").isdigit():
                found = self._exact.get(each) or (self._spelt.get(images.bare(each)) if "." not in each else None)
                if found:
                    return found
        return None


def is_work(name: str) -> bool:
    """Whether a service is called as the second process of another one is."""
    return bool(_WORKS.search(name))
