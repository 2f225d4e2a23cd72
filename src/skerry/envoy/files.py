"""Configuration by files, for where there is no grpcio: each is replaced by a rename, which is what Envoy watches for.

Nothing tells whether Envoy took a file: what it refuses stands in its log. `AdsServer` knows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skerry.envoy import bootstrap
from skerry.envoy.resources import KINDS, Resources


class FileDelivery:
    """Writes configurations into `folder`, for an `EnvoyProcess` there with `source="files"`. Write before its start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._version = 0
        self._before = Resources()

    def write(self, resources: Resources) -> None:
        """Replace the files whose content differs, in an order in which nothing is referred to before it is there.

        Clusters that are no longer used stay until the next change, for nothing tells when the last route has let go of them.
        """
        (self._folder / bootstrap.ROUTES_FOLDER).mkdir(exist_ok=True)
        self._version += 1
        self._replace(bootstrap.CLUSTERS_FILE, "clusters", resources.joined(self._before).clusters)
        for name, route in resources.routes.items():
            self._replace(f"{bootstrap.ROUTES_FOLDER}/{name}.json", "routes", {name: route})
        listeners = {name: self._by_file(listener) for name, listener in resources.listeners.items()}
        self._replace(bootstrap.LISTENERS_FILE, "listeners", listeners)
        self._before = resources

    def _replace(self, name: str, kind: Any, resources: Mapping[str, Mapping[str, Any]]) -> None:
        path = self._folder / name
        content = bootstrap.envelope(KINDS[kind], list(resources.values()), version=str(self._version))
        if path.exists() and json.loads(path.read_text())["resources"] == content["resources"]:
            return
        beside = path.with_name(f".{path.name}")
        beside.write_text(json.dumps(content))
        os.replace(beside, path)  # noqa: PTH105 - the rename is the point

    def _by_file(self, value: Any) -> Any:
        """The same listener, which looks for its routes in files."""
        if isinstance(value, Mapping):
            if "route_config_name" in value:
                path = self._folder / bootstrap.ROUTES_FOLDER / f"{value['route_config_name']}.json"
                return {**value, "config_source": bootstrap.file_source(path)}
            return {key: self._by_file(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._by_file(inner) for inner in value]
        return value
