"""`python -m skerry.service.describe FILE MODULE:ATTRIBUTE`: import a service and write whose tables are in its database.

It runs in a process of its own, so that a module's mistakes, its output and its imports stay there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from skerry.errors import SkerryError
from skerry.service.loading import load


def main(arguments: list[str]) -> int:
    """Write `{"service", "schemas": [[component, folder], ...]}`, or `{"error"}`, to the file; the process's exit status."""
    target, reference = arguments
    answer: dict[str, Any]
    try:
        service = load(reference)
        schemas = [(schema.component, str(Path(str(schema.folder)).resolve())) for schema in service.schemas]
        answer = {"service": service.name, "schemas": schemas}
    except SkerryError as error:
        answer = {"error": str(error)}
    except (Exception, SystemExit) as error:  # whatever the module does wrong is told
        text = str(error).partition("\n")[0][:300]
        answer = {"error": f"cannot import {reference}: {type(error).__name__}: {text}"}
    Path(target).write_text(json.dumps(answer), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
