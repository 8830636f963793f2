"""Encoders made for tests: of random weights, of a table, learnt from an engram, and one that knows the answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prefrontal.knowledge.dense import tensors
from prefrontal.knowledge.dense.encoder import EncoderInfo

WORDS = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "pump", "seal", "grease", "turbine", "blade", "wing",
    "flutter", "water", "salt", "bread", "oven", "the", "a", "of", "in", "is",
]  # fmt: skip
CONFIG = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "max_position_embeddings": 40,
    "hidden_act": "gelu",
}


def tokenizer(path: Path) -> None:
    """Write a tokenizer of a few words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    made.save(str(path))


def bert_weights(prefix: str = "") -> dict[str, Any]:
    """Return random weights for `CONFIG`."""
    chance = np.random.default_rng(5)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(WORDS), 16),
        "embeddings.position_embeddings.weight": (40, 16),
        "embeddings.token_type_embeddings.weight": (2, 16),
        "embeddings.LayerNorm.weight": (16,),
        "embeddings.LayerNorm.bias": (16,),
    }
    for n in range(2):
        at = f"encoder.layer.{n}."
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            shapes |= {f"{at}{name}.weight": (16, 16), f"{at}{name}.bias": (16,)}
        shapes |= {f"{at}intermediate.dense.weight": (24, 16), f"{at}intermediate.dense.bias": (24,)}
        shapes |= {f"{at}output.dense.weight": (16, 24), f"{at}output.dense.bias": (16,)}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{at}{name}.weight": (16,), f"{at}{name}.bias": (16,)}
    return {prefix + name: (0.5 * chance.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


def bert_folder(folder: Path) -> Path:
    """Write a model as sentence encoders come."""
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12}))
    tokenizer(folder / "tokenizer.json")
    tensors.save(folder / "model.safetensors", bert_weights())
    return folder


def static_folder(folder: Path) -> Path:
    """Write a table of token vectors."""
    folder.mkdir(parents=True)
    tokenizer(folder / "tokenizer.json")
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec"}))
    table = np.random.default_rng(6).standard_normal((len(WORDS), 8)).astype(np.float16)
    tensors.save(folder / "model.safetensors", {"embeddings": table})
    return folder


class Told:
    """Gives each text the vector a function tells for it, and remembers what it was asked."""

    def __init__(self, tell: Callable[[str], Any], *, dim: int, name: str = "told", revision: str = "1") -> None:
        self.info = EncoderInfo(name=name, dim=dim, revision=revision)
        self.asked: list[str] = []
        self._tell = tell

    def encode(self, texts: Sequence[str]) -> Any:
        """See `Encoder.encode`."""
        self.asked += texts
        return np.array([self._tell(text) for text in texts], np.float32).reshape(len(texts), self.info.dim)


def noise(text: str, dim: int = 32) -> Any:
    """Return a vector that says nothing but which text it is."""
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
    vector = np.random.default_rng(seed).standard_normal(dim)
    return vector / np.linalg.norm(vector)
