"""Choosing among the instances of a service; which there are is for `skerry.client.discovery`."""

from __future__ import annotations

from skerry.client.balancing.balancer import MAX_EJECTED, Balancer
from skerry.client.balancing.instance import Instance
from skerry.client.balancing.subset import SUBSET, subset
from skerry.client.balancing.transport import BalancedTransport

__all__ = ["MAX_EJECTED", "SUBSET", "BalancedTransport", "Balancer", "Instance", "subset"]
