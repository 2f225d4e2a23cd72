"""Finding the instances of a service: written down, in DNS, in Kubernetes. The service's address says where."""

from __future__ import annotations

from skerry.client.discovery.address import Located, located
from skerry.client.discovery.directory import Directory
from skerry.client.discovery.endpoint import MAX_ENDPOINTS, Answer, Endpoint, Resolver

__all__ = ["MAX_ENDPOINTS", "Answer", "Directory", "Endpoint", "Located", "Resolver", "located"]
