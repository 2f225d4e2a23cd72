import itertools
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

import pytest  # noqa: E402

from servers.postgresql import PostgresServer  # noqa: E402

_numbers = itertools.count(1)


@pytest.fixture
def small_disk(tmp_path):
    """Makes file systems of a few MiB, which takes root."""
    mounted = []

    def make(name, *, mib, within=tmp_path):
        folder = within / name
        folder.mkdir()
        options = f"size={mib}m,mode=0777"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    with PostgresServer(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


@pytest.fixture
def databases(postgres):
    """New, empty databases for the two services, with a short limit for statements."""
    number = next(_numbers)
    return {name: f"{postgres.own_database(f'{name}{number}')}?timeout=2" for name in ("order", "billing")}
