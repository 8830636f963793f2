"""Processes that read one engram share its index: it is mapped from the file, and the system keeps it once."""

from __future__ import annotations

import multiprocessing
import re
from pathlib import Path
from typing import Any

from prefrontal.knowledge.ingest.run import ingest_documents
from prefrontal.knowledge.search.searcher import Searcher
from prefrontal.knowledge.store.engram import create
from prefrontal.testing.clock import FakeClock


def _shared(engram: str, ready: Any, both: Any) -> None:
    with Searcher(Path(engram)) as searcher:
        searcher.search("grease", k=1)
        for segment in searcher.index.segments:
            for part in vars(segment).values():
                if hasattr(part, "sum"):
                    part.sum()
        both.wait(20)
        sizes: dict[str, int] = {"Rss": 0, "Pss": 0, "Private_Dirty": 0}
        inside = False
        for line in Path("/proc/self/smaps").read_text().splitlines():
            if re.match(r"^[0-9a-f]+-[0-9a-f]+ ", line):
                inside = line.endswith(".seg")
            name, _, rest = line.partition(":")
            if inside and name in sizes:
                sizes[name] += int(rest.split()[0])
        both.wait(20)
        ready.put(sizes)


def test_processes_share_an_index_in_memory(tmp_path: Path) -> None:
    """Two readers map the same file: neither has a page of its own, and together they take the memory of one."""
    path = tmp_path / "big.engram"
    create(path, clock=FakeClock())
    texts = {f"{n}.txt": " ".join(f"word{n * 37 % 997 + i}" for i in range(120)).encode() for n in range(300)}
    ingest_documents(path, texts | {"g.txt": b"grease"}, clock=FakeClock())
    Searcher(path).close()
    spawn = multiprocessing.get_context("spawn")
    ready, both = spawn.Queue(), spawn.Barrier(2)
    readers = [spawn.Process(target=_shared, args=(str(path), ready, both)) for _ in range(2)]
    try:
        for reader in readers:
            reader.start()
        sizes = [ready.get(True, 20) for _ in readers]
    finally:
        for reader in readers:
            reader.join(20)
    assert all(one["Rss"] >= 150 for one in sizes), sizes  # kB
    assert all(one["Private_Dirty"] == 0 for one in sizes), sizes
    assert sum(one["Pss"] for one in sizes) <= 1.1 * max(one["Rss"] for one in sizes), sizes
