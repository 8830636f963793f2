"""Engrams measured: quality on public sets, speed and size at several sizes, updates, opening, and peers where installed.

python bench/knowledge.py quality --data DIR [--peers]      # DIR holds sets: corpus.jsonl.gz, queries.jsonl.gz, qrels.tsv
python bench/knowledge.py speed --chunks 10000 --chunks 100000 [--peers]
python bench/knowledge.py update --files 10000
python bench/knowledge.py beam --data DIR
python bench/knowledge.py questions          # thirty on the running interpreter's library and on this repository
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

from prefrontal.clock import SystemClock
from prefrontal.knowledge.ingest.corpus import Fields
from prefrontal.knowledge.ingest.run import ingest, ingest_corpus, update
from prefrontal.knowledge.ingest.walk import Source
from prefrontal.knowledge.search.query import understand
from prefrontal.knowledge.search.searcher import Searcher
from prefrontal.knowledge.shape import Shape
from prefrontal.knowledge.store.engram import create
from prefrontal.knowledge.tokens import Tokenizer

CLOCK = SystemClock()
ROUNDS = 2_000


def ndcg(ranked: list[str], relevant: dict[str, float]) -> float:
    gain = sum(relevant.get(name, 0.0) / math.log2(n + 2) for n, name in enumerate(ranked[:10]))
    return gain / sum(grade / math.log2(n + 2) for n, grade in enumerate(sorted(relevant.values(), reverse=True)[:10]))


def load(folder: Path) -> tuple[list[dict[str, Any]], dict[str, dict[str, float]]]:
    with gzip.open(folder / "queries.jsonl.gz", "rt", encoding="utf-8") as stream:
        queries = [json.loads(line) for line in stream]
    relevant: dict[str, dict[str, float]] = {}
    for line in (folder / "qrels.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        if float(grade) > 0:
            relevant.setdefault(query, {})[document] = float(grade)
    return [query for query in queries if query["_id"] in relevant], relevant


def bootstrap(mine: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Mean difference and its 95 % interval from resampled queries."""
    differences = [a - b for a, b in zip(mine, theirs, strict=True)]
    chance, n = random.Random(7), len(differences)
    means = sorted(sum(chance.choices(differences, k=n)) / n for _ in range(ROUNDS))
    return sum(differences) / n, means[int(0.025 * ROUNDS)], means[int(0.975 * ROUNDS)]


def bm25s_scores(folder: Path, queries: list[dict[str, Any]], relevant: dict[str, dict[str, float]]) -> list[float]:
    """Score the peer on the same terms, title and text as one."""
    import bm25s

    tokenizer = Tokenizer()
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    peer = bm25s.BM25()
    peer.index([tokenizer.stems(f"{row['title']} {row['text']}") for row in rows], show_progress=False)
    scores = []
    for query in queries:
        terms = [term for term in tokenizer.stems(query["text"]) if term in peer.vocab_dict]
        found = peer.retrieve([terms], k=10, show_progress=False)[0][0].tolist() if terms else []
        scores.append(ndcg([rows[i]["_id"] for i in found], relevant[query["_id"]]))
    return scores


