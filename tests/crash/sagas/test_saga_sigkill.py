from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

PROGRAM = Path(__file__).with_name("tiny_bank.py")
TRANSFERS = 300
WITHOUT_END = 10**9
KILLS = 20


def begin(folder: Path, transfers: int, seed: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder), str(transfers), str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_twenty_kills_lose_no_money(tmp_path: Path) -> None:
    """Killed at random moments and started again, a service ends every saga, with each effect once and all money there."""
    chance = random.Random(20)
    kills = 0
    while kills < KILLS:
        process = begin(tmp_path, WITHOUT_END, seed=kills)
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n", process.communicate()[1]
            time.sleep(chance.random() * 0.15)
            process.kill()
        kills += 1
    [(begun,)] = query(tmp_path / "transfers.db", "SELECT max(CAST(key AS INTEGER)) FROM skerry_sagas")
    transfers = max(TRANSFERS, int(str(begun)))
    healed = begin(tmp_path, transfers, seed=99)
    _, errors = healed.communicate(timeout=60)
    assert healed.returncode == 0, errors

    statuses = dict(query(tmp_path / "transfers.db", "SELECT status, count(*) FROM skerry_sagas GROUP BY status"))
    refused = [number for number in range(1, transfers + 1) if number % 3 == 0]
    assert statuses == {"completed": transfers - len(refused), "compensated": len(refused)}
    moved = sum(range(1, transfers + 1)) - sum(refused)
    balances = dict(query(tmp_path / "bank.db", "SELECT name, balance FROM accounts"))
    assert balances == {"left": 10_000 - moved, "transit": 0, "right": moved}
    twice = query(tmp_path / "bank.db", "SELECT key, count(*) FROM effects GROUP BY key HAVING count(*) > 1")
    assert twice == []
