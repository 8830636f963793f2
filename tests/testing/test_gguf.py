"""The tiny GGUF files do on a real engine what their builders promise. One engine a file for the whole module."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from prefrontal.testing.gguf import build_embedding, build_random, build_rules
from prefrontal.testing.gguf_parts import Vocabulary, answer_chains, encode_text

RULES = {
    "refund": "We will refund you within 5 days.",
    "parcel": "Your parcel is on its way; the parcel arrives soon.",
    "login": "C",
    "password": "C",
    "yes": "yes",
    "report": "billing",
    "repay": "shipping",
}
GROUPS = {"money": ["refund", "payment", "invoice"], "post": ["parcel", "letter"]}

Post = Callable[[str, dict[str, Any]], Any]


@contextmanager
def engine(path: Path, *flags: str) -> Iterator[Post]:
    """Run the engine's child on a file and give a function that posts JSON to it."""
    command = [sys.executable, "-m", "prefrontal.execute.engine.child", f"--model={path}", "--context-tokens=8192", *flags]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdin
    assert child.stdout
    try:
        port = json.loads(child.stdout.readline())["port"]

        def post(route: str, body: dict[str, Any]) -> Any:
            request = urllib.request.Request(f"http://127.0.0.1:{port}{route}", json.dumps(body).encode())
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read().decode()
            return text if body.get("stream") else json.loads(text)

        yield post
    finally:
        child.stdin.close()
        child.wait(timeout=10)
        child.stdout.close()


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Post]]:
    folder = tmp_path_factory.mktemp("gguf")
    with ExitStack() as stack:
        yield {
            "rules": stack.enter_context(engine(build_rules(folder / "rules.gguf", RULES))),
            "random": stack.enter_context(engine(build_random(folder / "random.gguf"))),
            "embedding": stack.enter_context(engine(build_embedding(folder / "embedding.gguf", GROUPS), "--embedding")),
        }


@pytest.fixture
def rules(engines: dict[str, Post]) -> Post:
    return engines["rules"]


@pytest.fixture
def random_model(engines: dict[str, Post]) -> Post:
    return engines["random"]


def chat(post: Post, *messages: str | dict[str, Any], **options: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": turn} if isinstance(turn, str) else turn for turn in messages]
    answer = post("/v1/chat/completions", {"messages": turns, "max_tokens": 100, **options})
    choice: dict[str, Any] = answer["choices"][0]
    return choice


def said(post: Post, *messages: str | dict[str, Any], **options: Any) -> str:
    content: str = chat(post, *messages, **options)["message"]["content"]
    return content


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("I want a refund", RULES["refund"]),
        ("Refunds, please!", RULES["refund"]),
        ("Where is my parcel?", RULES["parcel"]),
        ("Login fails", "C"),
        ("my password", "C"),
        ("yes or no", "yes"),
        ("a report", "billing"),
        ("repay me", "shipping"),
        ("hello there", "I do not know."),
        ("REFUND", "I do not know."),
    ],
)
def test_rules_answer_by_keyword_and_stop(rules: Post, prompt: str, answer: str) -> None:
    """Each keyword brings its whole answer, which then ends by itself; no keyword brings the default."""
    choice = chat(rules, prompt)
    assert (choice["message"]["content"], choice["finish_reason"]) == (answer, "stop")


def test_rules_find_one_word_in_a_long_prompt(rules: Post) -> None:
    """One keyword among seven thousand other tokens still decides."""
    assert said(rules, "x" * 4000 + " refund " + "y" * 3000) == RULES["refund"]


def test_rules_heed_only_the_last_message(rules: Post) -> None:
    """Neither the system's message nor the earlier turns decide."""
    earlier = [{"role": "system", "content": "refund refund"}, "refund", {"role": "assistant", "content": "We will refund"}]
    assert said(rules, *earlier, "my parcel") == RULES["parcel"]
    assert said(rules, *earlier, "hm") == "I do not know."


def test_rules_are_unsure_when_the_prompt_is(rules: Post) -> None:
    """Two answers named equally often share the probability; the one named twice against once takes it."""
    even = chat(rules, "refund parcel", max_tokens=1, logprobs=True, top_logprobs=2)["logprobs"]["content"][0]["top_logprobs"]
    assert {entry["token"] for entry in even} == {"We", "Your"}
    assert even[0]["logprob"] == pytest.approx(even[1]["logprob"], abs=0.05)
    skewed = chat(rules, "refund parcel parcel", max_tokens=1, logprobs=True, top_logprobs=1)["logprobs"]["content"][0]
    assert skewed["token"] == "Your"
    assert skewed["logprob"] > -0.01


def test_rules_decide_under_a_grammar(rules: Post) -> None:
    """A grammar of labels still leaves the right one."""
    assert said(rules, "my login", grammar="root ::= [A-D]") == "C"


