"""Finding the instances of a service: written down, in DNS, in Kubernetes, on etcd. The service's address says where."""

from __future__ import annotations

from skerry.client.discovery.address import Located, located
from skerry.client.discovery.directory import Directory
from skerry.client.discovery.endpoint import MAX_ENDPOINTS, Answer, Endpoint, Resolver
from skerry.client.discovery.etcd import EtcdRegistry, EtcdResolver
from skerry.client.discovery.kubernetes import KubernetesResolver

__all__ = [
    "MAX_ENDPOINTS",
    "Answer",
    "Directory",
    "Endpoint",
    "EtcdRegistry",
    "EtcdResolver",
    "KubernetesResolver",
    "Located",
    "Resolver",
    "located",
]
