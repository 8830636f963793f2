"""Encoders that run here, in numpy: a transformer, a table of token vectors, and one learnt from an engram's own words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from prefrontal.errors import StoreError
from prefrontal.knowledge.dense import tensors
from prefrontal.knowledge.dense.bert import Bert, config_of
from prefrontal.knowledge.dense.encoder import EncoderInfo
from prefrontal.knowledge.dense.pieces import Pieces
from prefrontal.knowledge.encode import identifiers
from prefrontal.knowledge.tokens import Tokenizer

MOST_TOKENS = 256
"""Longest text a transformer reads, unless its description names less (MiniLM's own; longer texts cost by the square)."""

STATIC_TOKENS = 512
"""Longest text for a table of token vectors (assumed: beyond, a mean says no more)."""

WEIGHTS, TOKENIZER_FILE, CONFIG, POOLING, LENGTHS = (
    "model.safetensors",
    "tokenizer.json",
    "config.json",
    "pooling.json",
    "sentence_bert_config.json",
)


class _Pooling(msgspec.Struct, frozen=True):
    pooling_mode_cls_token: bool = False
    pooling_mode_mean_tokens: bool = True


class _Lengths(msgspec.Struct, frozen=True):
    max_seq_length: int = MOST_TOKENS


class BertEncoder:
    """A sentence encoder of the BERT family."""

    def __init__(self, folder: Path, name: str, revision: str) -> None:
        pooling, lengths = _read(folder / POOLING, _Pooling), _read(folder / LENGTHS, _Lengths)
        if not pooling.pooling_mode_mean_tokens and not pooling.pooling_mode_cls_token:
            raise StoreError(f"The encoder {name} pools its tokens in a way that is not known here.")
        weights = tensors.load(folder / WEIGHTS)
        self._model = Bert(
            config_of(folder / CONFIG), weights, pooling="cls" if pooling.pooling_mode_cls_token else "mean"
        )
        most = max(2, min(lengths.max_seq_length, MOST_TOKENS, self._model.most_tokens))
        self._pieces = Pieces(folder / TOKENIZER_FILE, most=most, special=True)
        if self._pieces.size > self._model.vocabulary:
            raise StoreError(f"The tokenizer of {name} has more tokens than its weights.")
        self.info = EncoderInfo(name=name, dim=self._model.dim, revision=revision)

    def encode(self, texts: Sequence[str]) -> Any:
        """See `Encoder.encode`."""
        return self._model.encode(self._pieces.ids(texts))


class StaticEncoder:
    """A vector for each token, and their mean for a text: a thousand times faster than a transformer, and coarser."""

    def __init__(self, folder: Path, name: str, revision: str) -> None:
        arrays = tensors.load(folder / WEIGHTS)
        table = arrays.get("embeddings")
        if table is None or table.ndim != 2 or not table.size:
            raise StoreError(f"The weights of {name} have no table of embeddings.")
        mapping, weights = arrays.get("mapping"), arrays.get("weights")
        self._pieces = Pieces(folder / TOKENIZER_FILE, most=STATIC_TOKENS, special=False)
        size = self._pieces.size
        rows = np.arange(size) if mapping is None else mapping.astype(np.int64).ravel()
        if rows.size < size or rows.min() < 0 or rows.max() >= len(table) or (weights is not None and weights.size < size):
            raise StoreError(f"The tokenizer of {name} has more tokens than its weights.")
        self._table = table.astype(np.float32)[rows]
        if weights is not None:
            self._table = self._table * weights.astype(np.float32).ravel()[: len(self._table), None]
        self.info = EncoderInfo(name=name, dim=int(table.shape[1]), revision=revision)

    def encode(self, texts: Sequence[str]) -> Any:
        """See `Encoder.encode`."""
        out = np.zeros((len(texts), self.info.dim), np.float32)
        for row, ids in enumerate(self._pieces.ids(texts)):
            if ids:
                out[row] = self._table[ids].mean(axis=0)
        return _unit(out)


class TermEncoder:
    """A vector for each stem an engram had when it was learnt from, see `dense.learn`; a text is their weighted sum."""

    def __init__(self, folder: Path, name: str, revision: str) -> None:
        arrays = tensors.load(folder / WEIGHTS)
        try:
            self._terms, self._table = arrays["terms"].astype(np.int64).ravel(), arrays["embeddings"].astype(np.float32)
            self._tokenizer = Tokenizer(int(arrays["seed"].ravel()[0]))
        except (KeyError, IndexError) as error:
            raise StoreError(f"The weights of {name} lack something: {error}.") from error
        fits = self._table.ndim == 2 and len(self._table) == self._terms.size > 0
        if not fits or (np.diff(self._terms) <= 0).any():
            raise StoreError(f"The weights of {name} do not fit together.")
        self.info = EncoderInfo(name=name, dim=int(self._table.shape[1]), revision=revision, learnt=True)

    def encode(self, texts: Sequence[str]) -> Any:
        """See `Encoder.encode`."""
        out = np.zeros((len(texts), self.info.dim), np.float32)
        for row, text in enumerate(texts):
            hashes = np.frombuffer(self._tokenizer.words(text), np.uint64)
            terms, counts = np.unique(identifiers(hashes).astype(np.int64), return_counts=True)
            at = np.minimum(np.searchsorted(self._terms, terms), self._terms.size - 1)
            known = self._terms[at] == terms
            if known.any():
                out[row] = (1.0 + np.log(counts[known])).astype(np.float32) @ self._table[at[known]]
        return _unit(out)


def _unit(rows: Any) -> Any:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)


def _read(path: Path, kind: Any) -> Any:
    """Return a description that may be missing."""
    if not path.is_file():
        return kind()
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreError(f"{path.name} is malformed: {error}.") from error
