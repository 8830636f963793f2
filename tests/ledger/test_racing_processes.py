"""Real processes race for one budget and one limit on one database: never a call too many, also when one of them is killed."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RACER = Path(__file__).with_name("racer.py")
ESTIMATE = 10


def race(path: Path, *, processes: int, calls: int, limit: int, requests: int, dying: bool = False) -> list[dict[str, Any]]:
    """Run the race and return what each process says; a `dying` first one is killed while it holds reservations."""
    started = []
    for number in range(processes):
        last = "12" if dying and number == 0 else "-1"
        command = [sys.executable, str(RACER), str(path), f"p{number}", str(calls), str(limit), str(requests), last]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        found = []
        for number, process in enumerate(started):
            if dying and number == 0:
                assert process.stdout is not None
                found.append(json.loads(process.stdout.readline()))
                process.kill()
                process.communicate(timeout=10)
            else:
                out, wrong = process.communicate(timeout=30)
                assert process.returncode == 0, wrong
                found.append(json.loads(out))
        return found
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.communicate(timeout=10)


def rows(path: Path, query: str) -> list[Any]:
    with sqlite3.connect(path) as db:
        return db.execute(query).fetchall()


def test_exactly_the_limit_enters_and_the_budget_is_not_overrun(tmp_path: Path) -> None:
    """Four processes, 400 requests, a limit of 250 and a budget that ends before: counters, rows and processes agree."""
    path = tmp_path / "r.db"
    found = race(path, processes=4, calls=100, limit=600, requests=250)
    assert sum(each["entered"] for each in found) == 250
    assert sum(each["refused"] for each in found) == 150
    paid = sum(each["paid"] for each in found)
    assert 0 < paid <= 600
    assert sum(each["denied"] for each in found) > 0
    assert rows(path, "SELECT sum(cost_pico), count(*) FROM charges") == [(paid, sum(each["settled"] for each in found))]
    assert rows(path, "SELECT spent_pico, held_pico FROM books") == [(str(paid), "0")]


def test_a_killed_process_is_settled_at_its_estimates_by_the_others(tmp_path: Path) -> None:
    """What the killed one held stays held, then counts as spent; the others never used more than what was left."""
    path = tmp_path / "r.db"
    found = race(path, processes=3, calls=60, limit=700, requests=10**6, dying=True)
    ((held_count, held),) = rows(path, "SELECT count(*), sum(cost_pico) FROM charges WHERE held = 1")
    assert held_count > 0
    assert held == held_count * ESTIMATE
    ((lived,),) = rows(path, "SELECT coalesce(sum(cost_pico), 0) FROM charges WHERE id NOT LIKE 'p0-%'")
    assert lived == sum(each["paid"] for each in found[1:])
    assert rows(path, "SELECT sum(cost_pico) <= 700 FROM charges") == [(1,)]
    time.sleep(0.6)  # the killed one's reservations were for half a second
    reaping = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom prefrontal.clock import SystemClock\n"
        "from prefrontal.ledger.sqlite import SqliteLedger\nfrom prefrontal.ledger.sqlite_shared import SqliteSharedVault\n"
        "async def main():\n    clock = SystemClock()\n    ledger = SqliteLedger(Path(sys.argv[1]), clock=clock).open()\n"
        "    print(await SqliteSharedVault(ledger, clock=clock).reap(clock.now()))\n    await ledger.aclose()\n"
        "asyncio.run(main())\n"
    )
    out = subprocess.run([sys.executable, "-c", reaping, str(path)], capture_output=True, text=True, check=True, timeout=30)
    assert int(out.stdout) == held_count
    ((spent, still),) = rows(path, "SELECT spent_pico, held_pico FROM books")
    ((booked,),) = rows(path, "SELECT sum(cost_pico) FROM charges")
    assert (int(spent), int(still)) == (booked, 0)
    assert booked >= lived + held
