"""Vectors follow their engram: whatever changed, what is there equals a fresh start, and what is gone is never found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.knowledge.encoders import Told, noise

from prefrontal.errors import Conflict, StoreError
from prefrontal.knowledge.dense import ann, blocks
from prefrontal.knowledge.dense import fill as filling
from prefrontal.knowledge.dense.encoder import passage_text
from prefrontal.knowledge.dense.fill import fill
from prefrontal.knowledge.dense.hybrid import near_of
from prefrontal.knowledge.dense.near import Near, open_near
from prefrontal.knowledge.ingest.run import ingest, ingest_bytes, update
from prefrontal.knowledge.ingest.walk import Source
from prefrontal.knowledge.search.filters import Filter
from prefrontal.knowledge.search.searcher import Searcher
from prefrontal.knowledge.store.engram import create
from prefrontal.testing.clock import FakeClock

Make = Callable[..., Path]
CORPUS = Path(__file__).parent / "corpus"


def teller(**more: Any) -> Told:
    return Told(noise, dim=32, **more)


def near_to(searcher: Searcher, encoder: Told) -> Near:
    near = near_of(searcher, encoder.info)
    assert near is not None
    return near


def by_place(path: Path, encoder: Told) -> dict[tuple[str, int], bytes]:
    """Return the vector of each passage that can be found, by file and ordinal."""
    with Searcher(path) as searcher:
        near = near_to(searcher, encoder)
        out = {}
        for number, (segment, alive) in enumerate(zip(searcher.index.segments, searcher.index.alive, strict=True)):
            rows = np.flatnonzero(alive)
            chunks = searcher.engram.chunks_by_id(segment.chunk[rows].tolist())
            files = searcher.engram.files_by_id(chunk.file for chunk in chunks.values())
            for row in rows.tolist():
                chunk = chunks[int(segment.chunk[row])]
                unit = np.eye(encoder.info.dim, dtype=np.float32)
                scores = [near.scores(np.array([number]), np.array([row]), axis)[0] for axis in unit]
                out[files[chunk.file].path, chunk.ordinal] = np.array(scores, np.float32).tobytes()
        return out


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 5)), min_size=1, max_size=6))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_changes_equal_a_fresh_start(tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, int]]) -> None:
    """After files came, changed and went, with vectors made in between, they equal those of a new engram of the same files."""
    room, clock, encoder = tmp_path_factory.mktemp("dense"), FakeClock(), teller()
    folder, path = room / "files", room / "a.engram"
    folder.mkdir()
    create(path, clock=clock)
    sources = [Source(root=str(folder))]
    ingest(path, sources, clock=clock)
    for name, what in changes:
        place = folder / f"{name}.txt"
        if what == 0:
            place.unlink(missing_ok=True)
        else:
            place.write_text("\n\n".join(f"Part {n} of {name} says {what * n} and more of it." for n in range(what)))
        ingest(path, sources, clock=clock)
        update(path, clock=clock, full=True)
        fill(path, encoder)
    create(room / "b.engram", clock=clock)
    ingest(room / "b.engram", sources, clock=clock)
    fresh = teller()
    fill(room / "b.engram", fresh)
    assert by_place(path, encoder) == by_place(room / "b.engram", fresh)


def test_only_what_changed_is_encoded(make: Make, clock: FakeClock) -> None:
    """A second run encodes nothing; a changed file its own passages; an equal passage elsewhere is taken over."""
    path, encoder = make(), teller()
    for n in range(5):
        ingest_bytes(path, f"{n}.txt", f"text number {n}".encode(), clock=clock)
    first = fill(path, encoder)
    assert (first.encoded, first.passages, first.done) == (5, 5, True)
    assert fill(path, encoder).encoded == 0
    assert len(encoder.asked) == 5
    ingest_bytes(path, "3.txt", b"text of another kind", clock=clock)
    ingest_bytes(path, "6.txt", b"text number 4", clock=clock)
    done = fill(path, encoder)
    assert (done.encoded, done.reused) == (1, 1)
    assert encoder.asked[5:] == ["text of another kind"]


def test_another_revision_makes_vectors_anew(make: Make) -> None:
    """Vectors of other weights, or kept in another way, are neither used nor mixed."""
    path = make(CORPUS)
    old, new = teller(revision="1"), teller(revision="2")
    count = fill(path, old).passages
    with Searcher(path) as searcher:
        assert near_of(searcher, new.info) is None
    assert fill(path, new).encoded == count
    with Searcher(path) as searcher:
        assert near_of(searcher, old.info) is None
        assert near_to(searcher, new).covered == count
    assert fill(path, new, precision="float16").encoded == count


def test_a_reader_keeps_its_version(make: Make, clock: FakeClock) -> None:
    """While a file changes and vectors follow, a reader finds the passages it had; moved on, only the new ones."""
    path, encoder = make(), teller()
    ingest_bytes(path, "a.txt", b"the old text", clock=clock)
    for n in range(5):
        ingest_bytes(path, f"{n}.txt", f"text number {n}".encode(), clock=clock)
    fill(path, encoder)
    with Searcher(path) as searcher:
        old = near_to(searcher, encoder)
        ingest_bytes(path, "a.txt", b"the new text", clock=clock)
        fill(path, encoder)
        for near in (old, near_to(searcher, encoder)):
            found = near.nearest(noise("the old text"), most=50)
            assert found.score.size == 6
            assert found.score[0] > 0.99
        searcher.refresh()
        found = near_to(searcher, encoder).nearest(noise("the old text"), most=50)
        assert found.score.size == 6
        assert found.score[0] < 0.9
        assert near_to(searcher, encoder).nearest(noise("the new text"), most=1).score[0] > 0.99


def test_the_nearest_are_those_of_a_plain_comparison(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Order and similarities are a plain computation's, over several blocks, with both precisions, filtered too."""
    path = make(CORPUS)
    monkeypatch.setattr(filling, "BLOCK_ROWS", 7)
    for precision, slack in (("float16", 2e-3), ("int8", 2e-2)):
        encoder = teller(name=precision)
        fill(path, encoder, precision=precision)  # type: ignore[arg-type]
        with Searcher(path) as searcher:
            near = near_to(searcher, encoder)
            assert near.share == 1.0
            everything = near.nearest(noise("x"), most=10_000)
            assert everything.row.size == searcher.index.count
            numbers = [int(searcher.index.segments[s].chunk[r]) for s, r in zip(everything.segment, everything.row, strict=True)]
            chunks = searcher.engram.chunks_by_id(numbers)
            files = searcher.engram.files_by_id(chunk.file for chunk in chunks.values())
            expected = []
            for number in numbers:
                file, chunk = files[chunks[number].file], chunks[number]
                expected.append(float(noise(passage_text(file, chunk, searcher.engram.text(file, chunk))) @ noise("x")))
            np.testing.assert_allclose(everything.score, expected, atol=slack)
            assert list(everything.score) == sorted(everything.score, reverse=True)
            few = near.nearest(noise("x"), most=3)
            np.testing.assert_array_equal(few.score, everything.score[:3])
            masks = searcher.allowed(Filter(paths=("*.py",)))
            assert masks is not None
            some = near.nearest(noise("x"), most=10_000, masks=masks)
            assert 0 < some.row.size == sum(int((m & a).sum()) for m, a in zip(masks, searcher.index.alive, strict=True))


