"""What the tiny GGUF builders share: a byte-level vocabulary, its BPE merges, two chat templates and the file writer.

The vocabulary begins with four control tokens and the 256 bytes, so every letter and digit is one token of its own, which
grammars and label decisions need. numpy and gguf (extra ``test``) are imported when a file is written, not before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from prefrontal.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

CONTROL_TOKENS = ("<|pad|>", "<|bos|>", "<|im_start|>", "<|im_end|>")
PAD_ID, BOS_ID, START_ID, EOS_ID = range(4)
BYTE_OFFSET = len(CONTROL_TOKENS)

CHATML_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Every message as it is."""

LAST_MESSAGE_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if loop.last %}{{ m.content }}{% else %}{{ m.content | upper }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The last message as it is, earlier ones in capitals: they count as tokens and match no keyword."""


def _byte_alphabet() -> tuple[str, ...]:
    """Return the printable stand-in of each byte, as GPT-2's byte-level vocabulary defines it."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = [byte for byte in range(256) if byte not in printable]
    stand_in = {byte: chr(256 + index) for index, byte in enumerate(hidden)}
    return tuple(stand_in.get(byte, chr(byte)) for byte in range(256))


BYTE_ALPHABET = _byte_alphabet()


def encode_text(text: str) -> str:
    """Return `text` in the vocabulary's spelling: one stand-in character for each UTF-8 byte."""
    return "".join([BYTE_ALPHABET[byte] for byte in text.encode()])


class Vocabulary:
    """A byte-level vocabulary that grows: whole words by merges, answer pieces as bare tokens.

    A *word* is reached by the tokenizer from plain text. A *piece* is never produced from text, only by the model.
    """

    def __init__(self) -> None:
        self.tokens: list[str] = [*CONTROL_TOKENS, *BYTE_ALPHABET]
        self.merges: list[str] = []
        self._ids = {token: index for index, token in enumerate(self.tokens)}
        self._ranks: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, text: str) -> bool:
        return encode_text(text) in self._ids

    def token_id(self, text: str) -> int:
        """Return the id of the single token that spells `text`; KeyError when there is none."""
        return self._ids[encode_text(text)]

    def add_word(self, text: str) -> int:
        """Make the tokenizer read `text` as one token and return its id.

        New merges rank below all earlier ones and earlier words always find one of their own to apply, so no word added
        before is split by this.
        """
        parts = self._split(encode_text(text))
        while len(parts) > 1:
            self._ranks[parts[0], parts[1]] = len(self.merges)
            self.merges.append(f"{parts[0]} {parts[1]}")
            parts = [parts[0] + parts[1], *parts[2:]]
            self._add(parts[0])
        return self._ids[parts[0]]

    def add_piece(self, text: str) -> int:
        """Add a token that only the model can emit (or reuse a byte's) and return its id."""
        return self._add(encode_text(text))

    def _add(self, spelling: str) -> int:
        if spelling not in self._ids:
            self._ids[spelling] = len(self.tokens)
            self.tokens.append(spelling)
        return self._ids[spelling]

    def _split(self, spelling: str) -> list[str]:
        """Apply the merges the way the tokenizer does: the lowest rank first, the leftmost of equals."""
        parts = list(spelling)
        while True:
            ranked = [(self._ranks.get(pair, -1), at) for at, pair in enumerate(pairwise(parts))]
            known = [entry for entry in ranked if entry[0] >= 0]
            if not known:
                return parts
            at = min(known)[1]
            parts[at : at + 2] = [parts[at] + parts[at + 1]]


MAX_ANSWER_CHARS = 2000
"""The longest answer a rules model spells; each word costs a dimension. Assumed."""


def answer_chains(vocabulary: Vocabulary, answers: Iterable[str]) -> dict[str, list[int]]:
    """Cut each answer into pieces that occur nowhere else, add them as tokens, and return the token ids of each.

    So the current token alone tells which answer is being spelled and how far it is. Pieces are words with the space before
    them where possible; a word that is taken is joined with the next ones. Shorter answers choose first.
    ValueError when an answer is empty, too long, or cannot be cut so.
    """
    taken: set[str] = set()
    chains = {}
    for answer in sorted(answers, key=lambda text: (len(text), text)):
        if not answer.strip() or len(answer) > MAX_ANSWER_CHARS:
            raise ValueError(f"The answer {answer[:40]!r} must have 1 to {MAX_ANSWER_CHARS} characters that are not all space.")
        pieces = _cut(answer, lambda piece: piece in taken or (len(piece) > 1 and piece in vocabulary))
        taken.update(pieces)
        chains[answer] = pieces
    return {answer: [vocabulary.add_piece(piece) for piece in pieces] for answer, pieces in chains.items()}


