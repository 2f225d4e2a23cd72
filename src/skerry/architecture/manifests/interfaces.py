"""Interfaces that are written down: services in proto files, OpenAPI documents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from skerry.architecture.manifests.found import Interface
from skerry.architecture.manifests.reader import Reader
from skerry.architecture.source import Place

_SERVICE: Final = re.compile(r"^\s*service\s+(\w+)\s*\{?", re.MULTILINE)
_OPENAPI: Final = re.compile(r"""^\s*\{?\s*["']?(?:openapi|swagger)["']?\s*:""", re.MULTILINE)
_HEAD: Final = 4_096
"""Characters of a document within which it says what it is."""


def read(reader: Reader) -> Iterator[Interface]:
    """Every interface; proto files that come with libraries are left out."""
    for path in reader.paths:
        if path.endswith(".proto") and "/google/" not in path and "/grpc/health/" not in path:
            text = reader.text(path)
            for found in _SERVICE.finditer(text):
                yield Interface(found[1], Place(path, text.count("\n", 0, found.start(1)) + 1), "proto")
        elif re.search(r"(?:openapi|swagger)[^/]*\.(?:ya?ml|json)$", path, re.IGNORECASE):
            text = reader.text(path)
            if _OPENAPI.search(text[:_HEAD]):
                yield Interface(_title(reader, path, text), Place(path, 1), "openapi")


def _title(reader: Reader, path: str, text: str) -> str:
    if path.endswith(".json"):
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            reader.skip(path, "not JSON")
            return ""
        info = document.get("info") if isinstance(document, dict) else None
        return str(info.get("title", "")) if isinstance(info, dict) else ""
    return next((document.at("info", "title").text for document in reader.yaml(path)), "")
