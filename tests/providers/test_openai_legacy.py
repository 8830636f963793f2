"""Text completions and embeddings: requests and answers of the two smaller routes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from prefrontal.chat.embeddings import EmbeddingsResponse
from prefrontal.chat.request import text_of
from prefrontal.chat.usage import Usage
from prefrontal.errors import InvalidRequest, ProviderMisbehaved
from prefrontal.providers.openai.completions import parse_completion_request, render_completion_body
from prefrontal.providers.openai.embeddings import (
    from_base64,
    parse_embeddings_request,
    parse_embeddings_response,
    render_embeddings_body,
    render_embeddings_response,
    to_base64,
)
from prefrontal.providers.profile import Profile

PROFILE = Profile(title="Engine", wire="openai", provider="engine")

completions = st.fixed_dictionaries(
    {"model": st.just("m"), "prompt": st.text(max_size=8) | st.lists(st.text(max_size=8), min_size=1, max_size=1)},
    optional={
        "max_tokens": st.integers(1, 9) | st.none(),
        "suffix": st.none() | st.text(max_size=3),
        "echo": st.booleans(),
        "best_of": st.integers(1, 3),
        "logprobs": st.integers(0, 5) | st.none(),
        "temperature": st.floats(0, 2),
        "stop": st.text(max_size=2) | st.lists(st.text(max_size=2), max_size=2),
        "stream": st.booleans(),
        "stream_options": st.just({"include_usage": True}),
        "user": st.text(max_size=2),
        "x_new": st.integers(),
    },
)


@given(completions)
def test_completion_requests_go_around_unchanged(value: dict[str, Any]) -> None:
    """Parse then render gives the client's own body; the prompt is one user message in between."""
    request = parse_completion_request(json.dumps(value).encode())
    prompt = value["prompt"]
    assert text_of(request.messages[0]) == (prompt if isinstance(prompt, str) else prompt[0])
    assert (request.messages[0].role, request.dialect) == ("user", "completions")
    assert json.loads(json.dumps(render_completion_body(request))) == value


@pytest.mark.parametrize(
    ("prompt", "param"),
    [(..., "prompt"), (["a", "b"], "prompt"), ([], "prompt"), ([1, 2], "prompt"), ([[1, 2]], "prompt[0]"), (5, "prompt")],
)
def test_prompts_we_cannot_take_are_named(prompt: Any, param: str) -> None:
    """Several prompts and tokens are refused, naming the field."""
    value = {"model": "m"} if prompt is ... else {"model": "m", "prompt": prompt}
    with pytest.raises(InvalidRequest) as caught:
        parse_completion_request(json.dumps(value).encode())
    assert caught.value.param == param


embeddings = st.fixed_dictionaries(
    {
        "model": st.just("m"),
        "input": st.text(max_size=4)
        | st.lists(st.text(max_size=4), min_size=1, max_size=3)
        | st.lists(st.integers(0, 9), min_size=1, max_size=3)
        | st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=2), min_size=1, max_size=2),
    },
    optional={
        "dimensions": st.integers(1, 9) | st.none(),
        "encoding_format": st.sampled_from(["float", "base64", None]),
        "user": st.text(max_size=2),
        "x_new": st.integers(),
    },
)


@given(embeddings)
def test_embedding_requests_go_around_unchanged(value: dict[str, Any]) -> None:
    """Texts, tokens and lists of either come back as they were written."""
    assert json.loads(json.dumps(render_embeddings_body(parse_embeddings_request(json.dumps(value).encode())))) == value


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": {}}, "input"),
        ({"input": ["a", 1]}, "input[1]"),
        ({"input": [[]]}, "input[0]"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "model": None}, "model"),
    ],
)
def test_bad_embedding_requests_name_the_field(fields: dict[str, Any], param: str) -> None:
    """Each mistake is a client error at its path."""
    with pytest.raises(InvalidRequest) as caught:
        parse_embeddings_request(json.dumps({"model": "m", **fields}).encode())
    assert caught.value.param == param


def test_vectors_come_in_the_order_of_the_inputs() -> None:
    """Upstreams may answer out of order; the index decides. Usage is input only."""
    data = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]
    body = json.dumps({"data": data, "model": "up", "usage": {"prompt_tokens": 4, "total_tokens": 4}}).encode()
    response = parse_embeddings_response(body, PROFILE)
    assert response.vectors == ((1.0,), (2.0,))
    assert response.usage == Usage(uncached_input_tokens=4, source="reported")


@pytest.mark.parametrize(
    "data",
    [
        None,
        [5],
        [{"embedding": 5}],
        [{"index": 1, "embedding": [1.0]}],
        [{"index": 0, "embedding": []}, {"index": 0, "embedding": []}],
    ],
)
def test_bad_vectors_are_the_upstreams_fault(data: Any) -> None:
    """Gaps, doubles and wrong types are not guessed at."""
    with pytest.raises(ProviderMisbehaved):
        parse_embeddings_response(json.dumps({"data": data}).encode(), PROFILE)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=8))
def test_base64_goes_both_ways(vector: list[float]) -> None:
    """The packed form keeps every 32-bit float."""
    assert from_base64(to_base64(tuple(vector))) == tuple(vector)


@pytest.mark.parametrize("given_as", [(0.5, -2.0), to_base64((0.5, -2.0))])
def test_clients_get_the_form_they_asked_for(given_as: Any) -> None:
    """Whatever the upstream sent, floats or base64 come out as asked, in a body of the official type."""
    response = EmbeddingsResponse(vectors=(given_as,), usage=Usage(uncached_input_tokens=3, source="reported"))
    floats = json.loads(render_embeddings_response(response, model="m", encoding_format=None))
    assert CreateEmbeddingResponse.model_validate(floats, strict=True).data[0].embedding == [0.5, -2.0]
    packed = json.loads(render_embeddings_response(response, model="m", encoding_format="base64"))
    assert from_base64(packed["data"][0]["embedding"]) == (0.5, -2.0)
    assert packed["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


def test_senseless_base64_is_the_upstreams_fault() -> None:
    """Text that is no vector raises, rather than reaching the client."""
    for text in ("###", "QQ=="):
        with pytest.raises(ProviderMisbehaved):
            from_base64(text)