def _cut(answer: str, is_taken: Callable[[str], bool]) -> list[str]:
    """Cut `answer` into different pieces none of which is taken."""
    pieces: list[str] = []
    rest = ""
    for word in re.findall(r"\s*\S+(?:\s+\Z)?", answer):
        rest += word
        if not is_taken(rest) and rest not in pieces:
            pieces.append(rest)
            rest = ""
    while rest and pieces:
        rest = pieces.pop() + rest
        if not is_taken(rest) and rest not in pieces:
            return [*pieces, rest]
    if not rest:
        return pieces
    for at in range(1, len(rest)):  # the whole answer is a keyword: spell it in two
        if rest[:at] != rest[at:] and not is_taken(rest[:at]) and not is_taken(rest[at:]):
            return [rest[:at], rest[at:]]
    raise ValueError(f"The answer {answer!r} shares its spelling with a keyword and with other answers; change one of them.")


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of a tiny Llama. `width` is a multiple of `heads`; the head width is even and rotated whole."""

    name: str
    width: int
    layers: int = 1
    heads: int = 4
    ff_width: int = 64
    context_length: int = 8192
    norm_epsilon: float = 1e-5


def write_llama(
    path: str | Path,
    *,
    shape: Shape,
    vocabulary: Vocabulary,
    tensors: Mapping[str, Matrix],
    template: str | None = CHATML_TEMPLATE,
    pooling_type: int | None = None,
    texts: Mapping[str, str] | None = None,
) -> Path:
    """Write one GGUF file and return its path. The folder is made; an existing file is replaced. texts: further metadata."""
    gguf = _import_gguf()
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_name(shape.name)
    writer.add_context_length(shape.context_length)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ff_width)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_vocab_size(len(vocabulary))
    writer.add_file_type(0)
    if pooling_type is not None:
        writer.add_uint32("llama.pooling_type", pooling_type)
    for key, text in (texts or {}).items():
        writer.add_string(key, text)
    _write_tokenizer(writer, vocabulary, template)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _write_tokenizer(writer: Any, vocabulary: Vocabulary, template: str | None) -> None:
    control, normal = 3, 1  # GGUF's token types
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types([control] * BYTE_OFFSET + [normal] * (len(vocabulary) - BYTE_OFFSET))
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(BOS_ID)
    writer.add_eos_token_id(EOS_ID)
    writer.add_pad_token_id(PAD_ID)
    writer.add_add_bos_token(False)
    if template is not None:
        writer.add_chat_template(template)


def layer_tensors(layer: int, matrices: Mapping[str, Matrix], ones: Matrix) -> dict[str, Matrix]:
    """Name one layer's matrices (attn_q, attn_k, attn_v, attn_output, ffn_gate, ffn_up, ffn_down) and add its norms."""
    named = {f"blk.{layer}.{name}.weight": matrix for name, matrix in matrices.items()}
    return {**named, f"blk.{layer}.attn_norm.weight": ones, f"blk.{layer}.ffn_norm.weight": ones}


def import_numpy() -> Any:
    """Return numpy, or raise ConfigError naming the extra that brings it."""
    try:
        import numpy
    except ModuleNotFoundError as missing:
        raise _missing_extra("numpy") from missing
    return numpy


def _import_gguf() -> Any:
    try:
        import gguf
    except ModuleNotFoundError as missing:
        raise _missing_extra("gguf") from missing
    return gguf


def _missing_extra(package: str) -> ConfigError:
    return ConfigError(f"Building a GGUF file needs {package}.", hint="Install prefrontal[test].")


def round_up(number: int, step: int) -> int:
    """Return the smallest multiple of `step` that is at least `number`."""
    return -(-number // step) * step


def ascii_words(words: Iterable[str], *, what: str) -> list[str]:
    """Return `words` in lower case; ValueError unless each is made of ASCII letters, which the tokenizer keeps whole, and new."""
    kept: list[str] = []
    for word in words:
        if not (word.isascii() and word.isalpha()):
            raise ValueError(f"{what} {word!r} must be one word of the letters a to z.")
        if word.lower() in kept:
            raise ValueError(f"{what} {word!r} is there twice.")
        kept.append(word.lower())
    return kept
