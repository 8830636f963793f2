"""Both new dialects on a real llama.cpp engine: chat, stream, structured output, and a conversation kept by the gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import anthropic
import openai
import pydantic
import pytest

from prefrontal.testing.gguf import build_random, build_rules

RULES = {"refund": "The refund is on its way.", "parcel": "The parcel left today."}


class Choice(pydantic.BaseModel):
    """What the grammar must make of any answer."""

    k: Literal["x", "y"]


@pytest.fixture(scope="module")
def url(start_gateway: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A gateway without configuration, with one tiny model in its folder."""
    home = tmp_path_factory.mktemp("engine")
    (home / "models").mkdir()
    build_rules(home / "models" / "rules.gguf", RULES)
    build_random(home / "models" / "noise.gguf")
    found: str = start_gateway(home).url
    return found


@pytest.fixture
def gpt(url: str) -> Iterator[openai.OpenAI]:
    """The OpenAI library."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0, timeout=30) as client:
        yield client


@pytest.fixture
def claude(url: str) -> Iterator[anthropic.Anthropic]:
    """The Anthropic library."""
    with anthropic.Anthropic(base_url=url, api_key="unused", max_retries=0, timeout=30) as client:
        yield client


def test_a_conversation_goes_on_at_the_engine(gpt: openai.OpenAI) -> None:
    """The second request sends its question alone, and the engine reads both turns: its count of the input says so."""
    first = gpt.responses.create(model="rules", input="Where is my refund?")
    assert first.output_text == RULES["refund"]
    second = gpt.responses.create(model="rules", input="And the parcel?", previous_response_id=first.id)
    alone = gpt.responses.create(model="rules", input="And the parcel?", store=False)
    assert second.output_text == alone.output_text == RULES["parcel"]
    assert first.usage is not None
    assert second.usage is not None
    assert alone.usage is not None
    assert second.usage.input_tokens > alone.usage.input_tokens + first.usage.output_tokens


def test_streams_and_schemas_through_responses(gpt: openai.OpenAI) -> None:
    """The stream helper ends with the whole response; the engine's grammar keeps to the schema."""
    with gpt.responses.stream(model="rules", input="Where is my refund?") as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert len(pieces) > 1
    assert "".join(pieces) == final.output_text == RULES["refund"]
    parsed = gpt.responses.parse(model="rules", input="Where is my refund?", text_format=Choice).output_parsed
    assert parsed is not None
    assert parsed.k in ("x", "y")


def test_streams_and_schemas_through_messages(claude: anthropic.Anthropic) -> None:
    """The same through the Anthropic library, with a turn before, and the engine's own count."""
    turns: list[Any] = [
        {"role": "user", "content": "Where is my refund?"},
        {"role": "assistant", "content": RULES["refund"]},
        {"role": "user", "content": "And the parcel?"},
    ]
    with claude.messages.stream(model="rules", max_tokens=100, messages=turns) as stream:
        assert "".join(stream.text_stream) == RULES["parcel"]
        final = stream.get_final_message()
    assert (final.stop_reason, final.usage.output_tokens > 1) == ("end_turn", True)
    cut = claude.messages.create(model="rules", max_tokens=2, messages=turns)
    assert cut.stop_reason == "max_tokens"
    question: list[Any] = [{"role": "user", "content": "Where is my refund?"}]
    parsed = claude.messages.parse(model="rules", max_tokens=100, messages=question, output_format=Choice).parsed_output
    assert parsed is not None
    assert parsed.k in ("x", "y")
    counted = claude.messages.count_tokens(model="rules", messages=turns)
    assert counted.input_tokens == final.usage.input_tokens + (final.usage.cache_read_input_tokens or 0)


def test_random_weights_hold_to_a_schema_and_the_verdict_says_so(gpt: openai.OpenAI, url: str) -> None:
    """The engine's grammar binds a model that babbles, whole and streamed; each answer was validated here, none repaired."""
    turns: Any = [{"role": "user", "content": "Give me JSON"}]
    found = gpt.chat.completions.parse(model="noise", messages=turns, response_format=Choice, max_tokens=80, temperature=1.0)
    assert found.choices[0].message.parsed is not None
    verdict = found.x_prefrontal["validation"]  # type: ignore[attr-defined]
    assert (verdict["passed"], verdict["repairs"], verdict["method"]) == (True, 0, "field")
    form: Any = {"type": "json_schema", "json_schema": {"name": "c", "schema": Choice.model_json_schema()}}
    options: dict[str, Any] = {"messages": turns, "response_format": form, "max_tokens": 80}
    chunks = list(gpt.chat.completions.create(model="noise", stream=True, **options))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert Choice.model_validate_json(text).k in ("x", "y")
    assert chunks[-1].x_prefrontal["validation"]["passed"] is True  # type: ignore[union-attr]
    assert gpt.models.retrieve("noise").structured_output["method"] == "field"  # type: ignore[attr-defined]


def test_a_real_answer_that_is_cut_is_an_error_and_not_half_an_object(gpt: openai.OpenAI) -> None:
    """Two tokens hold no object: the caller is told to raise the cap."""
    turns: Any = [{"role": "user", "content": "Give me JSON"}]
    with pytest.raises(openai.InternalServerError) as cut:
        gpt.chat.completions.parse(model="noise", messages=turns, response_format=Choice, max_tokens=2)
    assert cut.value.code == "structured_output_invalid"
    assert "Raise the output cap." in cut.value.message
