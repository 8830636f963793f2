"""Tiny Llama GGUF files for tests on a real engine, written in well under a second with numpy and gguf (extra ``test``).

    build_random     arbitrary printable text; for chat, streams, log probabilities, JSON-schema and grammar output
    build_rules      a keyword of the prompt decides the answer, which is spelled out and then ended
    build_decision   random weights with a route for typed decisions, which asks as our own prompts do
    build_embedding  vectors in which words of one group are near each other

The files hold 32-bit weights and are about 0.3 to 2 MB. Same arguments, same bytes. They know no language: what they show
is that an engine ran, what it was asked, and whether an answer was right or wrong.

Limits: the tokenizer reads single bytes apart from the words named below, so a prompt costs about one token a character;
tool calls only come from a grammar or a JSON schema, since the templates know no tools.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefrontal.decisions.prepared import CODES
from prefrontal.decisions.wording import LATEST, Wording, filled, load_wording
from prefrontal.testing.gguf_parts import (
    BYTE_OFFSET,
    EOS_ID,
    LAST_MESSAGE_TEMPLATE,
    Shape,
    Vocabulary,
    answer_chains,
    ascii_words,
    import_numpy,
    layer_tensors,
    round_up,
    write_llama,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

MEAN_POOLING = 1
"""GGUF's number for mean pooling."""

_COMMON_WORDS = ("the", "and", "of", "to", "in", "is", "you", "that", "it", "for")
_SHARPNESS = 30.0
"""Log-odds of a decided token over an undecided one: less than 1e-10 is left for all of those. Assumed."""
_WHISPER = 1e-4
"""How loud plain text is in a rules model; small beside everything else and large beside the norm's epsilon. Assumed."""
_ATTENTION = 2.0
"""How strongly a random model attends: below 1 all prompts sound alike at temperature 0. Tried out."""
_CALM = 0.7
"""Attention at which two ways of computing one answer agree to five digits (measured) and prompts still differ."""
_PLAIN_TOKEN_HUSH = 8.0
"""How many times longer the hidden part of a plain token's vector is than the rest. Assumed."""


def build_random(
    path: str | Path,
    *,
    seed: int = 0,
    context_length: int = 8192,
    texts: Mapping[str, str] | None = None,
    attention: float | None = None,
) -> Path:
    """Write a two-layer model with random weights and return `path`.

    It answers any prompt with printable ASCII that depends on the prompt and the seed, never with nothing. The text ends only
    after a full stop, some dozens of tokens on average at temperature 1 and perhaps never at temperature 0, so give a cap.
    Quotes are likelier than letters, so that strings end soon under a JSON schema or grammar. Ten common words, with the
    space before them, are single tokens. The template is ChatML and shows every message. texts: further metadata of the file.
    attention: how strongly it attends; the more, the more the rounding of the engine shows in its probabilities.
    """
    np = import_numpy()
    rng = np.random.default_rng(seed)
    vocabulary = Vocabulary()
    words = [vocabulary.add_word(" " + word) for word in _COMMON_WORDS]
    shape = Shape(name=f"random-{seed}", width=64, layers=2, ff_width=128, context_length=context_length)
    width, size = shape.width, len(vocabulary)
    # No layer touches the first two dimensions. The output matrix reads a constant from one, which gives each token its
    # bias, and from the other whether the current token is a full stop, the only one after which the text may end.
    embedding = rng.normal(0.0, 1.0, (size, width)).astype(np.float32)
    embedding[:, 0], embedding[:, 1] = 3.0, 0.0
    embedding[BYTE_OFFSET + ord("."), 1] = 20.0
    output = rng.normal(0.0, width**-0.5, (size, width)).astype(np.float32)
    output[:, 0], output[:, 1] = _text_bias(size, words), 0.0
    output[EOS_ID, 1] = 10.0
    tensors = {"token_embd.weight": embedding, "output.weight": output, "output_norm.weight": np.ones(width, np.float32)}
    for layer in range(shape.layers):
        matrices = {
            name: _noise(rng, width, width) * (attention or _ATTENTION) for name in ("attn_q", "attn_k", "attn_v", "attn_output")
        }
        matrices |= {name: _noise(rng, shape.ff_width, width) for name in ("ffn_gate", "ffn_up")}
        matrices["ffn_down"] = _noise(rng, width, shape.ff_width)
        matrices["attn_output"][:2] = matrices["ffn_down"][:2] = 0.0
        tensors |= layer_tensors(layer, matrices, np.ones(width, np.float32))
    return write_llama(path, shape=shape, vocabulary=vocabulary, tensors=tensors, texts=texts)


