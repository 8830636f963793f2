"""One of several processes that race for a budget and a limit; run by `test_racing_processes.py`, prints what it got as JSON."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

from prefrontal.chat.usage import Usage
from prefrontal.clock import SystemClock
from prefrontal.contracts.money import Budget, Payer, Rate
from prefrontal.errors import LimitExceeded, QuotaExceeded
from prefrontal.ledger.rules import Rules
from prefrontal.ledger.sqlite import SqliteLedger
from prefrontal.ledger.sqlite_shared import SqliteSharedVault
from prefrontal.ledger.treasury import Treasury

ESTIMATE = 10


async def main(path: str, who: str, calls: int, limit_pico: int, requests: int, die_after: int) -> None:
    clock, rnd = SystemClock(), random.Random(who)
    ledger = SqliteLedger(Path(path), clock=clock).open()
    vault = SqliteSharedVault(ledger, clock=clock)
    treasury = Treasury(clock=clock, vault=vault, shared=vault, board=vault)
    budget = Budget(name="b", scope="global", window="total", limit_pico=limit_pico)
    rate = Rate(name="r", scope="global", window="hour", requests=requests)
    await treasury.configure(Rules(budgets=(budget,), rates=(rate,)), lambda _m: ())
    gate = asyncio.Semaphore(16)
    done = {"entered": 0, "refused": 0, "paid": 0, "settled": 0, "denied": 0, "released": 0}
    spent_ms: list[float] = []

    async def call(number: int) -> None:
        async with gate:
            purse = treasury.purse(Payer(key_id=who), who, f"{who}-{number}")
            assert purse is not None
            began = clock.monotonic()
            try:
                await purse.enter()
            except LimitExceeded:
                done["refused"] += 1
                return
            done["entered"] += 1
            usage = Usage(output_tokens=1, source="estimated")
            try:
                held = await purse.reserve("m", number=0, usage=usage, pico=ESTIMATE, ttl_s=0.5)
            except QuotaExceeded:
                done["denied"] += 1
                purse.close()
                return
            if done["settled"] == die_after:
                sys.stdout.write(json.dumps(done) + "\n")
                sys.stdout.flush()
                await asyncio.to_thread(sys.stdin.read)  # what is held stays held: this process is killed now
            if rnd.random() < 0.2:
                purse.release(held)
                done["released"] += 1
            else:
                cost = rnd.randrange(ESTIMATE + 1)
                purse.settle(held, "ok", Usage(output_tokens=1, source="reported"), cost)
                done["paid"] += cost
                done["settled"] += 1
            await purse.committed()
            purse.close()
            spent_ms.append((clock.monotonic() - began) * 1000)

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()  # all start at once
    await asyncio.gather(*[call(number) for number in range(calls)])
    await ledger.aclose()
    spent_ms.sort()
    middle = spent_ms[len(spent_ms) // 2] if spent_ms else 0.0
    last = spent_ms[len(spent_ms) * 99 // 100] if spent_ms else 0.0
    sys.stdout.write(json.dumps({**done, "p50_ms": middle, "p99_ms": last}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], *[int(text) for text in sys.argv[3:]]))
