"""Words and vectors together are never much worse than the better of the two, and say how they came together."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.knowledge.encoders import Told, noise

from prefrontal.errors import CapabilityMissing, InvalidRequest
from prefrontal.knowledge.dense import calibrate, hybrid
from prefrontal.knowledge.dense.fill import fill
from prefrontal.knowledge.dense.fuse import fuse, ranks, tilted
from prefrontal.knowledge.dense.pseudo import pseudo
from prefrontal.knowledge.ingest.run import ingest_bytes
from prefrontal.knowledge.present import shown
from prefrontal.knowledge.search.filters import Filter
from prefrontal.knowledge.search.searcher import Searcher
from prefrontal.testing.clock import FakeClock

Make = Callable[..., Path]
DOCUMENTS = 48
ASKED = "Reads the depth of ice."
THINGS = [
    "pump", "seal", "turbine", "blade", "wing", "flutter", "water", "salt",
    "bread", "oven", "glacier", "river", "stone", "timber", "copper", "engine",
]  # fmt: skip


def words(seed: int, many: int) -> list[str]:
    chance = np.random.default_rng(seed)
    return [f"{THINGS[int(i)]}{int(j)}" for i, j in zip(chance.integers(0, 16, many), chance.integers(0, 30, many), strict=True)]


def document(n: int) -> str:
    """Return a text whose first sentence sums it up in words of its own matter."""
    own = words(1000 + n, 24)
    return f"{' '.join(own[:6]).capitalize()}. Then {' '.join(own[6:])} and {' '.join(own[3:9])}."


def matter(text: str) -> Any:
    """Return the vector of what a text is about: the sum of those of its words."""
    found = [word.strip(".,").lower() for word in text.split()]
    total = sum((noise(word, 64) for word in found if word not in ("then", "and")), np.zeros(64))
    return total / max(float(np.linalg.norm(total)), 1e-9)


def ndcg(found: list[str], right: str) -> float:
    return 1.0 / math.log2(found.index(right) + 2) if right in found[:10] else 0.0


@pytest.fixture
def engram(make: Make, clock: FakeClock) -> Path:
    path = make()
    for n in range(DOCUMENTS):
        ingest_bytes(path, f"{n}.txt", document(n).encode(), clock=clock)
    return path


def quality(path: Path, encoder: Told, questions: list[tuple[str, str]]) -> dict[str, float]:
    """Return the mean nDCG of each way."""
    fill(path, encoder)
    with Searcher(path) as searcher:
        calibrate.refresh(searcher, encoder)
        near = hybrid.near_of(searcher, encoder.info)
        assert near is not None
        sums = dict.fromkeys(("lexical", "dense", "hybrid"), 0.0)
        for question, right in questions:
            vector = encoder.encode([question])[0]
            for mode in sums:
                if mode == "lexical":
                    found = [name for name, _ in searcher.search_documents(question)]
                else:
                    found = [name for name, _ in hybrid.search_documents(searcher, near, question, vector, mode=mode)]  # type: ignore[arg-type]
                sums[mode] += ndcg(found, right) / len(questions)
    return sums


def test_vectors_that_say_nothing_do_no_harm(engram: Path) -> None:
    """With an encoder of noise both together are within .01 of words alone."""
    questions = [(" ".join(words(1000 + n, 24)[8:14]), f"{n}.txt") for n in range(DOCUMENTS)]
    found = quality(engram, Told(noise, dim=32), questions)
    assert found["dense"] < 0.3 < 0.9 < found["lexical"]
    assert found["hybrid"] >= found["lexical"] - 0.01


def test_words_that_are_not_there_do_no_harm(engram: Path, make: Make, clock: FakeClock) -> None:
    """Where questions have none of a passage's words, and the encoder knows both tongues, both do as well as vectors."""
    path = make(name="tongues")
    for n in range(DOCUMENTS):
        own = words(1000 + n, 24)
        title = " ".join(f"x{word}" for word in own[:8])
        text = f"{title.capitalize()}. Then {' '.join(own)}."
        ingest_bytes(path, f"{n}.txt", text.encode(), clock=clock)
    encoder = Told(lambda text: matter(text.lower().replace("x", "")), dim=64)
    questions = [(" ".join(f"x{word}" for word in words(1000 + n, 24)[10:18]), f"{n}.txt") for n in range(DOCUMENTS)]
    found = quality(path, encoder, questions)
    assert found["lexical"] < 0.5 < 0.8 < found["dense"]
    assert found["hybrid"] >= found["dense"] - 0.01


@given(
    st.lists(st.tuples(st.floats(0, 50), st.one_of(st.floats(-1, 1), st.just(math.nan))), min_size=1, max_size=30),
    st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]),
    st.floats(-0.5, 0.5),
)
def test_a_fused_score_respects_both(pairs: list[tuple[float, float]], weight: float, unrelated: float) -> None:
    """Scores are finite, and who is at least as good by both ways is not behind."""
    lexical, dense = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    found = fuse(lexical, dense, unrelated=unrelated, weight=weight)
    assert np.isfinite(found.scores).all()
    assert 0.0 <= found.weight <= 1.0
    for i in range(len(pairs)):
        for j in range(len(pairs)):
            if lexical[i] >= lexical[j] and dense[i] >= dense[j]:
                assert found.scores[i] >= found.scores[j] - 1e-9