def build_decision(path: str | Path, *, seed: int = 0, context_length: int = 8192, version: str = LATEST) -> Path:
    """Write a model like `build_random` that llama.cpp serves typed decisions with (``/v1/systemone``), and return `path`.

    Its answers mean nothing, but they depend on every word, and its route asks in the very words of our own prompts of `version`:
    so what the route answers can be compared with what chat answers.
    """
    texts = {"llama.decision.type": "openjev", "tokenizer.chat_template.systemone": systemone_template(load_wording(version))}
    return build_random(path, seed=seed, context_length=context_length, texts=texts, attention=_CALM)


def systemone_template(wording: Wording) -> str:
    """Return the Jinja template by which llama.cpp's decision route asks in the words of `wording`, in ChatML."""
    end = "{{ '' }}"  # a line break right behind a block would be swallowed
    lines = (
        "{% for o in options %}{% set code = '" + "".join(CODES) + "'[loop.index0] %}"
        "{% set label = o.description if type == 'score' else ('"
        + wording.words.yes
        + "' if o.key == 'true' else '"
        + wording.words.no
        + "') if type == 'noul' else o.key %}"
        "{% set told = none if type == 'score' else o.description %}"
        "{{ code }}) {{ label }}{{ ': ' + told if told else '' }}{{ '' if loop.last else '\\n' }}{% endfor %}" + end
    )
    heading = "{{ '" + wording.headings["score"] + "' if type == 'score' else '" + wording.headings["choice"] + "' }}"
    values = {"instructions": "{{ instructions }}", "heading": heading, "options": lines, "ask": wording.ask.code}
    system = filled(wording.system, values)
    state = "{{ state if state is string else state | tojson }}"
    turns = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{state}<|im_end|>\n"
    return turns + "<|im_start|>assistant\n" + end


def build_rules(
    path: str | Path, rules: Mapping[str, str], *, default: str = "I do not know.", context_length: int = 8192
) -> Path:
    """Write a model whose answer depends on the prompt's words, and return `path`.

    Args:
        path: the file to write.
        rules: keyword to answer. A keyword is one word of ASCII letters; it is found in lower case or capitalised (not in
            capitals) wherever a word begins with it: ``refund`` also in ``refunds``. An answer is any text, also of many
            words; keywords may share one.
        default: the answer when no keyword is in the last message.
        context_length: tokens the model takes.

    Guarantees, at any temperature up to 1:
        - Chat answers are the rule's answer, whole, then the end token (``finish_reason`` "stop").
        - Only the last message decides. Earlier ones, the system's too, are written in capitals by the chat template.
        - Of several answers the one whose keywords occur more often wins: twice against once has a probability above 0.99. A
          tie is split evenly, so an ambiguous prompt has a low confidence.
        - Under a grammar or a JSON schema that allows an answer (``root ::= [A-C]``, an enum) it is chosen there; strings
          and objects are closed after it.

    Raises:
        ValueError: no rules, a keyword that is not one word of ASCII letters, or an answer that is empty, longer than 2000
            characters or only whitespace.
    """
    keywords = ascii_words(rules, what="keyword")
    if not keywords:
        raise ValueError("rules must hold at least one keyword.")
    return _write_rules(path, dict(zip(keywords, rules.values(), strict=True)), default, context_length)


