"""One PostgreSQL server for the tests of this folder, and a system of two services that keep something."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from servers.postgresql import PostgresServer  # noqa: E402

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server that writes down every statement it gets."""
    with PostgresServer(tmp_path_factory.mktemp("postgresql"), settings={"log_statement": "all"}) as server:
        yield server


@pytest.fixture
def name() -> str:
    """A system's name that no other test has."""
    return f"sys{next(_numbers)}"


@pytest.fixture
def system_file(tmp_path: Path, name: str) -> Path:
    """Two services with a database each, one without."""
    text = f'[system]\nname = "{name}"\n'
    for service in ("order", "pay-desk"):
        app = service.replace("-", "_")
        text += f'[services.{service}]\napp = "{app}:service"\ndatabase = "sqlite:///{service}.db"\n'
        (tmp_path / f"{app}.py").write_text(
            f'from skerry.service import Service\nservice = Service("{service}", database="sqlite:///{service}.db")\n'
        )
    text += '[services.mail]\napp = "mail:service"\n'
    (tmp_path / "mail.py").write_text('from skerry.service import Service\nservice = Service("mail")\n')
    file = tmp_path / "skerry.toml"
    file.write_text(text)
    return file
