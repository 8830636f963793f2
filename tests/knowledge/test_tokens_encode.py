"""Terms and vectors: what counts, and that it is the same everywhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import snowballstemmer
from hypothesis import given
from hypothesis import strategies as st
from snowballstemmer.english_stemmer import EnglishStemmer

from prefrontal.errors import InvalidRequest
from prefrontal.knowledge.algebra import bind, bundle, permute, similarity, vector
from prefrontal.knowledge.encode import PAIR, SYMBOL, Encoder, Passage, places, signs
from prefrontal.knowledge.shape import Constants, Shape
from prefrontal.knowledge.tokens import Tokenizer

TEXTS = st.text(max_size=300)
WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu"


def encoder(**shape: object) -> Encoder:
    return Encoder(Shape(**shape), Constants())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "stems"),
    [
        ("The runners were running", ["runner", "run"]),
        ("getHTTPResponse2", ["get", "http", "respons", "2"]),
        ("snake_case_name", ["snake", "case", "name"]),
        ("Straße CAFÉS", ["straße", "café"]),
        ("東京大学", ["東京", "京大", "大学"]),
        ("don't", []),
        ("", []),
    ],
)
def test_terms_of_text(text: str, stems: list[str]) -> None:
    """Stop words go, identifiers come apart, unspaced scripts give pairs."""
    assert Tokenizer().stems(text) == stems


def test_an_encoded_blob_is_no_endless_word() -> None:
    """Of a run of 100,000 letters only the beginning counts."""
    assert len("".join(Tokenizer().stems("x" * 100_000))) <= 64


@given(st.lists(TEXTS, max_size=6))
def test_a_vector_depends_on_its_own_passage_only(texts: list[str]) -> None:
    """Encoding together is encoding one by one, bit for bit."""
    together = encoder().many([Passage(text=text) for text in texts])
    for text, one in zip(texts, together, strict=True):
        alone = encoder().one(Passage(text=text))
        assert (one.length, one.indices.tobytes(), one.values.tobytes()) == (
            alone.length,
            alone.indices.tobytes(),
            alone.values.tobytes(),
        )
        assert (one.terms.tobytes(), one.counts.tobytes(), one.flags.tobytes()) == (
            alone.terms.tobytes(),
            alone.counts.tobytes(),
            alone.flags.tobytes(),
        )


@given(TEXTS, st.sampled_from(["int8", "ternary"]), st.sampled_from([10_000, 65_536, 100_000]))
def test_vectors_keep_their_shape(text: str, mode: str, dim: int) -> None:
    """Indices rise and lie inside, values are no zeros, and there are never more than the shape allows."""
    made = encoder(mode=mode, dim=dim, nonzeros=20).one(Passage(text=text, title=text[:20], symbol="a.b"))
    assert made.indices.size <= 20
    assert (np.diff(made.indices.astype(np.int64)) > 0).all()
    assert made.values.all()
    assert made.indices.size == 0 or int(made.indices.max()) < dim
    if mode == "ternary":
        assert set(made.values.tolist()) <= {-1, 1}


def test_the_vector_is_what_the_algebra_says() -> None:
    """A passage is the bundle of its words, of ordered pairs bound to one another, and of permuted field words."""
    tokenizer = Tokenizer()
    hashes = np.array([tokenizer.hash("alpha"), tokenizer.hash("beta")], np.uint64)
    alpha, beta = (vector(65_536, [i], [s]) for i, s in zip(places(hashes, 65_536), signs(hashes), strict=True))
    expected = bundle(
        alpha, alpha, beta, bind(permute(alpha, PAIR), alpha), bind(permute(alpha, PAIR), beta), permute(beta, SYMBOL)
    )
    assert encoder().one(Passage(text="alpha alpha beta", symbol="beta")).vector(65_536) == expected


def test_values_are_raw_counts() -> None:
    """A word that occurs five times has five times the weight: nothing is rounded away before sums are made."""
    made = encoder().one(Passage(text="alpha beta " * 5)).vector(65_536)
    assert sorted(np.abs(made.values).tolist()) == [4, 5, 5, 5]


def test_words_are_kept_before_pairs() -> None:
    """Thinning drops what says least: with room for the words only, the words stay."""
    made = encoder(nonzeros=16).one(Passage(text=WORDS))
    words = encoder(nonzeros=16).tokenizer.words(WORDS)
    where = places(np.frombuffer(words, np.uint64), 65_536)
    assert set(where.tolist()) <= set(made.indices.tolist())


def test_texts_about_the_same_are_closer() -> None:
    """Similarity follows the words that texts share, in both modes."""
    for mode in ("int8", "ternary"):
        one, near, far = (
            made.vector(65_536)
            for made in encoder(mode=mode).many(
                [
                    Passage(text="The pump moves water from the lower tank"),
                    Passage(text="Water is moved by a pump to the upper tank"),
                    Passage(text="Parliament debated taxes on imported wine"),
                ]
            )
        )
        assert similarity(one, near) > 0.2 > similarity(one, far)


def test_two_processes_give_the_same_hashes() -> None:
    """Neither the process nor its hash seed changes a vector."""
    code = (
        "import hashlib; from prefrontal.knowledge.encode import Encoder, Passage;"
        "from prefrontal.knowledge.shape import Constants, Shape;"
        "made = Encoder(Shape(), Constants()).one(Passage(text='Ärger mit getHTTPResponse 東京', path='a/b', title='X'));"
        "print(hashlib.sha256(made.indices.tobytes() + made.values.tobytes() + made.terms.tobytes()).hexdigest())"
    )
    marks = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(marks) == 1
    assert len(marks.pop().strip()) == 64


def test_another_seed_gives_other_vectors() -> None:
    """The seed salts every hash."""
    one, other = (encoder(seed=seed).one(Passage(text=WORDS)) for seed in (0, 1))
    assert one.indices.tolist() != other.indices.tolist()


@pytest.mark.parametrize("shape", [{"dim": 10}, {"nonzeros": 3}, {"nonzeros": 5_000}, {"mode": "float"}, {"dim": 1 << 24}])
def test_shapes_out_of_range_are_refused(shape: dict[str, object]) -> None:
    """A bad figure is a client error that names its parameter."""
    with pytest.raises(InvalidRequest) as caught:
        encoder(**shape)
    assert caught.value.param in shape


def test_both_forms_of_the_stemmer_agree() -> None:
    """The stemmer in C and the one in Python give the same stems, so engrams travel between machines."""
    text = " ".join(path.read_text() for path in Path(__file__).parent.rglob("*.*") if path.suffix in (".md", ".py"))
    words = sorted({word.lower() for word in re.findall(r"[a-zA-Z]+", text)})
    pure = EnglishStemmer()
    fast = snowballstemmer.stemmer("english")
    assert len(words) > 1_000
    assert [fast.stemWord(word) for word in words] == [pure.stemWord(word) for word in words]