def build_embedding(
    path: str | Path,
    groups: Mapping[str, Sequence[str]] | None = None,
    *,
    dimensions: int = 64,
    seed: int = 0,
    context_length: int = 2048,
) -> Path:
    """Write a model for an engine in embedding mode with mean pooling (the file asks for it), and return `path`.

    Words of one group have the same direction, words of different groups nearly right-angled ones, and all other text adds
    a little noise from its characters: two texts that name the same groups have a cosine above 0.8, two that name different
    groups below 0.5. Without `groups` the likeness of two texts is that of their characters. Equal texts, equal vectors.

    Args:
        path: the file to write.
        groups: group name to words of ASCII letters, in lower case or capitalised.
        dimensions: the length of a vector; a multiple of 32.
        seed: draws the directions.
        context_length: tokens the model takes.

    Raises:
        ValueError: `dimensions` is no multiple of 32, or a word is not made of ASCII letters.
    """
    if dimensions < 32 or dimensions % 32:
        raise ValueError(f"dimensions is {dimensions}; it must be a multiple of 32.")
    rng = import_numpy().random.default_rng(seed)
    vocabulary = Vocabulary()
    members = [
        [token for word in ascii_words(words, what="word") for token in _add_spellings(vocabulary, word)]
        for words in (groups or {}).values()
    ]
    if not members:
        _add_spellings(vocabulary, _COMMON_WORDS[0])
    shape = Shape(name=f"embedding-{seed}", width=dimensions, heads=dimensions // 32, context_length=context_length)
    tensors = _embedding_tensors(shape, len(vocabulary), members, rng)
    return write_llama(path, shape=shape, vocabulary=vocabulary, tensors=tensors, template=None, pooling_type=MEAN_POOLING)


def _add_spellings(vocabulary: Vocabulary, word: str) -> list[int]:
    """Make one token each of the word, lower and capitalised, with and without a space before it."""
    return [vocabulary.add_word(before + spelling) for spelling in (word, word.capitalize()) for before in ("", " ")]


def _write_rules(path: str | Path, rules: dict[str, str], default: str, context_length: int) -> Path:
    """Make a token of each keyword and of each piece of an answer, and write the model that links them."""
    vocabulary = Vocabulary()
    tokens = [_add_spellings(vocabulary, keyword) for keyword in rules]
    chains = answer_chains(vocabulary, {*rules.values(), default})
    pieces = [piece for chain in chains.values() for piece in chain]
    width = round_up(len(chains) + 1 + len(pieces), 32)
    shape = Shape(
        name="rules",
        width=width,
        heads=width // 32,
        context_length=context_length,
        norm_epsilon=1e-12,  # one keyword among 8192 tokens is a faint signal, which the usual 1e-5 would drown
    )
    tensors = _rule_tensors(shape, len(vocabulary), chains, list(zip(tokens, rules.values(), strict=True)), default)
    return write_llama(path, shape=shape, vocabulary=vocabulary, tensors=tensors, template=LAST_MESSAGE_TEMPLATE)


def _rule_tensors(
    shape: Shape,
    vocabulary_size: int,
    chains: Mapping[str, list[int]],
    keyword_answers: Sequence[tuple[list[int], str]],
    default: str,
) -> dict[str, Matrix]:
    """Write the rules into weights.

    Dimensions: one for each answer, one that says "nothing found", one for each piece of an answer. One layer without
    queries and keys averages over the prompt how often each answer's keywords occur. The current token adds its own row: a
    whisper for plain text, so that the average decides; a shout for a piece of an answer, so that only its successor can follow.
    """
    np = import_numpy()
    nothing = len(chains)
    answer_dims = {answer: index for index, answer in enumerate(chains)}
    pieces = [piece for chain in chains.values() for piece in chain]
    piece_dims = {piece: nothing + 1 + index for index, piece in enumerate(pieces)}
    loudest_average = 8 * _WHISPER * shape.context_length  # one keyword in a full context is still 8 whispers
    embedding = np.zeros((vocabulary_size, shape.width), np.float32)
    embedding[:, nothing] = _WHISPER
    for tokens, answer in keyword_answers:
        embedding[tokens, answer_dims[answer]] = 1.0
    output = np.zeros((vocabulary_size, shape.width), np.float32)
    logit = _SHARPNESS / np.sqrt(shape.width)  # the norm before the output matrix has length sqrt(width)
    output[chains[default][0], nothing] = logit
    for answer, chain in chains.items():
        output[chain[0], answer_dims[answer]] = logit
        for piece, following in zip(chain, [*chain[1:], EOS_ID], strict=True):
            embedding[piece] = 0.0
            embedding[piece, piece_dims[piece]] = 1000 * loudest_average
            output[following, piece_dims[piece]] = logit
        output[BYTE_OFFSET + ord('"'), piece_dims[chain[-1]]] = logit / 2  # where a grammar forbids the end: close the string
    average = np.zeros((shape.width, shape.width), np.float32)
    average[:nothing, :nothing] = np.eye(nothing) / np.sqrt(shape.width)  # small: the engine sums it in 16 bits
    return {
        "token_embd.weight": embedding,
        "output.weight": output,
        "output_norm.weight": np.ones(shape.width, np.float32),
        **_still_layer(shape, value=average, mix=np.eye(shape.width, dtype=np.float32) * loudest_average),
    }


def _embedding_tensors(shape: Shape, vocabulary_size: int, members: list[list[int]], rng: Any) -> dict[str, Matrix]:
    """Draw one direction for each group's tokens, and a faint one of its own for every other token."""
    np = import_numpy()
    embedding = rng.normal(0.0, 1.0, (vocabulary_size, shape.width)).astype(np.float32)
    # Each token is scaled to one length, and the first dimension is then hidden: a token that is mostly in it says little.
    embedding[:, 0] = _PLAIN_TOKEN_HUSH * np.sqrt(shape.width)
    for tokens in members:
        direction = rng.normal(0.0, 1.0, shape.width)
        direction[0] = 0.0
        embedding[tokens] = direction
    hush = np.ones(shape.width, np.float32)
    hush[0] = 0.0
    return {
        "token_embd.weight": embedding,
        "output.weight": np.zeros((vocabulary_size, shape.width), np.float32),
        "output_norm.weight": hush,
        **_still_layer(shape),
    }


def _still_layer(shape: Shape, *, value: Matrix | None = None, mix: Matrix | None = None) -> dict[str, Matrix]:
    """Return a layer that looks at all tokens alike and, without `value` and `mix`, changes nothing."""
    np = import_numpy()
    square = np.zeros((shape.width, shape.width), np.float32)
    tall = np.zeros((shape.ff_width, shape.width), np.float32)
    matrices = {
        "attn_q": square,
        "attn_k": square,
        "attn_v": square if value is None else value,
        "attn_output": square if mix is None else mix,
        "ffn_gate": tall,
        "ffn_up": tall,
        "ffn_down": np.ascontiguousarray(tall.T),
    }
    return layer_tensors(0, matrices, np.ones(shape.width, np.float32))


def _text_bias(vocabulary_size: int, words: list[int]) -> Matrix:
    """Return what `build_random` adds to each token's logit: printable ASCII only, strings and lists that end."""
    np = import_numpy()
    bias: Matrix = np.full(vocabulary_size, -12.0, np.float32)
    bias[BYTE_OFFSET + 32 : BYTE_OFFSET + 127] = -0.5
    bias[BYTE_OFFSET + ord("a") : BYTE_OFFSET + ord("z") + 1] = 0.5
    bias[[*words, BYTE_OFFSET + ord(" "), BYTE_OFFSET + ord(".")]] = 1.0
    bias[BYTE_OFFSET + ord('"')] = 1.6
    return bias


def _noise(rng: Any, rows: int, columns: int) -> Matrix:
    """Return a random matrix that keeps the length of what it is applied to."""
    noise: Matrix = import_numpy().asarray(rng.normal(0.0, columns**-0.5, (rows, columns)), dtype="float32")
    return noise
