"""A system as others run it: Compose, or Kubernetes by kustomize or Helm, with an image for each service.

`plan` says what there is to run, who reaches whom and who keeps what; the others write that in the words of one platform.
Nothing is built or applied here.
"""

from __future__ import annotations

from skerry.errors import MissingExtra

try:
    import yaml  # noqa: F401 - looked for here, once, so that its absence has one message
except ImportError as _error:
    raise MissingExtra("Exporting a system", "service") from _error

from skerry.deploy.export import compose, grafana, helm, images, kubernetes
from skerry.deploy.export.plan import Plan, Workload, plan_of
from skerry.deploy.export.writing import Written, write

__all__ = ["Plan", "Workload", "Written", "compose", "grafana", "helm", "images", "kubernetes", "plan_of", "write"]
