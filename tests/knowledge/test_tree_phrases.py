"""The hierarchy narrows a search, and an engine of its own agrees with what is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from prefrontal.errors import InvalidRequest
from prefrontal.knowledge.ingest.run import ingest_bytes, update
from prefrontal.knowledge.search.filters import Filter
from prefrontal.knowledge.search.phrases import Phrases, expression
from prefrontal.knowledge.search.searcher import Searcher
from prefrontal.knowledge.search.tree import outline, places
from prefrontal.knowledge.shape import Shape
from prefrontal.testing.clock import FakeClock

Make = Callable[..., Path]
HERE = Path(__file__).parent
QUESTIONS = [json.loads(line) for line in HERE.joinpath("questions.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("mode", ["int8", "ternary"])
def test_a_beam_over_files_finds_what_a_flat_search_finds(make: Make, mode: str) -> None:
    """Looking into the three best files only still has nearly every right passage first."""
    first = 0
    with Searcher(make(HERE / "corpus", shape=Shape(mode=mode))) as searcher:  # type: ignore[arg-type]
        for question in QUESTIONS:
            hits = searcher.search(question["question"], k=10, beam=3)
            assert len({hit.path for hit in hits}) <= 3
            first += hits[0].path == question["path"]
    assert first >= len(QUESTIONS) - 2


def test_a_beam_of_all_files_is_a_flat_search(make: Make) -> None:
    """Wide enough, the beam leaves everything that shares a word with the question."""
    with Searcher(make(HERE / "corpus")) as searcher:
        for question in QUESTIONS[:6]:
            flat = searcher.search(question["question"], k=3)
            assert searcher.search(question["question"], k=3, beam=100) == flat
        with pytest.raises(InvalidRequest):
            searcher.search("water", beam=0)


def test_the_beam_follows_updates(make: Make, clock: FakeClock, tmp_path: Path) -> None:
    """New, changed and removed files count at once, and the scores are those of a fresh engram."""
    folder = tmp_path / "f"
    folder.mkdir()
    for n in range(8):
        folder.joinpath(f"{n}.md").write_text(f"# N{n}\n\nheron {n}\n\n# M{n}\n\nreed {n} heron\n")
    path = make(folder)
    with Searcher(path) as searcher:
        assert searcher.search("heron", beam=2)
    folder.joinpath("3.md").write_text("# Kingfisher\n\nkingfisher dives\n")
    folder.joinpath("4.md").unlink()
    update(path, clock=clock)
    with Searcher(path) as updated, Searcher(make(folder, name="fresh")) as fresh:
        assert [hit.path for hit in updated.search("kingfisher dives", beam=1)] == ["3.md"]
        for question in ("heron", "reed heron", "kingfisher", "m4"):
            assert places(updated, question) == places(fresh, question)


def test_places_name_folders_and_files(make: Make) -> None:
    """The folder and the file in which an answer lies come first of their kind."""
    with Searcher(make(HERE / "corpus")) as searcher:
        found = places(searcher, "slamming check valve in the guide")
        assert next(place.path for place in found if place.folder and place.path) == "guide"
        assert next(place.path for place in found if not place.folder) == "guide/valves.md"
        assert places(searcher, "xyzzyqwerty") == []
        whole = outline(searcher)
    assert [place.path for place in whole] == ["", "code", "data", "guide"]
    assert whole[0].chunks == sum(place.chunks for place in whole[1:])


def test_an_engine_of_its_own_agrees(make: Make) -> None:
    """FTS5, which shares no code with the vectors, has nearly every right file among its first five as well."""
    agreed = 0
    with Searcher(make(HERE / "corpus")) as searcher, Phrases(searcher) as phrases:
        for question in QUESTIONS:
            mine = {hit.path for hit in searcher.search(question["question"], k=5)}
            theirs = [hit.path for hit in phrases.search(question["question"], k=5, anything=True)]
            agreed += question["path"] in mine and question["path"] in theirs
    assert agreed >= len(QUESTIONS) - 3


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ('"relief valve opens"', {"guide/valves.md"}),
        ('"valve relief"', set()),
        ("greas*", {"guide/pumps.md"}),
        ("grease impeller", {"guide/pumps.md"}),
        ("grease invoice", set()),
        ('"', set()),
        ("", set()),
        ('body: "x" OR NEAR(', set()),
        ("infants AND", set()),
        ("-infants", {"guide/billing.md"}),
    ],
)
def test_phrases_and_prefixes(make: Make, text: str, paths: set[str]) -> None:
    """Words in order, beginnings of words, and all parts together; nothing typed is an operator."""
    with Searcher(make(HERE / "corpus")) as searcher, Phrases(searcher) as phrases:
        assert {hit.path for hit in phrases.search(text)} == paths


def test_the_full_text_index_follows_updates(make: Make, clock: FakeClock) -> None:
    """What is gone is not found, what is new is; filters hold; a damaged index is made again in memory."""
    path = make(HERE / "corpus")
    ingest_bytes(path, "n.txt", b"the heron stands", clock=clock)
    with Searcher(path) as searcher, Phrases(searcher) as phrases:
        assert phrases.search('"heron stands"')
        assert phrases.search("pump", where=Filter(paths=("*.yaml",)))[0].path == "data/alarm.yaml"
    ingest_bytes(path, "n.txt", b"the heron flies", clock=clock)
    with Searcher(path) as searcher, Phrases(searcher) as phrases:
        assert phrases.search('"heron stands"') == []
        assert phrases.search('"heron flies"')
    path.with_suffix(".index").joinpath("phrases.db").write_bytes(b"garbage" * 1000)
    with Searcher(path) as searcher, Phrases(searcher) as phrases:
        assert phrases.search('"heron flies"')


def test_too_many_parts_are_refused() -> None:
    """A phrase question is bounded."""
    with pytest.raises(InvalidRequest):
        expression(" ".join(f"w{n}" for n in range(40)))