def test_rules_decide_under_a_json_schema(rules: Post) -> None:
    """An enum and a free string both get the rule's answer, and the object is closed."""
    schema = {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": ["billing", "shipping"]}, "why": {"type": "string"}},
        "required": ["label", "why"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "label", "schema": schema}}
    for prompt, label in (("a report", "billing"), ("repay me", "shipping")):
        assert json.loads(said(rules, prompt, response_format=form)) == {"label": label, "why": label}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"two words": "A"},
        {"né": "A"},
        {"refund": ""},
        {"refund": " "},
        {"refund": "x" * 2001},
        {"Refund": "A", "refund": "B"},
    ],
)
def test_rules_refuse_what_they_cannot_spell(tmp_path: Path, wrong: dict[str, str]) -> None:
    """Missing rules, keywords the tokenizer would split and empty or endless answers are errors, not surprises."""
    with pytest.raises(ValueError, match=r"rules|keyword|answer"):
        build_rules(tmp_path / "wrong.gguf", wrong)


def test_random_depends_on_the_prompt_and_the_seed(random_model: Post, tmp_path: Path) -> None:
    """At temperature 0 the same prompt gives the same text, another prompt or another seed another one; all printable."""
    first = said(random_model, "hello", temperature=0)
    assert first == said(random_model, "hello", temperature=0)
    assert first != said(random_model, "something else", temperature=0)
    assert first.isascii()
    assert first.isprintable()
    with engine(build_random(tmp_path / "other.gguf", seed=1)) as other:
        assert said(other, "hello", temperature=0) != first


def test_random_text_is_never_empty_and_mostly_ends(random_model: Post) -> None:
    """Of twelve answers at temperature 1 all have text and most end by themselves within 400 tokens."""
    answers = [chat(random_model, f"prompt {n}", max_tokens=400, temperature=1, seed=n) for n in range(12)]
    assert all(answer["message"]["content"] for answer in answers)
    assert sum(answer["finish_reason"] == "stop" for answer in answers) >= 8


def test_random_streams_and_reports_usage(random_model: Post) -> None:
    """Twelve letters come in twelve chunks, and the last chunk has the usage: the letters and the end token."""
    text = random_model(
        "/v1/chat/completions",
        {
            "messages": [{"role": "user", "content": "hi"}],
            "grammar": "root ::= [a-z]{12}",
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    )
    chunks = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
    pieces = [chunk["choices"][0]["delta"].get("content") for chunk in chunks if chunk["choices"]]
    assert len([piece for piece in pieces if piece]) == 12
    assert chunks[-1]["usage"]["completion_tokens"] == 13


def test_random_fits_a_json_schema(random_model: Post) -> None:
    """Under a schema the answer is a valid object, whatever the weights say."""
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 20}, "maxItems": 3},
        },
        "required": ["name", "age", "tags"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    person = json.loads(said(random_model, "hi", response_format=form, max_tokens=3000, seed=3))
    assert sorted(person) == ["age", "name", "tags"]
    assert 0 <= person["age"] <= 120


def test_embedding_groups_words(engines: dict[str, Post]) -> None:
    """Texts about one group are near each other, texts about different ones are not; equal texts are equal."""
    texts = ["refund my money please", "the payment is late", "my parcel is late", "Letter", "refund my money please"]
    answer = engines["embedding"]("/v1/embeddings", {"input": texts})
    money, payment, parcel, letter, again = [entry["embedding"] for entry in answer["data"]]
    assert len(money) == 64
    assert cosine(money, payment) > 0.8
    assert cosine(parcel, letter) > 0.8
    assert cosine(payment, parcel) < 0.5
    assert cosine(money, again) == pytest.approx(1.0, abs=1e-5)


def test_embedding_refuses_an_odd_width(tmp_path: Path) -> None:
    """The width must fit the engine's heads."""
    with pytest.raises(ValueError, match="multiple of 32"):
        build_embedding(tmp_path / "odd.gguf", dimensions=50)


def test_builders_are_quick_and_repeatable(tmp_path: Path) -> None:
    """Two builds give the same bytes, and each takes less than a second of processor time."""
    builders: list[Callable[[Path], Path]] = [
        build_random,
        lambda path: build_rules(path, RULES),
        lambda path: build_embedding(path, GROUPS),
    ]
    for build in builders:
        began_s = time.process_time()
        first = build(tmp_path / "deep" / "a.gguf").read_bytes()
        assert time.process_time() - began_s < 1.0
        assert build(tmp_path / "b.gguf").read_bytes() == first


def test_answer_pieces_are_unique() -> None:
    """No two answers share a piece, also when one contains the other or is a keyword itself."""
    vocabulary = Vocabulary()
    for word in ("refund", " refund", "Refund"):
        vocabulary.add_word(word)
    answers = ["A", "A B", "the cat and the dog and the cat", "the cat", "refund", "and the"]
    chains = answer_chains(vocabulary, answers)
    used = [token for chain in chains.values() for token in chain]
    assert len(used) == len(set(used))
    for answer, chain in chains.items():
        assert "".join(vocabulary.tokens[token] for token in chain) == encode_text(answer)


def cosine(left: list[float], right: list[float]) -> float:
    dot = sum(a * b for a, b in zip(left, right, strict=True))
    return float(dot / (sum(a * a for a in left) * sum(b * b for b in right)) ** 0.5)
