"""Dense and fused search measured on public sets: quality beside words alone and bm25s, and speed beside usearch.

python bench/dense.py --data DIR --encoders HOME/encoders --encoder minilm [--learnt] [--room FOLDER] [--speed 100000]

DIR holds sets as for `knowledge.py`. FOLDER keeps engrams and vectors between runs: encoding takes most of the time.
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.knowledge import CLOCK, bm25s_scores, bootstrap, load, ndcg, percentile
from prefrontal.knowledge.dense import blocks, calibrate, hybrid, pinned
from prefrontal.knowledge.dense.encoder import Encoder, EncoderInfo
from prefrontal.knowledge.dense.fill import fill
from prefrontal.knowledge.dense.learn import learn
from prefrontal.knowledge.dense.near import open_near
from prefrontal.knowledge.index.index import Index
from prefrontal.knowledge.ingest.corpus import Fields
from prefrontal.knowledge.ingest.run import ingest_corpus
from prefrontal.knowledge.search.searcher import Searcher
from prefrontal.knowledge.store.engram import create


def built(folder: Path, room: Path) -> Path:
    """Return the engram of a set, made when it is not there."""
    path = room / f"{folder.name}.engram"
    if not path.exists():
        create(path, clock=CLOCK)
        with gzip.open(folder / "corpus.jsonl.gz") as stream:
            ingest_corpus(path, stream, clock=CLOCK, fields=Fields(path="path"))
    return path


def encoders(options: argparse.Namespace, searcher: Searcher, room: Path) -> Iterator[tuple[str, Encoder]]:
    """Yield the encoders to measure: those that are named, and one learnt from the engram."""
    for name in options.encoder:
        yield name, pinned.load(options.encoders, name)
    if options.learnt:
        name = f"learnt-{searcher.engram.path.stem}"
        home = room / "encoders"
        if not (home / name).exists():
            pinned.keep_terms(home, name, learn(searcher.index), source=searcher.engram.path.stem)
        yield "learnt", pinned.load(home, name)


def quality(options: argparse.Namespace, room: Path) -> None:
    print("| set | encoder | bm25s | words | vectors | both | share | both − better single | both − bm25s [95 %] | usearch |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for folder in sorted(path for path in options.data.iterdir() if (path / "qrels.tsv").is_file()):
        queries, relevant = load(folder)
        path = built(folder, room)
        peer = bm25s_scores(folder, queries, relevant)
        with Searcher(path) as searcher:
            words = [searcher.search_documents(query["text"]) for query in queries]
            lexical = judged(words, queries, relevant)
            for label, encoder in encoders(options, searcher, room):
                began = time.process_time()
                done = fill(path, encoder)
                if done.encoded:
                    rate = done.encoded / (time.process_time() - began)
                    print(f"{folder.name}, {label}: {rate:.1f} passages per CPU-second", file=sys.stderr)
                known = calibrate.refresh(searcher, encoder)
                near = hybrid.near_of(searcher, encoder.info)
                assert near is not None
                assert known is not None
                vectors = encoder.encode([query["text"] for query in queries])
                found: dict[str, list[float]] = {}
                for mode in (hybrid.DENSE, hybrid.HYBRID):
                    ranked = [
                        hybrid.search_documents(searcher, near, query["text"], vector, mode=mode)
                        for query, vector in zip(queries, vectors, strict=True)
                    ]
                    found[mode] = judged(ranked, queries, relevant)
                other = judged(usearch_ranked(searcher, near, vectors), queries, relevant)
                single = max(statistics.mean(lexical), statistics.mean(found["dense"]))
                mean, low, high = bootstrap(found["hybrid"], peer)
                cells = [f"{statistics.mean(one):.4f}" for one in (peer, lexical, found["dense"], found["hybrid"])]
                cells += [f"{known.weight:.1f}", f"{statistics.mean(found['hybrid']) - single:+.4f}"]
                cells += [f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]", f"{statistics.mean(other):.4f}"]
                print(f"| {folder.name} | {label} | " + " | ".join(cells) + " |", flush=True)


def judged(ranked: list[list[tuple[str, float]]], queries: list[Any], relevant: dict[str, dict[str, float]]) -> list[float]:
    return [ndcg([d for d, _ in some], relevant[q["_id"]]) for q, some in zip(queries, ranked, strict=True)]


def usearch_ranked(searcher: Searcher, near: Any, vectors: Any) -> list[list[tuple[str, float]]]:
    """Return what usearch's graph finds among the same vectors, by file."""
    from usearch.index import Index as Graph

    chunks = np.concatenate([block.chunk for block in near.blocks])
    rows = np.concatenate([block.dense(slice(None)) for block in near.blocks])
    graph = Graph(ndim=rows.shape[1], metric="ip", dtype="f16")
    graph.add(chunks.astype(np.uint64), rows)
    of_chunk = searcher.engram.chunks_by_id(chunks.tolist())
    files = searcher.engram.files_by_id({chunk.file for chunk in of_chunk.values()})
    out = []
    for vector in vectors:
        best: dict[str, float] = {}
        matches = graph.search(vector, 50)
        for key, distance in zip(matches.keys.tolist(), matches.distances.tolist(), strict=True):
            chunk = of_chunk.get(key)
            if chunk is not None and chunk.file in files:
                name = files[chunk.file].path
                best[name] = max(best.get(name, -9.0), 1.0 - distance)
        out.append(sorted(best.items(), key=lambda one: (-one[1], one[0]))[:10])
    return out