def quality(data: Path, *, peers: bool) -> None:
    print("| set | documents | re-ranked | vector alone, int8 | vector alone, ternary | bm25s | difference [95 %] |")
    print("|---|---|---|---|---|---|---|")
    for folder in sorted(path for path in data.iterdir() if (path / "qrels.tsv").is_file()):
        queries, relevant = load(folder)
        found: dict[tuple[str, bool], list[float]] = {}
        documents = 0
        for mode in ("int8", "ternary"):
            with tempfile.TemporaryDirectory() as room:
                path = Path(room, "it.engram")
                create(path, clock=CLOCK, shape=Shape(mode=mode))
                with gzip.open(folder / "corpus.jsonl.gz") as stream:
                    documents = ingest_corpus(path, stream, clock=CLOCK, fields=Fields(path="path")).added
                with Searcher(path) as searcher:
                    for exact in (True, False):
                        ranked = [searcher.search_documents(query["text"], exact=exact) for query in queries]
                        found[mode, exact] = [
                            ndcg([d for d, _ in some], relevant[q["_id"]]) for q, some in zip(queries, ranked, strict=True)
                        ]
        cells = [f"{statistics.mean(found[key]):.4f}" for key in (("int8", True), ("int8", False), ("ternary", False))]
        if peers:
            other = bm25s_scores(folder, queries, relevant)
            mean, low, high = bootstrap(found["int8", True], other)
            cells += [f"{statistics.mean(other):.4f}", f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"]
        print(f"| {folder.name} | {documents} | " + " | ".join(cells + ["–"] * (5 - len(cells))) + " |", flush=True)


def zipf(*, words: int = 160, seed: int = 3) -> tuple[list[str], Any]:
    """Return a vocabulary and a function that writes a document: words as frequent as in real text."""
    import numpy as np

    chance = np.random.default_rng(1)  # the words are always the same; only which of them are drawn depends on the seed
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    size = 200_000
    vocabulary = ["".join(chance.choice(letters, 3 + n % 7)) + str(n) * (n % 3 == 0) for n in range(size)]
    weight = 1.0 / (np.arange(size) + 2.7) ** 1.05
    total = np.cumsum(weight / weight.sum())
    chance = np.random.default_rng(seed)

    def draw(many: int) -> list[str]:
        return [vocabulary[i] for i in np.minimum(np.searchsorted(total, chance.random(many)), size - 1).tolist()]

    return vocabulary, lambda: " ".join(draw(words))


class Lines(io.RawIOBase):
    """A corpus that is written as it is read."""

    def __init__(self, count: int, document: Any) -> None:
        self._count, self._document, self._n = count, document, 0

    def readline(self, limit: int | None = -1) -> bytes:
        if self._n >= self._count:
            return b""
        self._n += 1
        return json.dumps({"_id": f"d{self._n}", "text": self._document()}).encode() + b"\n"


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


OPEN = """
import sys, time
from pathlib import Path
from prefrontal.knowledge.search.searcher import Searcher
before = time.perf_counter()
with Searcher(Path(sys.argv[1])) as searcher:
    searcher.search(sys.argv[2])
    wall_ms = 1000 * (time.perf_counter() - before)
    status = dict(line.split(':', 1) for line in open('/proc/self/status') if ':' in line)
    print(wall_ms, *(int(status[key].split()[0]) / 1024 for key in ('VmHWM', 'RssAnon')))
"""


def speed(chunks: int, room: Path, *, peers: bool) -> None:
    _, document = zipf()
    path = room / f"z{chunks}.engram"
    create(path, clock=CLOCK)
    corpus = room / f"z{chunks}.jsonl"
    with corpus.open("wb") as made:
        stream = Lines(chunks, document)
        while line := stream.readline():
            made.write(line)
    with corpus.open("rb") as lines:
        before, cpu = time.perf_counter(), time.process_time()
        report = ingest_corpus(path, lines, clock=CLOCK)
        wall, cpu = time.perf_counter() - before, time.process_time() - cpu
    before = time.perf_counter()
    with Searcher(path) as searcher:
        index_s = time.perf_counter() - before
        print(f"ingest {report.chunks / wall:.0f} wall, {report.chunks / cpu:.0f} CPU; index {index_s:.1f} s", file=sys.stderr)
        _, question = zipf(words=8, seed=2)
        questions = [question() for _ in range(300)]
        for text in questions[:30]:
            searcher.search(text)
        walls, cpus = [], []
        for text in questions:
            before, c = time.perf_counter(), time.process_time()
            searcher.search(text)
            walls.append(1000 * (time.perf_counter() - before))
            cpus.append(1000 * (time.process_time() - c))
        sizes = searcher.engram.connection.execute(
            "SELECT avg(length(indices) + length(vals)), avg(length(terms) + length(counts) + length(flags)) FROM vec"
        ).fetchone()
        postings = sum(s.rows.nbytes + s.weights.nbytes + s.dims.nbytes + s.starts.nbytes for s in searcher.index.segments)
        terms = sum(
            s.terms.nbytes + s.counts.nbytes + s.flags.nbytes + s.words.nbytes + s.frequencies.nbytes
            for s in searcher.index.segments
        )
        n = searcher.index.count
    opened = subprocess.run(
        [sys.executable, "-c", OPEN, str(path), questions[0]], capture_output=True, text=True, check=True
    ).stdout.split()
    cells = [
        f"{n}",
        f"{report.chunks / wall:.0f} wall, {report.chunks / cpu:.0f} CPU",
        f"{index_s:.1f}",
        f"{statistics.median(walls):.2f} / {percentile(walls, 0.95):.2f}",
        f"{statistics.median(cpus):.2f} / {percentile(cpus, 0.95):.2f}",
        f"{sizes[0]:.0f}",
        f"{sizes[0] + postings / n:.0f}",
        f"{sizes[1]:.0f} + {terms / n:.0f}",
        f"{float(opened[0]):.0f} ms",
        f"{float(opened[2]):.0f} of {float(opened[1]):.0f} MB",
    ]
    print("| " + " | ".join(cells) + " |", flush=True)
    if peers:
        with corpus.open("rb") as lines:
            peer_speed([json.loads(line)["text"] for line in lines], questions)


def peer_speed(texts: list[str], questions: list[str]) -> None:
    """The same questions to bm25s, FTS5 and tantivy; terms given as they are, so nothing but the engines differ."""
    import sqlite3

    rows: list[tuple[str, float, list[float]]] = []
    before = time.perf_counter()
    table = sqlite3.connect(":memory:")
    table.execute("CREATE VIRTUAL TABLE t USING fts5(body, content='', tokenize='unicode61')")
    table.executemany("INSERT INTO t (rowid, body) VALUES (?, ?)", enumerate(texts, 1))
    built = time.perf_counter() - before
    ask = "SELECT rowid FROM t WHERE t MATCH ? ORDER BY rank LIMIT 10"
    rows.append(("FTS5", built, timed(lambda q: table.execute(ask, (" OR ".join(q.split()),)).fetchall(), questions)))
    try:
        import bm25s

        before = time.perf_counter()
        peer = bm25s.BM25()
        peer.index([text.split() for text in texts], show_progress=False)
        built = time.perf_counter() - before
        rows.append(("bm25s", built, timed(lambda q: peer.retrieve([q.split()], k=10, show_progress=False), questions)))
    except ImportError:
        pass
    try:
        import tantivy

        before = time.perf_counter()
        index = tantivy.Index(tantivy.SchemaBuilder().add_text_field("body").build())
        writer = index.writer(num_threads=1)
        for text in texts:
            writer.add_document(tantivy.Document(body=text))
        writer.commit()
        index.reload()
        built = time.perf_counter() - before
        searcher = index.searcher()
        rows.append(("tantivy", built, timed(lambda q: searcher.search(index.parse_query(q, ["body"]), 10), questions)))
    except ImportError:
        pass
    for name, built, walls in rows:
        middle, high = statistics.median(walls), percentile(walls, 0.95)
        print(f"| {name} | {len(texts) / built:.0f} wall | | {middle:.2f} / {high:.2f} | | | | | | |", flush=True)


def timed(ask: Any, questions: list[str]) -> list[float]:
    walls = []
    for text in [*questions[:30], *questions]:
        before = time.perf_counter()
        ask(text)
        walls.append(1000 * (time.perf_counter() - before))
    return walls[30:]


def one_change(files: int, room: Path) -> None:
    """One changed line in many files: found, encoded, committed, indexed and answered, in a warm process."""
    _, document = zipf(words=120)
    folder = room / "files"
    for n in range(files):
        place = folder / f"d{n % 50}" / f"f{n}.md"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"# Note {n}\n\n{document()}\n")
        os.utime(place, ns=(10**18, 10**18))
    path = room / "u.engram"
    create(path, clock=CLOCK)
    ingest(path, [Source(root=str(folder))], clock=CLOCK)
    steps: dict[str, list[float]] = {"update": [], "update and search": [], "the same, CPU": []}
    with Searcher(path) as searcher:
        searcher.search("note")
        for n in range(30):
            (folder / f"d{n % 50}" / f"f{n}.md").write_text(f"# Note {n}\n\nchanged marker{n}\n")
            before, cpu = time.perf_counter(), time.process_time()
            report = update(path, clock=CLOCK)
            steps["update"].append(1000 * (time.perf_counter() - before))
            searcher.refresh()
            assert report.changed == 1, report
            assert searcher.search(f"marker{n}")
            steps["update and search"].append(1000 * (time.perf_counter() - before))
            steps["the same, CPU"].append(1000 * (time.process_time() - cpu))
    for name, walls in steps.items():
        print(f"| {name}, one changed file of {files} | {statistics.median(walls):.0f} | {percentile(walls, 0.95):.0f} |")