def test_a_run_that_is_stopped_goes_on(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was encoded stays; the next run does the rest, and the vectors so far can be searched."""
    path, encoder = make(CORPUS), teller()
    monkeypatch.setattr(filling, "STEP", 3)
    monkeypatch.setattr(filling, "BLOCK_ROWS", 6)
    stopped = fill(path, encoder, watch=lambda done, _all: done < 9)
    assert not stopped.done
    assert stopped.encoded == 9
    with Searcher(path) as searcher:
        assert near_to(searcher, encoder).covered == 9
    rest = fill(path, encoder)
    assert rest.done
    assert rest.encoded == rest.passages - 9
    assert sorted(set(encoder.asked)) == sorted(encoder.asked)


def test_two_runs_do_not_meet(make: Make) -> None:
    """Who fills holds the folder; another one is told so and changes nothing."""
    path, encoder = make(CORPUS), teller()
    with blocks.filling(blocks.folder_of(path, encoder.info.name)), pytest.raises(Conflict):
        fill(path, encoder)


def test_what_is_gone_is_dropped_and_blocks_are_joined(make: Make, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """When much is gone the vectors are written anew without it."""
    path, encoder = make(), teller()
    monkeypatch.setattr(filling, "BLOCK_ROWS", 4)
    for n in range(20):
        ingest_bytes(path, f"{n}.txt", f"text number {n}".encode(), clock=clock)
    fill(path, encoder)
    for n in range(10):
        ingest_bytes(path, f"{n}.txt", f"changed number {n}".encode(), clock=clock)
    assert fill(path, encoder).dropped == 10
    folder = blocks.folder_of(path, encoder.info.name)
    assert [one.stem for one in folder.glob("*.vec")]
    assert sum(blocks.open_block(p).chunk.size for p in folder.glob("*.vec")) == 20
    with Searcher(path) as searcher:
        assert near_to(searcher, encoder).covered == 20


def test_damaged_vectors_are_not_used(make: Make) -> None:
    """A cut or altered block, and a list of another engram, leave the engram without vectors, not with wrong ones."""
    path, encoder = make(CORPUS), teller()
    fill(path, encoder)
    folder = blocks.folder_of(path, encoder.info.name)
    (block,) = folder.glob("*.vec")
    data = block.read_bytes()
    for bad in (b"", data[:-1], b"X" + data[1:], data[:8] + b"\xff\xff\xff\x7f" + data[12:]):
        block.write_bytes(bad)
        with pytest.raises(StoreError):
            blocks.open_block(block)
        with Searcher(path) as searcher:
            assert near_of(searcher, encoder.info) is None
    block.write_bytes(data)
    other = make(CORPUS, name="other")
    fill(other, encoder)
    (folder / blocks.LIST).write_bytes((blocks.folder_of(other, encoder.info.name) / blocks.LIST).read_bytes())
    with Searcher(path) as searcher:
        assert near_of(searcher, encoder.info) is None


def test_an_index_finds_what_a_comparison_finds(make: Make, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many vectors usearch is asked; its finds are compared exactly, later vectors and filters are not lost."""
    monkeypatch.setattr(ann, "FROM", 50)
    path, encoder = make(), teller()
    for n in range(60):
        ingest_bytes(path, f"{n}.txt", f"text number {n}".encode(), clock=clock)
    fill(path, encoder)
    ingest_bytes(path, "7.txt", b"another text in its place", clock=clock)
    ingest_bytes(path, "late.txt", b"a late text", clock=clock)
    fill(path, encoder)
    folder = blocks.folder_of(path, encoder.info.name)
    with Searcher(path) as searcher:
        near = near_to(searcher, encoder)
        assert near.state.ann == 60
        assert near.blocks[-1].chunk.size == 2
        (folder / ann.FILE).unlink()
        plain = open_near(folder, searcher.engram.meta.uid, searcher.index, encoder.info)
        assert plain is not None
        for text in ("text number 3", "a late text", "text number 7", "another text in its place"):
            got, expected = near.nearest(noise(text), most=5), plain.nearest(noise(text), most=5)
            assert got.score[0] == pytest.approx(expected.score[0], abs=1e-5)
            assert len(set(got.row.tolist()) & set(expected.row.tolist())) >= 4