class Rows:
    """A segment of so many passages, for measuring: numbers are all that vectors need of it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.chunk = np.arange(1, size + 1)
        self.file = self.chunk
        self.length = np.ones(size, np.uint16)


def speed(count: int, room: Path, dim: int = 384) -> None:
    """The nearest hundred among random vectors, compared one by one and by usearch."""
    from usearch.index import Index as Graph

    chance = np.random.default_rng(0)
    rows = chance.standard_normal((count, dim), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    questions = chance.standard_normal((60, dim), dtype=np.float32)
    index = Index([Rows(count)], [np.zeros(0, np.int64)], 1)  # type: ignore[list-item]
    info = EncoderInfo(name="random", dim=dim, revision="")
    for precision in ("float16", "int8"):
        folder = room / f"{precision}-{count}"
        folder.mkdir()
        names = []
        for at in range(0, count, 65_536):
            some = rows[at : at + 65_536]
            name = f"{at // 65_536 + 1:08}.vec"
            marks = np.zeros(len(some), f"V{blocks.DIGEST_BYTES}")
            (folder / name).write_bytes(blocks.pack(index.segments[0].chunk[at : at + 65_536], marks, some, precision))  # type: ignore[arg-type]
            names.append(name)
        state = blocks.State(layout=blocks.LAYOUT, uid="x", encoder=info, precision=precision, blocks=tuple(names))  # type: ignore[arg-type]
        blocks.publish(folder, state)
        before = time.perf_counter()
        near = open_near(folder, "x", index, info)
        assert near is not None
        opened = 1000 * (time.perf_counter() - before)
        walls = timed(lambda q, near=near: near.nearest(q, most=100), questions)
        line(f"compared one by one, {precision}", count, near.size_bytes / count, opened, walls)
    graph = Graph(ndim=dim, metric="ip", dtype="i8")
    before = time.perf_counter()
    graph.add(np.arange(count, dtype=np.uint64), rows)
    built_s = time.perf_counter() - before
    line("usearch, int8", count, graph.memory_usage / count, 1000 * built_s, timed(lambda q: graph.search(q, 100), questions))


def timed(ask: Any, questions: Any) -> list[float]:
    walls = []
    for question in [*questions[:10], *questions]:
        before = time.perf_counter()
        ask(question)
        walls.append(1000 * (time.perf_counter() - before))
    return walls[10:]


def line(what: str, count: int, each: float, opened_ms: float, walls: list[float]) -> None:
    cells = f"{each:.0f} | {opened_ms:.0f} | {statistics.median(walls):.1f} / {percentile(walls, 0.95):.1f}"
    print(f"| {what} | {count:,} | {cells} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--encoders", type=Path)
    parser.add_argument("--encoder", action="append", default=[])
    parser.add_argument("--learnt", action="store_true", help="also an encoder learnt from each set's engram")
    parser.add_argument("--room", type=Path)
    parser.add_argument("--speed", type=int, action="append", default=[], metavar="VECTORS")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        if options.data is not None:
            quality(options, options.room or Path(temporary))
        if options.speed:
            print("| | vectors | bytes each | open or build, ms | query p50 / p95, ms |\n|---|---|---|---|---|")
        for count in options.speed:
            speed(count, Path(temporary))


if __name__ == "__main__":
    main()