def test_a_clearer_lead_moves_a_question() -> None:
    """The share follows the lead of the vectors, rises with the engram's, and an engram's certainty stays."""
    assert tilted(0.5, 0.0) == 0.5 < tilted(0.5, 0.4) < tilted(0.7, 0.4)
    assert tilted(0.5, -0.4) < 0.5
    assert (tilted(0.0, 1.0), tilted(1.0, -1.0)) == (0.0, 1.0)


def test_ranks_count_from_one() -> None:
    """The best has rank 1, equal ones keep their order, and what has no score has none."""
    assert ranks(np.array([0.2, math.nan, 0.9, 0.2])).tolist() == [2, 0, 1, 3]


def test_a_result_says_how_it_was_found(engram: Path) -> None:
    """Both ranks, the similarity and the share stand beside the words that matched; by words alone there is none of it."""
    encoder = Told(matter, dim=64)
    fill(engram, encoder)
    with Searcher(engram) as searcher:
        near = hybrid.near_of(searcher, encoder.info)
        assert near is not None
        question = " ".join(words(1007, 24)[8:14])
        vector = encoder.encode([question])[0]
        hit = hybrid.search(searcher, near, question, vector, k=3)[0]
        assert hit.path == "7.txt"
        assert hit.matches
        assert hit.blend is not None
        assert (hit.blend.lexical_rank, hit.blend.dense_rank) == (1, 1)
        assert 0 < hit.blend.dense_weight < 1
        assert hit.blend.similarity is not None
        (entry,) = shown([hit], searcher.engram, "it")
        assert entry["blend"]["dense_rank"] == 1
        alone = hybrid.search(searcher, near, "unheard words", vector, mode="dense", k=1)[0]
        assert (alone.path, alone.matches) == ("7.txt", ())
        assert alone.blend is not None
        assert alone.blend.lexical_rank is None
        narrowed = hybrid.search(searcher, near, question, vector, where=Filter(paths=("1*.txt",)))
        assert narrowed
        assert all(one.path.startswith("1") for one in narrowed)
        assert "blend" not in shown(searcher.search(question), searcher.engram, "it")[0]


def test_the_mode_fits_what_is_there(engram: Path) -> None:
    """Without vectors `auto` goes by words and others say what is missing; vectors of too few passages are not used by it."""
    encoder = Told(matter, dim=64)
    assert hybrid.chosen("auto", None) == "lexical" == hybrid.chosen("lexical", None)
    for mode in ("dense", "hybrid"):
        with pytest.raises(CapabilityMissing):
            hybrid.chosen(mode, None)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest):
        hybrid.chosen("other", None)  # type: ignore[arg-type]
    fill(engram, encoder, watch=lambda done, _all: False)
    with Searcher(engram) as searcher:
        near = hybrid.near_of(searcher, encoder.info)
        assert hybrid.chosen("auto", near) == "hybrid" == hybrid.chosen("hybrid", near)
        assert near is not None
        assert near.share == 1.0


def test_a_calibration_is_kept_until_the_engram_has_grown(engram: Path, clock: FakeClock) -> None:
    """It is the same however often it is made, and made again with half as many passages more."""
    encoder = Told(matter, dim=64)
    fill(engram, encoder)
    with Searcher(engram) as searcher:
        first = calibrate.refresh(searcher, encoder)
        asked = len(encoder.asked)
        assert first is not None
        assert first.samples > calibrate.LEAST_SAMPLES
        assert calibrate.refresh(searcher, encoder) == first
        assert len(encoder.asked) == asked
        near = hybrid.near_of(searcher, encoder.info)
        assert near is not None
        assert calibrate.calibrated(searcher, near, encoder) == first
        for n in range(DOCUMENTS, 2 * DOCUMENTS):
            ingest_bytes(engram, f"{n}.txt", document(n).encode(), clock=clock)
        fill(engram, encoder)
        searcher.refresh()
        again = calibrate.refresh(searcher, encoder)
        assert again is not None
        assert again.passages == 2 * DOCUMENTS


@pytest.mark.parametrize(
    ("name", "text", "question"),
    [
        ("a.py", f'def f(x):\n    """{ASKED}\n\n    More.\n    """\n    ' + "value = depth(ice_core)\n    " * 4, ASKED),
        ("b.go", "func f(x int) int {\n  // " + ASKED + "\n" + "  core := measure(depth, layer)\n" * 4 + "}\n", ASKED),
        ("c.md", "# Depth of the ice\n\n" + "It is measured with a core, layer by layer, and dated. " * 3, "Depth of the ice"),
        ("d.txt", "Ice is measured with a core. " + "Each layer holds air and dust. " * 4, "Ice is measured with a core."),
        ("e.txt", "Short.", None),
        ("f.py", "def read_depth(x):\n    " + "value = depth(ice_core)\n    " * 4, None),
    ],
)
def test_questions_are_made_of_what_sums_a_passage_up(
    name: str, text: str, question: str | None, make: Make, clock: FakeClock
) -> None:
    """A docstring, a comment, a heading or the first sentence asks for the rest; nothing asks where none is there."""
    path = make()
    ingest_bytes(path, name, text.encode(), clock=clock)
    with Searcher(path) as searcher:
        (file,) = searcher.engram.files()
        made = [pseudo(file, chunk, searcher.engram.text(file, chunk)) for chunk in searcher.engram.chunks(file.id)]
    found = [one for one in made if one is not None]
    assert [one.question for one in found][:1] == ([question] if question else [])
    assert all(one.question not in one.rest for one in found)