def beam(folder: Path, room: Path) -> None:
    """Passages found through the best files only, against all passages; the set must name each document's file."""
    queries, relevant = load(folder)
    files: dict[str, list[tuple[str, str]]] = {}
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            files.setdefault(row["path"], []).append((row["_id"], textwrap.dedent(row["text"])))
    spans: dict[str, list[tuple[int, str]]] = {}
    for path, documents in files.items():
        data = b""
        for name, text in documents:
            spans.setdefault(path, []).append((len(data), name))
            data += text.strip("\n").encode() + b"\n\n\n"
        place = room / "files" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    engram = room / "beam.engram"
    create(engram, clock=CLOCK)
    ingest(engram, [Source(root=str(room / "files"))], clock=CLOCK)
    with Searcher(engram) as searcher:
        sizes = {file.path: file.chunks for file in searcher.engram.files()}
        for width in (None, 1, 3, 5, 10, 20):
            scores, share = [], []
            for query in queries:
                hits = searcher.search(query["text"], k=40, text=False, beam=width)
                names = [next(n for start, n in reversed(spans[h.path]) if start <= h.byte_start) for h in hits]
                scores.append(ndcg(list(dict.fromkeys(names)), relevant[query["_id"]]))
                if width:
                    asked = understand(query["text"], searcher.index, searcher.tokenizer, searcher.shape)
                    best = searcher.engram.files_by_id(number for number, _ in searcher.best_files(asked, width))
                    share.append(sum(sizes[file.path] for file in best.values()) / searcher.index.count)
            looked = f"{100 * statistics.mean(share):.1f} %" if share else "100 %"
            print(f"| {width or 'flat'} | {statistics.mean(scores):.4f} | {looked} |", flush=True)


