"""Texts to token ids by a model's own tokenizer.json; the library `tokenizers` is loaded when the first one is."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from prefrontal.errors import CapabilityMissing, StoreError


class Pieces:
    """A tokenizer. Raises CapabilityMissing without the extra `dense`, StoreError for a file it cannot read."""

    def __init__(self, path: Path, *, most: int, special: bool) -> None:
        if find_spec("tokenizers") is None:
            raise CapabilityMissing("This encoder needs the library tokenizers.", hint="pip install 'prefrontal[dense]'")
        from tokenizers import Tokenizer

        try:
            self._tokenizer: Any = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain Exceptions
            raise StoreError(f"{path.name} is no tokenizer: {error}.") from error
        self._tokenizer.enable_truncation(most)
        self._tokenizer.no_padding()
        self._special = special

    @property
    def size(self) -> int:
        """Number of tokens there are."""
        return int(self._tokenizer.get_vocab_size())

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text."""
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        return [one.ids for one in self._tokenizer.encode_batch(clean, add_special_tokens=self._special)]
