"""New systems and services from templates, and what changes in the templates brought into what was made before.

Needs the extra `new`, and git.
"""

from __future__ import annotations

from skerry.deploy.templates.answers import read_data
from skerry.deploy.templates.making import Made, new_service, new_system
from skerry.deploy.templates.source import SERVICE, SYSTEM, questions
from skerry.deploy.templates.updating import Updated, update

__all__ = ["SERVICE", "SYSTEM", "Made", "Updated", "new_service", "new_system", "questions", "read_data", "update"]