def thirty(room: Path) -> None:
    """The thirty questions of the tests; the library also with its own tests in it, where the interpreter has them."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "knowledge"))
    import thirty as asked

    makers = {
        "library": (lambda path: asked.ingest_library(path, CLOCK, workers=2), asked.standard_library()),
        "library and its tests": (lambda p: asked.ingest_library(p, CLOCK, tests=True, workers=2), asked.standard_library()),
        "repository": (lambda path: asked.ingest_repository(path, CLOCK), asked.repository()),
    }
    for name, (make, spans) in makers.items():
        path = room / f"{name}.engram"
        before = time.perf_counter()
        report = make(path)
        wall = time.perf_counter() - before
        with Searcher(path) as searcher:
            places = [asked.place(searcher.search(span.ask, text=False), span) for span in spans]
        first, five = sum(n == 1 for n in places), sum(n is not None and n <= 5 for n in places)
        print(f"| {name} | {report.added} | {report.chunks} | {wall:.0f} | {first} | {five} | {len(places)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["quality", "speed", "update", "beam", "questions"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--chunks", type=int, action="append")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--room", type=Path, help="folder for what is built; a temporary one by default")
    options = parser.parse_args()
    if options.what == "quality":
        quality(options.data, peers=options.peers)
        return
    with tempfile.TemporaryDirectory(dir=options.room) as room:
        if options.what == "beam":
            beam(options.data, Path(room))
        if options.what == "questions":
            thirty(Path(room))
        if options.what == "update":
            one_change(options.files, Path(room))
        for chunks in (options.chunks or [10_000]) if options.what == "speed" else []:
            speed(chunks, Path(room), peers=options.peers)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
